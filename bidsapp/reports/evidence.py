"""What the scan itself says: whether its sides are those of its labels, and the mask is drawn on it."""

import numpy as np
from jaxtyping import Bool, Float32, Float64
from scipy.ndimage import distance_transform_edt

from bidsapp.atlas.seganat import N_CLASSES
from bidsapp.images.volume import Volume
from bidsapp.reports.planes import sample_points

MOST_POINTS = 150_000
N_PLACES = 200
MOST_LESIONS = 12
SMALLEST_LESION_MM3 = 25.0
SHELL_MM = (1.0, 3.5)
"""Where the shell around a lesion begins and ends; on coarse grids it ends at one and a half voxels."""


def explained_by_labels(scan: Volume, labels: Volume) -> tuple[float, float]:
    """Tell how well labels explain a scan, and how well they would if one file's header were mirrored.

    A wrong header reverses the voxels along the axis that runs from left to right; so each file is reversed
    in turn, and the better of the two fits counts.

    Parameters
    ----------
    scan
        Native T1w.
    labels
        Its SegAnat labels, on any grid in the same world.

    Returns
    -------
    explained, mirrored
        Share of the variance of the intensities that lies between structures (the correlation ratio), 0 to
        1; NaN where the scan is of one intensity.

    References
    ----------
    Roche et al. 1998, MICCAI: the correlation ratio. doi:10.1007/BFb0056301
    """
    voxels = np.argwhere(labels.data > 0)
    if len(voxels) == 0:
        return float("nan"), float("nan")
    voxels = voxels[:: max(1, len(voxels) // MOST_POINTS)]
    found = labels.data[tuple(voxels.T)].astype(np.intp)

    def explained(image: Volume, index: np.ndarray) -> float:
        points = labels.space.voxel_to_world(index.astype(np.float64))
        return _correlation_ratio(sample_points(image, points, interpolation="linear"), found)

    across = _left_right_axis(labels)
    reversed_voxels = voxels.copy()
    reversed_voxels[:, across] = labels.space.shape[across] - 1 - voxels[:, across]
    reversed_scan = Volume(np.flip(scan.data, _left_right_axis(scan)), scan.space)
    mirrored = max(explained(reversed_scan, voxels), explained(scan, reversed_voxels))
    return explained(scan, voxels), mirrored


def _left_right_axis(volume: Volume) -> int:
    """Return the voxel axis that runs most nearly from left to right."""
    directions = volume.space.affine[0, :3] / np.array(volume.space.voxel_sizes_mm)
    return int(np.abs(directions).argmax())


def _correlation_ratio(values: Float32[np.ndarray, " n"], classes: np.ndarray) -> float:
    count = np.bincount(classes, minlength=N_CLASSES)
    mean = np.bincount(classes, values, minlength=N_CLASSES) / np.maximum(count, 1)
    total = float(values.var(dtype=np.float64))
    return 1 - float(((values - mean[classes]) ** 2).mean()) / total if total > 0 else float("nan")


def mask_contrast(scan: Volume, lesions: Volume, labels: Volume) -> float:
    """Tell how much the scan changes at the lesions' borders, against the same shapes put elsewhere.

    Each lesion's contrast is the difference of mean intensity between its inside and a shell around it. Its
    rank is the share of `N_PLACES` random places in the brain at which its shape has less contrast. Under a
    mask that has nothing to do with the scan a rank is 0.5 on average.

    Parameters
    ----------
    scan
        Native T1w.
    lesions
        One number a lesion, native space; the largest `MOST_LESIONS` of at least `SMALLEST_LESION_MM3` count.
    labels
        Native labels: places lie where they are above 0.

    Returns
    -------
    rank
        Mean over the lesions, 0 to 1; NaN if no lesion is large enough.
    """
    numbers, counts = np.unique(lesions.data[lesions.data > 0], return_counts=True)
    large = counts * lesions.space.voxel_volume_mm3 >= SMALLEST_LESION_MM3
    order = np.argsort(-counts[large], kind="stable")[:MOST_LESIONS]
    brain = np.argwhere(labels.data > 0)
    if len(order) == 0 or len(brain) == 0:
        return float("nan")
    rng = np.random.default_rng(0)
    chosen = brain[rng.integers(len(brain), size=4 * N_PLACES)].astype(np.float64)
    places = labels.space.voxel_to_world(chosen)
    ranks = [_rank(scan, lesions, labels, places, int(number)) for number in numbers[large][order]]
    known = [rank for rank in ranks if np.isfinite(rank)]
    return float(np.mean(known)) if known else float("nan")


def _rank(
    scan: Volume, lesions: Volume, labels: Volume, places: Float64[np.ndarray, "n 3"], number: int
) -> float:
    """Rank one lesion's contrast among those of its shape at other places."""
    inside, shell = _inside_and_shell(lesions, number)
    if len(inside) == 0 or len(shell) == 0:
        return float("nan")
    shifts = places - inside.mean(axis=0)
    shape = np.concatenate([inside, shell])
    moved = shape[np.newaxis] + shifts[:, np.newaxis]
    within = sample_points(labels, moved, interpolation="nearest") > 0
    fits = np.flatnonzero(within.mean(axis=1) > 0.9)[:N_PLACES]
    if len(fits) < N_PLACES // 10:
        return float("nan")

    def contrast(points: np.ndarray) -> np.ndarray:
        values = sample_points(scan, points, interpolation="linear")
        return np.abs(values[..., : len(inside)].mean(axis=-1) - values[..., len(inside) :].mean(axis=-1))

    return float((contrast(moved[fits]) < contrast(shape[np.newaxis])[0]).mean())


def _inside_and_shell(
    lesions: Volume, number: int, most: int = 300
) -> tuple[Float64[np.ndarray, "n 3"], Float64[np.ndarray, "m 3"]]:
    """Return points inside a lesion and in the shell around it, world millimetres, free of other lesions."""
    voxels = np.argwhere(lesions.data == number)
    reach_mm = max(SHELL_MM[1], 1.5 * max(lesions.space.voxel_sizes_mm))
    margin = np.ceil(reach_mm / np.array(lesions.space.voxel_sizes_mm)).astype(int) + 1
    low = np.maximum(voxels.min(axis=0) - margin, 0)
    high = np.minimum(voxels.max(axis=0) + margin + 1, lesions.space.shape)
    box = lesions.data[tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))]
    distance = distance_transform_edt(box != number, sampling=lesions.space.voxel_sizes_mm)
    shell = (distance > SHELL_MM[0]) & (distance <= reach_mm) & (box == 0)

    def points(mask: Bool[np.ndarray, "i j k"]) -> Float64[np.ndarray, "n 3"]:
        found = np.argwhere(mask) + low
        return lesions.space.voxel_to_world(found[:: max(1, len(found) // most)].astype(np.float64))

    return points(box == number), points(shell)
