"""The grey-white junction of the cerebrum, where blood-borne cells are thought to lodge."""

import numpy as np
from jaxtyping import Float64, Int64
from scipy.spatial import KDTree

from bidsapp.atlas.seganat import structures
from bidsapp.images.volume import Volume
from bidsapp.lesions.mapping import labels_at

WHITE, GREY = "Cerebral White Matter", "Cerebral Cortex"

_NEIGHBOURS = 12
"""Of the nearest faces by midpoint, one is the nearest by surface."""


def junction_faces(
    labels: Volume,
) -> tuple[Float64[np.ndarray, "n 3"], Int64[np.ndarray, " n"]]:
    """List the voxel faces between cerebral white matter and cerebral cortex.

    Faces, not voxels: a set of voxels would be two voxels thick.

    Parameters
    ----------
    labels
        SegAnat indices of the atlas.

    Returns
    -------
    midpoints, axes
        In voxel indices (fractional across the face), and the axis each face stands across.

    References
    ----------
    Wielenberg et al. 2026, section 3.8.2 (distance to the junction).
    """
    white, grey = (np.isin(labels.data, _indices(region)) for region in (WHITE, GREY))
    midpoints, axes = [], []
    for axis in range(3):
        low = tuple(slice(None, -1) if each == axis else slice(None) for each in range(3))
        high = tuple(slice(1, None) if each == axis else slice(None) for each in range(3))
        between = np.argwhere((white[low] & grey[high]) | (grey[low] & white[high]))
        midpoints.append(between + np.eye(3)[axis] / 2)
        axes.append(np.full(len(between), axis))
    return np.concatenate(midpoints), np.concatenate(axes)


def junction_distances_mm(points_mm: Float64[np.ndarray, "n 3"], labels: Volume) -> Float64[np.ndarray, " n"]:
    """Measure how far points lie from the junction: below 0 in cerebral white matter, above 0 elsewhere.

    NaN for all points if the atlas has no junction.

    Parameters
    ----------
    points_mm
        Atlas world RAS+.
    labels
        SegAnat indices of the atlas; the axes of its grid are perpendicular.
    """
    if not len(points_mm):
        return np.zeros(0)
    midpoints, axes = junction_faces(labels)
    if not len(midpoints):
        return np.full(len(points_mm), np.nan)
    sizes = np.array(labels.space.voxel_sizes_mm)
    points = labels.space.world_to_voxel(points_mm) * sizes
    _, nearest = KDTree(midpoints * sizes).query(points, k=min(_NEIGHBOURS, len(midpoints)))
    nearest = nearest.reshape(len(points), -1)
    half = np.where(np.eye(3, dtype=bool), 0.0, sizes / 2)[axes[nearest]]
    apart = np.maximum(np.abs(points[:, None] - midpoints[nearest] * sizes) - half, 0.0)
    distances = np.sqrt((apart**2).sum(axis=2)).min(axis=1)
    is_white = np.isin(labels_at(points_mm, labels), _indices(WHITE))
    return np.asarray(np.where(is_white, -distances, distances))


def _indices(region: str) -> list[int]:
    return [structure.index for structure in structures() if structure.region == region]
