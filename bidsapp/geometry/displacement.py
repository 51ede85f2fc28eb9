"""Displacement fields: how much they grow and shrink, and where they fold."""

import numpy as np
from jaxtyping import Bool, Float32

from bidsapp.errors import ShapeError
from bidsapp.geometry import kernels
from bidsapp.geometry.space import Space


def check_displacement(displacement: np.ndarray, space: Space) -> None:
    """Refuse a displacement that does not lie on its space's grid."""
    if displacement.shape != (3, *space.shape):
        raise ShapeError(
            f"a displacement must have the sizes {(3, *space.shape)} of its space, got {displacement.shape}"
        )
    if min(space.shape) < 2:
        raise ShapeError(f"differences need two voxels along each axis, got a grid of {space.shape}")


def jacobian_determinant(
    displacement: Float32[np.ndarray, "3 i j k"], space: Space
) -> Float32[np.ndarray, "i j k"]:
    """Give the local volume ratio of ``x -> x + displacement(x)`` at every voxel.

    Central differences inside, one-sided differences at the border, so that a linear map is answered exactly
    everywhere. Above 1 means growth, zero or below means a fold.

    Parameters
    ----------
    displacement
        World millimetres (RAS+) to add to the voxel centres of `space`.
    space
        The grid `displacement` is sampled on; two voxels at least along each axis.

    Raises
    ------
    ShapeError
        If the sizes do not fit `space`.

    Examples
    --------
    Stretching by one half along each axis multiplies volumes by 1.5 ** 3:

    >>> space = Space((3, 4, 5), np.diag([2.0, 1.0, 1.0, 1.0]))
    >>> stretch = 0.5 * space.voxel_centres_mm().T.reshape(3, 3, 4, 5)
    >>> np.unique(jacobian_determinant(stretch.astype(np.float32), space)).tolist()
    [3.375]
    """
    check_displacement(displacement, space)
    edges = space.affine[:3, :3]
    volume = kernels.determinants(displacement, np.ascontiguousarray(edges.T, dtype=np.float32))
    determinant: np.ndarray = volume / np.float32(np.linalg.det(edges))
    return determinant


def non_diffeomorphic_volume_mm3(
    displacement: Float32[np.ndarray, "3 i j k"], space: Space, mask: Bool[np.ndarray, "i j k"]
) -> float:
    """Add up the volume of all tetrahedra that ``x -> x + displacement(x)`` turns inside out.

    The cube between eight voxel centres splits into five tetrahedra in two ways: ten finite-difference
    Jacobians J a voxel, eight from the forward and backward differences, two of the middle tetrahedra. Each
    tetrahedron has volume J / 6, and the two ways count half each. This sees checkerboard folds, which
    central differences skip.

    Parameters
    ----------
    displacement
        World millimetres (RAS+) to add to the voxel centres of `space`.
    space
        The grid `displacement` is sampled on.
    mask
        A tetrahedron counts when the voxel it belongs to is inside: its corner voxel, or for the middle ones
        the voxel of the lowest index.

    Returns
    -------
    volume
        Cubic millimetres, measured after the map; 0 when nothing folds.

    References
    ----------
    Liu et al. 2024, International Journal of Computer Vision 132:4170-4191. doi:10.1007/s11263-024-02047-1
    """
    _, negative = kernels.tetrahedra(_in_voxels(displacement, space))
    return 0.5 * abs(float(negative[mask].sum(dtype=np.float64))) / 6.0 * space.voxel_volume_mm3


def folded(
    displacement: Float32[np.ndarray, "3 i j k"], space: Space, *, at_most: float = 0.0
) -> Bool[np.ndarray, "i j k"]:
    """Flag every voxel with a tetrahedron (see `non_diffeomorphic_volume_mm3`) turned inside out.

    Parameters
    ----------
    displacement
        World millimetres (RAS+) to add to the voxel centres of `space`.
    space
        The grid `displacement` is sampled on.
    at_most
        A tetrahedron that keeps no more than this share of its volume is flagged.

    Raises
    ------
    ShapeError
        If the sizes do not fit `space`.
    """
    check_displacement(displacement, space)
    smallest, _ = kernels.tetrahedra(_in_voxels(displacement, space))
    flags: np.ndarray = smallest <= at_most
    return flags


def _in_voxels(displacement: Float32[np.ndarray, "3 i j k"], space: Space) -> Float32[np.ndarray, "3 i j k"]:
    """Turn world millimetres into steps along the grid's axes, in voxels."""
    steps: np.ndarray = np.einsum(
        "ab,bijk->aijk", space.inverse_affine[:3, :3].astype(np.float32), displacement
    )
    return steps
