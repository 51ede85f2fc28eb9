"""Sample an image at points: one function, two kinds of interpolation."""

from typing import Literal

import numpy as np
from jaxtyping import Float64

from bidsapp.geometry import kernels

Interpolation = Literal["linear", "nearest"]


def sample_at(
    data: np.ndarray, voxels: Float64[np.ndarray, "n 3"], interpolation: Interpolation
) -> np.ndarray:
    """Read an image at voxel positions; 0 beyond the grid.

    Parameters
    ----------
    data
        Image (i, j, k).
    voxels
        Positions in voxel indices. Linear interpolation reaches to the outermost voxel centres, nearest
        half a voxel further.
    interpolation
        "linear" gives float32, "nearest" keeps the type of `data`.

    Examples
    --------
    >>> ramp = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    >>> sample_at(ramp, np.array([[0.5, 1.0, 1.0], [5.0, 0.0, 0.0]]), "linear").tolist()
    [11.0, 0.0]
    >>> sample_at(ramp, np.array([[1.4, 2.0, 3.2]]), "nearest").tolist()
    [23.0]
    """
    if interpolation == "linear":
        return kernels.sample_scalars(np.ascontiguousarray(data, dtype=np.float32), voxels)
    flat = kernels.nearest(voxels, data.shape)
    return np.where(flat >= 0, data.ravel()[np.maximum(flat, 0)], data.dtype.type(0))
