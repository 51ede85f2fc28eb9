"""Voxel faces: where two structures of a label map meet."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64
from scipy.spatial import KDTree

from bidsapp.images.volume import Volume

_NEIGHBOURS = 12
"""Of the nearest faces by midpoint, one is the nearest by surface."""


@dataclass(frozen=True, slots=True, eq=False)
class Faces:
    """Faces between voxels of different labels.

    Parameters
    ----------
    midpoints
        In voxel indices, fractional across the face.
    axes
        The axis each face stands across.
    low, high
        Labels on the side of the lower and of the higher index.
    """

    midpoints: Float64[np.ndarray, "n 3"]
    axes: Int64[np.ndarray, " n"]
    low: np.ndarray
    high: np.ndarray

    def __getitem__(self, chosen: np.ndarray) -> "Faces":
        """Take some of the faces, by a mask or by their numbers."""
        return Faces(self.midpoints[chosen], self.axes[chosen], self.low[chosen], self.high[chosen])

    def __len__(self) -> int:
        """Count the faces."""
        return len(self.axes)


def label_faces(labels: Volume) -> Faces:
    """List all faces between voxels of different labels.

    Faces, not voxels: a set of voxels would be two voxels thick.
    """
    parts = []
    for axis in range(3):
        first = labels.data[tuple(slice(None, -1) if each == axis else slice(None) for each in range(3))]
        second = labels.data[tuple(slice(1, None) if each == axis else slice(None) for each in range(3))]
        between = np.argwhere(first != second)
        index = tuple(between.T)
        across = np.full(len(between), axis)
        parts.append((between + np.eye(3)[axis] / 2, across, first[index], second[index]))
    midpoints, axes, low, high = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Faces(midpoints, axes, low, high)


def distances_to_faces_mm(
    voxels: Float64[np.ndarray, "n 3"], faces: Faces, sizes_mm: tuple[float, float, float]
) -> Float64[np.ndarray, " n"]:
    """Measure how far points lie from the nearest face, exactly: faces are rectangles, not midpoints.

    Parameters
    ----------
    voxels
        In voxel indices of the grid of the faces, whose axes are perpendicular.
    faces
        At least one.
    sizes_mm
        Of the voxels.
    """
    sizes = np.array(sizes_mm)
    points, midpoints = voxels * sizes, faces.midpoints * sizes
    _, nearest = KDTree(midpoints).query(points, k=min(_NEIGHBOURS, len(midpoints)))
    nearest = nearest.reshape(len(points), -1)
    half = np.where(np.eye(3, dtype=bool), 0.0, sizes / 2)[faces.axes[nearest]]
    apart = np.maximum(np.abs(points[:, None] - midpoints[nearest]) - half, 0.0)
    return np.asarray(np.sqrt((apart**2).sum(axis=2)).min(axis=1))
