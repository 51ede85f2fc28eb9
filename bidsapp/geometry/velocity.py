"""Stationary velocities and the displacements they lead to."""

import torch
from jaxtyping import Float
from torch import Tensor

from bidsapp.errors import ShapeError
from bidsapp.geometry import kernels
from bidsapp.geometry.space import Space


def exponentiate(
    velocity: Float[Tensor, "batch 3 i j k"], space: Space, *, squaring_steps: int = 6
) -> Float[Tensor, "batch 3 i j k"]:
    """Follow a stationary velocity for one unit of time.

    Scaling and squaring: one small step ``velocity / 2**N``, composed with itself N times.
    Beyond the border the nearest voxel's value is used.

    Parameters
    ----------
    velocity
        Millimetres per unit time, world axes (RAS+), sampled at the voxel centres of `space`.
    space
        The grid `velocity` is sampled on.
    squaring_steps
        N. The error halves with each; cost grows by one resampling.

    Returns
    -------
    displacement
        Millimetres, world axes, to add to a point of `space`. Negate `velocity` for the inverse.

    Raises
    ------
    ShapeError
        If the last three sizes of `velocity` are not ``space.shape``.

    References
    ----------
    Arsigny et al. 2006, MICCAI: A log-Euclidean framework for statistics on diffeomorphisms.
    doi:10.1007/11866565_113

    Examples
    --------
    A constant velocity is a plain shift:

    >>> space = Space((4, 5, 6), np.eye(4))
    >>> exponentiate(torch.ones(1, 3, 4, 5, 6), space).unique().tolist()
    [1.0]
    """
    if tuple(velocity.shape[-3:]) != space.shape:
        raise ShapeError(
            f"velocity must be sampled on the space's grid {space.shape}, got {tuple(velocity.shape[-3:])}"
        )
    to_world = torch.as_tensor(space.affine[:3, :3].copy(), dtype=velocity.dtype, device=velocity.device)
    to_voxels = torch.linalg.inv(to_world)
    in_voxels = torch.einsum("ab,nbijk->naijk", to_voxels, velocity)
    moved = torch.stack([exponentiate_voxels(one, squaring_steps=squaring_steps) for one in in_voxels])
    displacement: Tensor = torch.einsum("ab,nbijk->naijk", to_world, moved)
    return displacement


def exponentiate_voxels(
    velocity: Float[Tensor, "3 i j k"], *, squaring_steps: int
) -> Float[Tensor, "3 i j k"]:
    """Do the same for one velocity in voxels of its own grid, along the grid's axes."""
    displacement = velocity / 2**squaring_steps
    for _ in range(squaring_steps):
        displacement = kernels.compose(displacement, displacement)
    return displacement
