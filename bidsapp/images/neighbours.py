"""Voxels whose neighbours are flagged: erosion and dilation of whole images, by shifts along the axes."""

import numpy as np
from jaxtyping import Bool

_ROUNDING = 1e-6


def all_along_axes(
    flags: Bool[np.ndarray, "i j k"], reach: tuple[int, int, int]
) -> Bool[np.ndarray, "i j k"]:
    """Flag voxels that are flagged, and so is every voxel at most so many steps away along each single axis.

    This is erosion by a cross. Beyond the grid nothing is flagged.

    Parameters
    ----------
    flags
        Of an image.
    reach
        Steps along i, j and k, in voxels; 0 leaves an axis out.
    """
    kept = flags.copy()
    for axis, steps in enumerate(reach):
        source, target = np.moveaxis(flags, axis, 0), np.moveaxis(kept, axis, 0)
        for step in range(1, steps + 1):
            target[step:] &= source[:-step]
            target[:-step] &= source[step:]
        target[:steps] = False
        target[max(0, len(target) - steps) :] = False
    return kept


def any_in_box(flags: Bool[np.ndarray, "i j k"], reach: tuple[int, int, int]) -> Bool[np.ndarray, "i j k"]:
    """Flag voxels that have a flagged one at most so many steps away along all axes: dilation by a box.

    Parameters
    ----------
    flags
        Of an image.
    reach
        Steps along i, j and k, in voxels.
    """
    found = flags.copy()
    for axis, steps in enumerate(reach):
        source, target = np.moveaxis(found.copy(), axis, 0), np.moveaxis(found, axis, 0)
        for step in range(1, steps + 1):
            target[step:] |= source[:-step]
            target[:-step] |= source[step:]
    return found


def any_in_ball(
    flags: Bool[np.ndarray, "i j k"], mm: float, sizes_mm: tuple[float, ...]
) -> Bool[np.ndarray, "i j k"]:
    """Flag voxels whose centre lies at most so far from that of a flagged one: dilation by a ball.

    Squared distances are the smallest sums of squared steps along i, j and k, so they are found one axis
    after the other; only steps within reach are tried, which is quick where the reach is a few voxels.

    Parameters
    ----------
    flags
        Of an image.
    mm
        Radius of the ball.
    sizes_mm
        Edges of a voxel.

    References
    ----------
    Saito and Toriwaki 1994, Pattern Recognition 27:1551-1565. doi:10.1016/0031-3203(94)90133-9

    Examples
    --------
    >>> any_in_ball(np.array([[[True, False, False, False]]]), 2.0, (1.0, 1.0, 0.9)).tolist()
    [[[True, True, True, False]]]
    """
    farthest = mm * (1 + _ROUNDING)
    squared = np.where(flags, np.float32(0), np.float32(np.inf))
    for axis, size_mm in enumerate(sizes_mm):
        source, target = np.moveaxis(squared.copy(), axis, 0), np.moveaxis(squared, axis, 0)
        for step in range(1, min(int(farthest / size_mm), len(target) - 1) + 1):
            farther = source + np.float32((step * size_mm) ** 2)
            np.minimum(target[step:], farther[:-step], out=target[step:])
            np.minimum(target[:-step], farther[step:], out=target[:-step])
    return squared <= np.float32(farthest**2)
