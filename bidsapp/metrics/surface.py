"""Distances between the surfaces of two label maps, in millimetres."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt8
from scipy.spatial import KDTree

from bidsapp.atlas.seganat import N_CLASSES
from bidsapp.geometry import kernels
from bidsapp.geometry.space import Space
from bidsapp.images.volume import Volume
from bidsapp.metrics.overlap import check_label_maps

_NEIGHBOURS = 12
"""Voxels to either side along each axis that are looked at before a tree is searched."""


@dataclass(frozen=True, slots=True)
class SurfaceDistances:
    """How far the surfaces of each of the 35 classes lie apart.

    Parameters
    ----------
    hd_mm
        Hausdorff distance: the farthest any surface voxel is from the other surface.
    hd95_mm
        The larger of the two 95th percentiles, one for each direction.
    assd_mm
        Mean distance of the surface voxels of both to the other surface.
    """

    hd_mm: Float64[np.ndarray, "35"]
    hd95_mm: Float64[np.ndarray, "35"]
    assd_mm: Float64[np.ndarray, "35"]


def is_surface(labels: np.ndarray) -> Bool[np.ndarray, "i j k"]:
    """Mark the voxels one of whose six face neighbours has another label or lies outside the grid.

    Examples
    --------
    The centre of a 3 x 3 x 3 block is its only voxel that is not surface:

    >>> int(is_surface(np.ones((3, 3, 3), dtype=np.uint8)).sum())
    26
    """
    surface = np.zeros(labels.shape, dtype=bool)
    for axis in range(labels.ndim):
        along, marks = np.moveaxis(labels, axis, 0), np.moveaxis(surface, axis, 0)
        differs = along[1:] != along[:-1]
        marks[1:] |= differs
        marks[:-1] |= differs
        marks[0] = True
        marks[-1] = True
    return surface


def surface_distances(first: Volume, second: Volume) -> SurfaceDistances:
    """Measure Hausdorff distance, its 95th percentile and the average surface distance of every structure.

    0 means the same surface; lower is better. Distances run between the centres of surface voxels, in world
    space, so any voxel size and obliqueness is honoured, also where a distance transform, which knows only
    edge lengths, would not be: on sheared grids. Both empty or one empty: NaN, because a surface that
    is not there has no distance; the Dice coefficient of that structure tells the failure (0). The
    background is not measured (NaN).

    Parameters
    ----------
    first, second
        SegAnat label maps on one grid; the order does not matter.

    Returns
    -------
    distances
        One value a class and measure.

    Raises
    ------
    ShapeError
        If the grids differ.
    DataError
        If a map does not hold SegAnat labels.

    References
    ----------
    Huttenlocher et al. 1993, IEEE TPAMI 15(9):850-863, eq. (1)-(2). doi:10.1109/34.232073
    Maier-Hein et al. 2024, Nature Methods 21:195-212 (percentile a direction). doi:10.1038/s41592-023-02151-z
    """
    check_label_maps(first, second)
    hd, hd95, assd = (np.full(N_CLASSES, np.nan) for _ in range(3))
    sides = _Surfaces.of(first), _Surfaces.of(second)
    ways = _nearest_mm(*sides), _nearest_mm(*sides[::-1])
    for index in range(1, N_CLASSES):
        there, back = (way[side.part(index)] for way, side in zip(ways, sides, strict=True))
        if not (there.size and back.size):
            continue
        hd[index] = max(there.max(), back.max())
        hd95[index] = max(np.percentile(there, 95), np.percentile(back, 95))
        assd[index] = (there.sum() + back.sum()) / (there.size + back.size)
    return SurfaceDistances(hd, hd95, assd)


@dataclass(frozen=True, slots=True)
class _Surfaces:
    """All surface voxels of a label map.

    Parameters
    ----------
    padded
        Labels on surfaces, 0 elsewhere, and a rim of 0 as wide as neighbours are looked at.
    flat
        Where surfaces are in it, sorted by label.
    starts
        Where each label begins in `flat`, and where the last ends.
    space
        Of the label map.
    """

    padded: UInt8[np.ndarray, "i j k"]
    flat: Int64[np.ndarray, " n"]
    starts: Int64[np.ndarray, "36"]
    space: Space

    @classmethod
    def of(cls, labels: Volume) -> "_Surfaces":
        padded = np.pad(np.where(is_surface(labels.data), labels.data, 0).astype(np.uint8), _NEIGHBOURS)
        flat = np.flatnonzero(padded)
        values = padded.ravel()[flat]
        order = np.argsort(values, kind="stable")
        return cls(
            padded, flat[order], np.searchsorted(values[order], np.arange(N_CLASSES + 1)), labels.space
        )

    def part(self, index: int) -> slice:
        """Tell which surface voxels have a label."""
        return slice(int(self.starts[index]), int(self.starts[index + 1]))

    def places_mm(self, which: slice | Int64[np.ndarray, " n"]) -> Float64[np.ndarray, "n 3"]:
        """Give world positions of some surface voxels."""
        index = np.stack(np.unravel_index(self.flat[which], self.padded.shape), axis=1) - _NEIGHBOURS
        return self.space.voxel_to_world(index.astype(np.float64))


def _nearest_mm(ours: _Surfaces, theirs: _Surfaces) -> Float64[np.ndarray, " n"]:
    """Measure how far each of our surface voxels is from their nearest one of its label; infinite without.

    Most surfaces lie close together: neighbours are looked at in the order of their distance, and a tree is
    searched only for what lies beyond all of them.
    """
    labels, there = ours.padded.ravel()[ours.flat], theirs.padded.ravel()
    steps, lengths_mm = _neighbours(ours.space, ours.padded.shape)
    sought = np.flatnonzero(np.diff(theirs.starts)[labels])
    number = kernels.first_alike(labels[sought], ours.flat[sought], there, steps)
    distances = np.full(labels.size, np.inf)
    distances[sought] = np.where(number >= 0, lengths_mm[number], np.inf)
    left = sought[number < 0]
    for index in np.unique(labels[left]):
        far, goal = left[labels[left] == index], theirs.part(int(index))
        tree = KDTree(theirs.places_mm(goal), leafsize=16, balanced_tree=False)  # quickest on surfaces
        distances[far] = tree.query(ours.places_mm(far))[0]
    return distances


def _neighbours(
    space: Space, shape: tuple[int, ...]
) -> tuple[Int64[np.ndarray, " s"], Float64[np.ndarray, " s"]]:
    """Give steps in a flat array and their lengths, nearest first: all that are shorter than any left out."""
    steps = np.indices((2 * _NEIGHBOURS + 1,) * 3).reshape(3, -1).T - _NEIGHBOURS
    lengths_mm = np.linalg.norm(steps @ space.affine[:3, :3].T, axis=1)
    planes_apart_mm = 1 / np.linalg.norm(space.inverse_affine[:3, :3], axis=1)
    order = np.argsort(lengths_mm, kind="stable")
    order = order[lengths_mm[order] <= (_NEIGHBOURS + 1) * planes_apart_mm.min()]
    strides = np.array([shape[1] * shape[2], shape[2], 1])
    return (steps @ strides)[order], lengths_mm[order]
