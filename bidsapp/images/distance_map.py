"""How deep every voxel lies inside its own label."""

import numpy as np
from jaxtyping import Float32
from scipy.ndimage import binary_erosion, distance_transform_edt, find_objects

from bidsapp.images.volume import Volume


def label_depth_mm(labels: Volume) -> Float32[np.ndarray, "i j k"]:
    """Measure how far every voxel lies from the border of the label that contains it.

    A label's border are its voxels with a face to another label: their depth is 0. What lies beyond the grid
    is no other label. A label without any border, because it fills the grid, is infinitely deep.

    Parameters
    ----------
    labels
        Small non-negative integers; background is a label like any other. Voxel axes are taken as
        perpendicular.

    Returns
    -------
    depth
        Millimetres, from voxel centre to voxel centre.

    References
    ----------
    Wielenberg et al. 2026, text before eq. (4). doi:10.48550/arXiv.2602.12933

    Examples
    --------
    >>> from bidsapp.geometry.space import Space
    >>> row = np.array([[[0, 0, 0, 5, 5, 5]]])
    >>> label_depth_mm(Volume(row, Space((1, 1, 6), np.diag([1.0, 1.0, 2.0, 1.0])))).tolist()
    [[[4.0, 2.0, 0.0, 0.0, 2.0, 4.0]]]
    """
    depth = np.zeros(labels.space.shape, dtype=np.float32)
    numbered = labels.data.astype(np.int32) + 1
    for number, box in enumerate(find_objects(numbered), start=1):
        if box is None:
            continue
        wider = tuple(slice(max(0, side.start - 1), side.stop + 1) for side in box)
        inside = numbered[wider] == number
        border = inside & ~binary_erosion(inside, border_value=1)
        if border.any():
            away = distance_transform_edt(~border, sampling=labels.space.voxel_sizes_mm)
        else:
            away = np.full(inside.shape, np.inf)
        depth[wider][inside] = away[inside]
    return depth


def depth_and_index(labels: Volume, *, deepest_mm: float, index_weight: float) -> Volume:
    """Give depth, clipped and divided by `deepest_mm`, plus `index_weight` times the label.

    Parameters
    ----------
    labels
        As for `label_depth_mm`.
    deepest_mm
        Depths beyond this count as this, and become 1.
    index_weight
        What one step of the label's number adds: with 0 all structures look alike.

    References
    ----------
    Wielenberg et al. 2026, eq. (4) as their code computes it. doi:10.48550/arXiv.2602.12933
    """
    depth = np.minimum(label_depth_mm(labels), np.float32(deepest_mm)) / np.float32(deepest_mm)
    return Volume(depth + np.float32(index_weight) * labels.data.astype(np.float32), labels.space)
