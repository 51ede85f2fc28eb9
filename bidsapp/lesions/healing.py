"""Label maps without the lesions: what the tissue would be called if no tumour had grown there."""

import numpy as np
from scipy.ndimage import distance_transform_edt

from bidsapp.images.regrid import on_grid
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
    inside = on_grid(mask, labels.space).data != 0
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
