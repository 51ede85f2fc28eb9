"""Voxels whose neighbours are flagged: erosion and dilation of whole images, by shifts along the axes."""

import numpy as np
from jaxtyping import Bool


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
