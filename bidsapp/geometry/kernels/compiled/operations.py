"""The compiled operations as torch sees them: same names and arguments as in `kernels.reference`."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from bidsapp.geometry.kernels.compiled import composition, correlation, filters, images, jacobians, votes
from bidsapp.geometry.kernels.compiled import separable as separable_products
from bidsapp.geometry.kernels.compiled.landing import Placed


def _array(tensor: Tensor) -> np.ndarray[Any, np.dtype[Any]]:
    return tensor.detach().contiguous().numpy()


class _Compose(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, outer: Tensor, inner: Tensor) -> Tensor:
        ctx.save_for_backward(outer, inner)
        return torch.from_numpy(composition.compose(_array(outer), _array(inner)))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        outer, inner = ctx.saved_tensors
        to_outer, to_inner = composition.compose_adjoint(_array(outer), _array(inner), _array(gradient))
        return torch.from_numpy(to_outer), torch.from_numpy(to_inner)


class _Smooth(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, field: Tensor, weights: Tensor) -> Tensor:
        ctx.weights = weights
        return torch.from_numpy(filters.smooth(_array(field), _array(weights)))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return torch.from_numpy(filters.smooth(_array(gradient), _array(ctx.weights.flip(0)))), None


class _Separable(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, field: Tensor, *matrices: Tensor) -> Tensor:
        ctx.matrices = tuple(_array(matrix) for matrix in matrices)
        return torch.from_numpy(separable_products.separable(_array(field), ctx.matrices))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        pulled = separable_products.separable_adjoint(_array(gradient), ctx.matrices)
        return torch.from_numpy(pulled), None, None, None


class _SquaredDifferences(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, field: Tensor) -> Tensor:
        ctx.save_for_backward(field)
        return torch.tensor(filters.squared_differences(_array(field)), dtype=torch.float64)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (field,) = ctx.saved_tensors
        return torch.from_numpy(filters.squared_differences_adjoint(_array(field), gradient.item()))


class _SquaredCurvature(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, field: Tensor) -> Tensor:
        ctx.save_for_backward(field)
        return torch.tensor(filters.squared_curvature(_array(field)), dtype=torch.float64)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (field,) = ctx.saved_tensors
        return torch.from_numpy(filters.squared_curvature_adjoint(_array(field), gradient.item()))


def _placed(displacement: Tensor, to_grid: Tensor, shape: tuple[int, ...]) -> Placed:
    """Say where every fixed index lies on the displacement's grid, axis by axis."""
    low = np.zeros((3, max(shape)), dtype=np.int64)
    fraction = np.zeros(low.shape, dtype=np.float32)
    for axis, (scale, offset) in enumerate(to_grid.tolist()):
        size = displacement.shape[axis + 1]
        at = np.clip(scale * np.arange(shape[axis]) + offset, 0, size - 1)
        low[axis, : at.size] = at.astype(np.int64)
        fraction[axis, : at.size] = at - low[axis, : at.size]
    along = slice(shape[2])
    in_step = not fraction[2, along].any() and bool((np.diff(low[2, along]) == 1).all())
    return low, fraction, in_step


class _LabelVotes(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, displacement: Tensor, n_labels: int, ease: float, to_grid: Tensor, *grids: Tensor
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(displacement, *grids)
        ctx.ease = ease
        ctx.placed = _placed(displacement, to_grid, tuple(grids[0].shape))
        fixed, moving, *maps = (_array(grid) for grid in grids)
        ctx.cells = votes.find_uniform(moving)
        known = fixed, moving, tuple(maps), ctx.cells
        overlap, volume = votes.vote(_array(displacement), ctx.placed, *known, n_labels, np.float32(ease))
        return torch.from_numpy(overlap), torch.from_numpy(volume)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, to_overlap: Tensor, to_volume: Tensor) -> tuple[Tensor | None, ...]:
        displacement, fixed, moving, *maps = (_array(saved) for saved in ctx.saved_tensors)
        gains = _array(to_overlap.float()), _array(to_volume.float())
        known = fixed, moving, tuple(maps), ctx.cells
        pulled = votes.vote_adjoint(displacement, ctx.placed, *known, *gains, np.float32(ctx.ease))
        return torch.from_numpy(pulled), *[None] * (len(known) + 3)


