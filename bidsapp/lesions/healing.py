"""Label maps without the lesions: what the tissue would be called if no tumour had grown there."""

import numpy as np
from scipy.ndimage import distance_transform_edt

from bidsapp.images.volume import Volume


def heal_labels(labels: Volume, mask: Volume) -> Volume:
    """Give every voxel inside a lesion the label of the nearest structure outside all lesions.

    Segmentation tools call a tumour background, or by a wrong name. Without this the alignment would try to
    close the hole, or to move the wrong name to its place, and squeeze the tumour.

    Parameters
    ----------
    labels
        SegAnat indices on their own grid.
    mask
        Lesions (not 0) on any grid in the same world; read at the label voxels, nearest neighbour.

    Returns
    -------
    healed
        On the grid of `labels`. Unchanged where there is no lesion, or if no structure lies outside them.
    """
    inside = _mask_on(labels, mask)
    donors = (labels.data > 0) & ~inside
    if not inside.any() or not donors.any():
        return labels
    margin = np.ceil(30.0 / np.array(labels.space.voxel_sizes_mm)).astype(int)
    occupied = np.argwhere(inside)
    low = np.maximum(occupied.min(axis=0) - margin, 0)
    high = occupied.max(axis=0) + margin + 1
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    if not donors[box].any():
        box = (slice(None),) * 3
    nearest = distance_transform_edt(
        ~donors[box], sampling=labels.space.voxel_sizes_mm, return_distances=False, return_indices=True
    )
    healed = labels.data.copy()
    healed[box][inside[box]] = labels.data[box][tuple(nearest)][inside[box]]
    return Volume(healed, labels.space)


def _mask_on(labels: Volume, mask: Volume) -> np.ndarray:
    """Read the mask at the centre of every label voxel."""
    if mask.space.matches(labels.space):
        return np.asarray(mask.data != 0)
    voxels = np.rint(mask.space.world_to_voxel(labels.space.voxel_centres_mm())).astype(np.int64)
    within = ((voxels >= 0) & (voxels < mask.space.shape)).all(axis=1)
    found = np.zeros(len(voxels), dtype=bool)
    found[within] = mask.data[tuple(voxels[within].T)] != 0
    return found.reshape(labels.space.shape)
