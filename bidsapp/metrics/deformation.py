"""How well behaved a displacement field is: folds, spread of the local volume change, inverse consistency."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64

from bidsapp.errors import DataError, ShapeError
from bidsapp.geometry import kernels
from bidsapp.geometry.displacement import (
    check_displacement,
    jacobian_determinant,
    non_diffeomorphic_volume_mm3,
)
from bidsapp.geometry.space import Space

_SLAB_VOXELS = 1_000_000


@dataclass(frozen=True, slots=True)
class Regularity:
    """Folds and spread of a displacement inside a mask.

    Parameters
    ----------
    folded_fraction
        Share of the mask's voxels whose Jacobian determinant is zero or negative.
    ndv_percent
        Non-diffeomorphic volume in percent of the mask's volume.
    sd_log_jacobian
        Standard deviation of the natural logarithm of the determinant over the voxels that are not folded.
    """

    folded_fraction: float
    ndv_percent: float
    sd_log_jacobian: float


def regularity(
    displacement: Float32[np.ndarray, "3 i j k"], space: Space, mask: Bool[np.ndarray, "i j k"]
) -> Regularity:
    """Look for folds of ``x -> x + displacement(x)`` and measure how unevenly it grows and shrinks.

    All three numbers are 0 for the identity; lower is better.

    Parameters
    ----------
    displacement
        World millimetres (RAS+) to add to the voxel centres of `space`.
    space
        The grid `displacement` is sampled on.
    mask
        Voxels that count. An empty mask is refused.

    Raises
    ------
    ShapeError
        If the sizes do not fit `space`.
    DataError
        If the mask is empty.
    """
    check_displacement(displacement, space)
    if mask.shape != space.shape:
        raise ShapeError(f"the mask must lie on the displacement's grid {space.shape}, got {mask.shape}")
    if not mask.any():
        raise DataError("folds are counted inside a mask, got an empty mask; check the atlas labels")
    determinant = jacobian_determinant(displacement, space)[mask]
    positive = determinant[determinant > 0].astype(np.float64)
    folded = non_diffeomorphic_volume_mm3(displacement, space, mask)
    return Regularity(
        folded_fraction=1.0 - positive.size / determinant.size,
        ndv_percent=100.0 * folded / (determinant.size * space.voxel_volume_mm3),
        sd_log_jacobian=float(np.log(positive).std()) if positive.size else float("nan"),
    )


def inverse_error_mm(
    displacement: Float32[np.ndarray, "3 i j k"],
    inverse_displacement: Float32[np.ndarray, "3 i j k"],
    space: Space,
    mask: Bool[np.ndarray, "i j k"],
) -> Float64[np.ndarray, " n"]:
    """Measure how far going there and back misses the starting point, for every voxel of the mask.

    0 means that `inverse_displacement` undoes `displacement`; lower is better.

    Parameters
    ----------
    displacement, inverse_displacement
        World millimetres (RAS+) on `space`; read between voxels by trilinear interpolation, beyond the border
        at the nearest voxel.
    space
        The grid both are sampled on.
    mask
        Voxels to start from.

    Returns
    -------
    error
        Millimetres, in C order of the mask's voxels.

    Raises
    ------
    ShapeError
        If the sizes do not fit `space`.
    """
    check_displacement(displacement, space)
    check_displacement(inverse_displacement, space)
    starts = np.argwhere(mask)
    error = np.empty(len(starts))
    for first in range(0, len(starts), _SLAB_VOXELS):
        voxels = starts[first : first + _SLAB_VOXELS]
        there = displacement[(slice(None), *voxels.T)].astype(np.float64)
        landed = voxels.T + space.inverse_affine[:3, :3] @ there
        back = kernels.sample_vectors(inverse_displacement, landed.T)
        error[first : first + len(voxels)] = np.linalg.norm(there.T + back, axis=1)
    return error