class _SampleImage(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, displacement: Tensor, shape: tuple[int, int, int], to_grid: Tensor, *grids: Tensor
    ) -> Tensor:
        ctx.save_for_backward(displacement, *grids)
        ctx.placed = _placed(displacement, to_grid, shape)
        image, *maps = (_array(grid) for grid in grids)
        there = images.sample_image(_array(displacement), ctx.placed, image, tuple(maps), shape)
        return torch.from_numpy(there)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        displacement, image, *maps = (_array(saved) for saved in ctx.saved_tensors)
        pulled = images.sample_image_adjoint(displacement, ctx.placed, image, tuple(maps), _array(gradient))
        return torch.from_numpy(pulled), *[None] * (len(maps) + 3)


class _LocalCorrelation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, fixed: Tensor, moving: Tensor, weights: Tensor, radius: int) -> Tensor:
        f, m, w = _array(fixed), _array(moving), _array(weights)
        mass, *of_fixed = correlation.standardisation(f, w)
        _, *of_moving = correlation.standardisation(m, w)
        scales = (*of_fixed, *of_moving)
        (total, lost), pulls = correlation.correlate(f, m, w, scales, radius)
        ctx.save_for_backward(fixed, moving, weights, torch.from_numpy(pulls))
        ctx.radius, ctx.scales, ctx.mass = radius, scales, max(mass, np.finfo(np.float64).tiny)
        ctx.lost = lost / ctx.mass
        return torch.tensor(total / ctx.mass, dtype=torch.float64)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, None, None]:
        f, m, w, pulls = (_array(saved) for saved in ctx.saved_tensors)
        gain = gradient.item() / ctx.mass
        pulled = correlation.correlate_adjoint((f, m, w), ctx.scales, pulls, ctx.radius, gain, ctx.lost)
        return None, torch.from_numpy(pulled), None, None


class _LogJacobianMoments(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, displacement: Tensor, labels: Tensor, n_labels: int, floor: float, phase: int
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(displacement, labels)
        ctx.choices = floor, phase
        arrays = _array(displacement), _array(labels)
        first, second = jacobians.log_jacobian_moments(*arrays, n_labels, floor, phase)
        return torch.from_numpy(first), torch.from_numpy(second)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, to_first: Tensor, to_second: Tensor) -> tuple[Tensor | None, ...]:
        arrays = tuple(_array(saved) for saved in ctx.saved_tensors)
        gains = _array(to_first), _array(to_second)
        pulled = jacobians.log_jacobian_moments_adjoint(*arrays, *ctx.choices, *gains)
        return torch.from_numpy(pulled), None, None, None, None


def compose(outer: Tensor, inner: Tensor) -> Tensor:
    """See `kernels.compose`."""
    return _Compose.apply(outer, inner)


def smooth(field: Tensor, weights: Tensor) -> Tensor:
    """See `kernels.smooth`."""
    return _Smooth.apply(field, weights)


def separable(field: Tensor, along_i: Tensor, along_j: Tensor, along_k: Tensor) -> Tensor:
    """See `kernels.separable`."""
    return _Separable.apply(field, along_i, along_j, along_k)


def squared_differences(field: Tensor) -> Tensor:
    """See `kernels.squared_differences`."""
    return _SquaredDifferences.apply(field)


def squared_curvature(field: Tensor) -> Tensor:
    """See `kernels.squared_curvature`."""
    return _SquaredCurvature.apply(field)


def label_votes(
    displacement: Tensor,
    to_grid: Tensor,
    fixed: Tensor,
    moving: Tensor,
    index_map: Tensor,
    step_map: Tensor,
    n_labels: int,
    ease: float,
) -> tuple[Tensor, Tensor]:
    """See `kernels.label_votes`."""
    return _LabelVotes.apply(displacement, n_labels, ease, to_grid, fixed, moving, index_map, step_map)


def sample_image(
    displacement: Tensor,
    to_grid: Tensor,
    image: Tensor,
    index_map: Tensor,
    step_map: Tensor,
    shape: tuple[int, int, int],
) -> Tensor:
    """See `kernels.sample_image`."""
    return _SampleImage.apply(displacement, shape, to_grid, image, index_map, step_map)


def local_correlation(fixed: Tensor, moving: Tensor, weights: Tensor, radius: int) -> Tensor:
    """See `kernels.local_correlation`."""
    return _LocalCorrelation.apply(fixed, moving, weights, radius)


def log_jacobian_moments(
    displacement: Tensor, labels: Tensor, n_labels: int, floor: float, phase: int
) -> tuple[Tensor, Tensor]:
    """See `kernels.log_jacobian_moments`."""
    return _LogJacobianMoments.apply(displacement, labels, n_labels, floor, phase)


def balance(field: Tensor) -> Tensor:
    """See `kernels.balance`."""
    return torch.from_numpy(filters.balance(_array(field)))
