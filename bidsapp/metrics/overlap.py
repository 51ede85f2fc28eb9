"""Overlap of two label maps: the Dice coefficient of every structure."""

import numpy as np
from jaxtyping import Float64, Int64

from bidsapp.atlas.seganat import N_CLASSES
from bidsapp.errors import DataError, ShapeError
from bidsapp.images.volume import Volume


def check_label_maps(first: Volume, second: Volume) -> None:
    """Refuse two maps that are not SegAnat label maps on one grid.

    Raises
    ------
    ShapeError
        If the grids differ.
    DataError
        If a map is not of an integer type or holds a label above 34.
    """
    if not first.space.matches(second.space):
        raise ShapeError(
            f"two label maps are compared on one grid, got shapes {first.space.shape} and "
            f"{second.space.shape} or affines that differ; resample one onto the other first"
        )
    for volume in (first, second):
        if volume.data.dtype.kind not in "iu":
            raise DataError(f"a label map holds integers, got {volume.data.dtype}")
        if int(volume.data.min()) < 0 or int(volume.data.max()) >= N_CLASSES:
            raise DataError(
                f"SegAnat labels run from 0 to {N_CLASSES - 1}, got {int(volume.data.min())} to "
                f"{int(volume.data.max())}; translate the codes with bidsapp.atlas.schemes first"
            )


def joint_counts(first: Volume, second: Volume) -> Int64[np.ndarray, "35 35"]:
    """Count the voxels that have a label in one map (rows) and a label in the other (columns).

    Sums along rows and columns are the volumes of the structures, in voxels.

    Raises
    ------
    ShapeError
        If the grids differ.
    DataError
        If a map does not hold SegAnat labels.
    """
    check_label_maps(first, second)
    here, there = first.data.ravel(), second.data.ravel()
    labelled = np.flatnonzero(here | there)
    pairs = here[labelled].astype(np.int64) * N_CLASSES + there[labelled]
    counts = np.bincount(pairs, minlength=N_CLASSES**2).reshape(N_CLASSES, N_CLASSES).astype(np.int64)
    counts[0, 0] = here.size - labelled.size
    return counts


def voxel_counts(labels: Volume) -> Int64[np.ndarray, "35"]:
    """Count the voxels of each of the 35 classes, in the order of their index."""
    return np.bincount(labels.data.ravel(), minlength=N_CLASSES).astype(np.int64)


def dice(first: Volume, second: Volume) -> Float64[np.ndarray, "35"]:
    """Give the Dice coefficient of every class, twice the shared voxels over the sum of both.

    0 means no voxel shared, 1 means the same voxels; higher is better. Both empty: NaN (takes no part in a
    mean). One empty: 0.

    Parameters
    ----------
    first, second
        SegAnat label maps on one grid; the order does not matter.

    Returns
    -------
    dice
        One value a class, in the order of the index; class 0 is the background.

    Raises
    ------
    ShapeError
        If the grids differ.
    DataError
        If a map does not hold SegAnat labels.

    References
    ----------
    Dice 1945, Ecology 26(3):297-302. doi:10.2307/1932409

    Examples
    --------
    Three voxels against two, two of them shared:

    >>> from bidsapp.geometry.space import Space
    >>> line = Space((4, 1, 1), np.eye(4))
    >>> first = Volume(np.array([1, 1, 1, 0], dtype=np.uint8).reshape(4, 1, 1), line)
    >>> second = Volume(np.array([1, 1, 0, 0], dtype=np.uint8).reshape(4, 1, 1), line)
    >>> round(float(dice(first, second)[1]), 2)
    0.8
    """
    return dice_of(joint_counts(first, second))


def dice_of(counts: Int64[np.ndarray, "35 35"]) -> Float64[np.ndarray, "35"]:
    """Give the same from `joint_counts`."""
    total = (counts.sum(axis=0) + counts.sum(axis=1)).astype(np.float64)
    coefficient = np.full(N_CLASSES, np.nan)
    np.divide(2.0 * np.diag(counts), total, out=coefficient, where=total > 0)
    return coefficient
