"""Operations on arrays of the host, numba or plain torch: fields at points, and growth of whole fields."""

from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, Int64, UInt8

from bidsapp.geometry.kernels import backends


def sample_vectors(
    field: Float32[np.ndarray, "3 i j k"], points: Float64[np.ndarray, "n 3"]
) -> Float64[np.ndarray, "n 3"]:
    """Interpolate a vector field at voxel positions, trilinearly; clamped beyond the border."""
    sampled: np.ndarray[Any, np.dtype[np.float64]] = backends.at_points().sample_vectors(field, points)
    return sampled


def sample_scalars(
    data: Float32[np.ndarray, "i j k"], points: Float64[np.ndarray, "n 3"]
) -> Float32[np.ndarray, " n"]:
    """Interpolate an image at voxel positions, trilinearly; 0 beyond the outermost voxel centres."""
    sampled: np.ndarray[Any, np.dtype[np.float32]] = backends.at_points().sample_scalars(data, points)
    return sampled


def land(
    field: Float32[np.ndarray, "3 i j k"],
    maps: tuple[Float64[np.ndarray, "3 4"], Float64[np.ndarray, "3 4"], Float64[np.ndarray, "3 3"]],
    first: int,
    shape: tuple[int, int, int],
) -> Float64[np.ndarray, "n 3"]:
    """Give where the voxels of some planes of a fixed grid land in the moving grid, in C order.

    Parameters
    ----------
    field
        Displacement, interpolated trilinearly and clamped beyond its border.
    maps
        Fixed voxel index (i, j, k, 1) to voxels of the field; the same to moving voxels; displacement to
        moving voxels.
    first
        Index of the first plane.
    shape
        How many planes, and the sizes of one.
    """
    at: np.ndarray[Any, np.dtype[np.float64]] = backends.at_points().land(field, *maps, first, shape)
    return at


def nearest(points: Float64[np.ndarray, "n 3"], shape: tuple[int, int, int]) -> Int64[np.ndarray, " n"]:
    """Give the nearest voxel of each position, counted in C order; -1 beyond the grid.

    Parameters
    ----------
    points
        In voxels.
    shape
        Sizes of the grid, which reaches half a voxel beyond the outermost voxel centres.
    """
    at: np.ndarray[Any, np.dtype[np.int64]] = backends.at_points().nearest(points, shape)
    return at


def first_alike(
    labels: UInt8[np.ndarray, " n"],
    at: Int64[np.ndarray, " n"],
    there: UInt8[np.ndarray, " m"],
    steps: Int64[np.ndarray, " s"],
) -> Int64[np.ndarray, " n"]:
    """Find for each position the first of some steps that leads to its label.

    Parameters
    ----------
    labels
        What each position looks for.
    at
        The positions, counted in C order; every step from each of them must stay in the map.
    there
        A label map, flat.
    steps
        To add to a position, in the order to try them.

    Returns
    -------
    number
        Of the step; -1 where none leads there.
    """
    number: np.ndarray[Any, np.dtype[np.int64]] = backends.at_points().first_alike(labels, at, there, steps)
    return number


def invert_at(
    field: Float32[np.ndarray, "3 i j k"],
    targets: Float64[np.ndarray, "n 3"],
    starts: Float64[np.ndarray, "n 3"],
    tolerance: float = 1e-3,
) -> Float64[np.ndarray, "n 3"]:
    """Find the voxel positions x with ``x + field(x) = target`` by damped Newton steps from `starts`."""
    found: np.ndarray[Any, np.dtype[np.float64]] = backends.at_points().invert_at(
        field, targets, starts, tolerance
    )
    return found


def determinants(
    field: Float32[np.ndarray, "3 i j k"], edges: Float32[np.ndarray, "3 3"]
) -> Float32[np.ndarray, "i j k"]:
    """Give the volume of each voxel after a displacement, by central differences; one-sided at the border.

    Parameters
    ----------
    field
        Displacement, two voxels at least along each axis.
    edges
        Those of a voxel before it in the same units, an axis of the grid a row.
    """
    found: np.ndarray = backends.of_fields().determinants(np.ascontiguousarray(field), edges)
    return found


def tetrahedra(
    field: Float32[np.ndarray, "3 i j k"],
) -> tuple[Float32[np.ndarray, "i j k"], Float32[np.ndarray, "i j k"]]:
    """Give, for each voxel, the smallest of its tetrahedra's Jacobians and the sum of the negative ones.

    A voxel owns the eight corners made of its edges ahead and behind, and the two middle tetrahedra of the
    cube ahead of it. Without displacement corners have 1, middle tetrahedra 2.

    Parameters
    ----------
    field
        Displacement in voxels of its own grid, two voxels at least along each axis.
    """
    smallest, negative = backends.of_fields().tetrahedra(np.ascontiguousarray(field))
    return smallest, negative
