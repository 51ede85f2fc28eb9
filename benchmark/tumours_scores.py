"""What became of each tumour, and of the tissue around it, against the same scan without tumours."""

import numpy as np
from jaxtyping import Bool, Float64
from scipy.ndimage import map_coordinates

from benchmark.peers.score import crop
from benchmark.tumours_scans import TumourScan
from bidsapp.images.alignment import Alignment
from bidsapp.images.volume import Volume
from bidsapp.lesions.instances import Lesion
from bidsapp.lesions.mapping import WarpedLesion, warp_lesion
from bidsapp.lesions.preservation import jacobian_ratio, ring_voxels, volume_factor
from bidsapp.metrics.overlap import dice, voxel_counts


def score_tumours(scan: TumourScan, alignment: Alignment, control: Alignment) -> list[dict[str, object]]:
    """Weigh every tumour of a scan.

    Parameters
    ----------
    scan
        With the truth.
    alignment
        Of the scan with tumours.
    control
        Of the same scan without tumours, by the same method.

    Returns
    -------
    rows
        One a tumour, in the order of the truth table. ``volume_vs_control``: its growth on the way to the
        atlas over that of it and the tissue within 10 mm by the control, affine steps included.
        ``centroid_error_mm``: from the centroid of what its voxels are sent to, to the centroid of what the
        control sends the tissue to that lay there. ``middle_error_mm``: the same of its middle point alone;
        ``ring_error_mm``: of every point of the tissue within 10 mm, averaged. ``overlap``: Dice of its shape
        after both steps and after the affine step alone, centres laid over each other. ``lost``: nothing of
        it arrives.
    """
    fixed = scan.case.fixed.labels.space
    return [
        {
            **{key: truth[key] for key in ("lesion", "diameter_mm", "structure", "kind", "mass_effect_mm")},
            "labels_inside": "wrong" if scan.implanted.labels.data[tuple(lesion.voxels[0])] else "background",
            **_score_tumour(
                scan, lesion, (alignment, control), warp_lesion(lesion, scan.tissue.space, alignment, fixed)
            ),
        }
        for lesion, truth in zip(scan.lesions, scan.implanted.truth.to_dict("records"), strict=True)
    ]


def _score_tumour(
    scan: TumourScan, lesion: Lesion, alignments: tuple[Alignment, Alignment], warped: WarpedLesion
) -> dict[str, object]:
    alignment, control = alignments
    space = scan.tissue.space
    ring = ring_voxels(lesion, scan.lesions, space)
    ring = ring[scan.tissue.data[tuple(ring.T)] > 0]
    around = space.voxel_to_world(ring.astype(np.float64))
    inside = space.voxel_to_world(lesion.voxels.astype(np.float64))
    neighbourhood = scan.before(np.concatenate([inside, around]))
    expected = float(control.growth_at(neighbourhood).mean() * _affine_growth(control))
    grown = warped.volume_mm3 / lesion.volume_mm3
    parts = (inside, lesion.centre_mm[None], around)
    apart = [
        alignment.moving_to_fixed(points) - control.moving_to_fixed(scan.before(points)) for points in parts
    ]
    return {
        "volume_mm3": lesion.volume_mm3,
        "volume_factor": volume_factor(lesion.volume_mm3, warped.volume_mm3, alignment.affine),
        "control_factor": expected / _affine_growth(control),
        "volume_vs_control": grown / expected,
        "jacobian_ratio": jacobian_ratio(lesion, scan.lesions, space, alignment, scan.tissue),
        **place_errors(*apart),
        "overlap": _shape_overlap(scan, lesion, alignment, warped),
        "lost": not len(warped.points_mm),
    }


