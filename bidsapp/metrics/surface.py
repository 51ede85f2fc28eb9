"""Distances between the surfaces of two label maps, in millimetres."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64
from scipy.spatial import KDTree

from bidsapp.atlas.seganat import N_CLASSES
from bidsapp.images.volume import Volume
from bidsapp.metrics.overlap import check_label_maps


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
    sides = (_SurfaceVoxels.of(first), _SurfaceVoxels.of(second))
    for index in range(1, N_CLASSES):
        ours, theirs = sides[0].voxels(index), sides[1].voxels(index)
        if not (ours.size and theirs.size):
            continue
        there = _nearest_mm(ours, theirs, first)
        back = _nearest_mm(theirs, ours, first)
        hd[index] = max(there.max(), back.max())
        hd95[index] = max(np.percentile(there, 95), np.percentile(back, 95))
        assd[index] = (there.sum() + back.sum()) / (there.size + back.size)
    return SurfaceDistances(hd, hd95, assd)


@dataclass(frozen=True, slots=True)
class _SurfaceVoxels:
    """Flat indices of all surface voxels, sorted by label."""

    flat: Int64[np.ndarray, " n"]
    starts: Int64[np.ndarray, "36"]

    @classmethod
    def of(cls, labels: Volume) -> "_SurfaceVoxels":
        flat = np.flatnonzero(is_surface(labels.data) & (labels.data != 0))
        values = labels.data.ravel()[flat]
        order = np.argsort(values, kind="stable")
        return cls(flat[order], np.searchsorted(values[order], np.arange(N_CLASSES + 1)))

    def voxels(self, index: int) -> Int64[np.ndarray, " n"]:
        return self.flat[self.starts[index] : self.starts[index + 1]]


def _nearest_mm(
    from_flat: Int64[np.ndarray, " n"], to_flat: Int64[np.ndarray, " m"], grid: Volume
) -> Float64[np.ndarray, " n"]:
    """Measure how far each voxel is from the nearest of the others; shared voxels need no search."""
    distances = np.zeros(from_flat.size)
    apart = ~np.isin(from_flat, to_flat, assume_unique=True)
    if apart.any():
        tree = KDTree(_world(to_flat, grid), leafsize=16, balanced_tree=False)  # quickest on surfaces
        distances[apart] = tree.query(_world(from_flat[apart], grid))[0]
    return distances


def _world(flat: Int64[np.ndarray, " n"], grid: Volume) -> Float64[np.ndarray, "n 3"]:
    index = np.stack(np.unravel_index(flat, grid.space.shape), axis=1)
    return grid.space.voxel_to_world(index.astype(np.float64))