def place_errors(
    inside: Float64[np.ndarray, "n 3"], middle: Float64[np.ndarray, "1 3"], around: Float64[np.ndarray, "m 3"]
) -> dict[str, float]:
    """Sum up by how much a tumour's voxels, its middle and the tissue around it miss their places, in mm.

    Examples
    --------
    >>> place_errors(np.array([[3.0, 0, 0], [0, 4.0, 0]]), np.array([[1.0, 0, 0]]), np.zeros((0, 3)))
    {'centroid_error_mm': 2.5, 'middle_error_mm': 1.0, 'ring_error_mm': nan}
    """
    return {
        "centroid_error_mm": float(np.linalg.norm(inside.mean(axis=0))),
        "middle_error_mm": float(np.linalg.norm(middle)),
        "ring_error_mm": float(np.linalg.norm(around, axis=1).mean()) if len(around) else float("nan"),
    }


def _affine_growth(alignment: Alignment) -> float:
    return 1 / float(abs(np.linalg.det(alignment.affine[:3, :3])))


def _shape_overlap(scan: TumourScan, lesion: Lesion, alignment: Alignment, warped: WarpedLesion) -> float:
    """Dice of a tumour's shape after both steps and after the affine step, centres laid over each other."""
    if not len(warped.points_mm):
        return 0.0
    space, fixed = scan.tissue.space, scan.case.fixed.labels.space
    still = warp_lesion(lesion, space, alignment.affine_only(), fixed)
    first, second = (part.points_mm - part.points_mm.mean(axis=0) for part in (warped, still))
    return point_overlap(first, second, 0.5)


def point_overlap(
    first: Float64[np.ndarray, "n 3"], second: Float64[np.ndarray, "m 3"], spacing_mm: float
) -> float:
    """Dice of two bodies given by the points of a regular grid inside each.

    Examples
    --------
    >>> cube = np.argwhere(np.ones((4, 4, 4))).astype(float)
    >>> point_overlap(cube, cube, 1.0), point_overlap(cube, cube + [2, 0, 0], 1.0)
    (1.0, 0.5)
    """
    low = np.minimum(first.min(axis=0), second.min(axis=0)) - 2 * spacing_mm
    high = np.maximum(first.max(axis=0), second.max(axis=0)) + 2 * spacing_mm
    shape = tuple((np.ceil((high - low) / spacing_mm) + 1).astype(int))
    drawn = []
    for points in (first, second):
        body = np.zeros(shape, dtype=np.float32)
        shift = ((points[0] - low) / spacing_mm) % 1
        index = np.rint((points - low) / spacing_mm - shift).astype(int)
        body[tuple(index.T)] = 1
        grid = np.indices(shape).reshape(3, -1).astype(float) - shift[:, None]
        drawn.append(map_coordinates(body, grid, order=1) >= 0.5)
    return float(2 * (drawn[0] & drawn[1]).sum() / max(1, drawn[0].sum() + drawn[1].sum()))


def score_healthy(scan: TumourScan, alignment: Alignment, control: Alignment) -> dict[str, float]:
    """Mean Dice of the structures with tumours and without, voxels that are tumour left out of both.

    A structure that is tumour for the most part takes no part.
    """
    box = crop(scan.case.fixed.labels)
    covered = alignment.resample(scan.implanted.mask, onto=box.space, interpolation="nearest").data > 0
    warped = alignment.resample(scan.tissue, onto=box.space, interpolation="nearest")
    without = control.resample(scan.case.moving.labels, onto=box.space, interpolation="nearest")
    fixed, *others = (leave_tumours_out(labels, covered) for labels in (box, warped, without))
    healthy = healthy_structures(fixed, box)
    with_tumours, alone = (float(np.nanmean(dice(fixed, other)[healthy])) for other in others)
    return {"dsc_mean": with_tumours, "control_dsc_mean": alone}


def leave_tumours_out(labels: Volume, covered: Bool[np.ndarray, "i j k"]) -> Volume:
    """Turn what a tumour covers into background."""
    return Volume(np.where(covered, 0, labels.data).astype(np.uint8), labels.space)


def healthy_structures(outside: Volume, whole: Volume) -> Bool[np.ndarray, "35"]:
    """Mark the structures of which tumours leave more than half."""
    healthy: np.ndarray = voxel_counts(outside) > voxel_counts(whole) / 2
    healthy[0] = False
    return healthy
