"""The Triton kernels as torch sees them: same names and arguments as in `kernels.reference`."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from bidsapp.geometry.kernels import reference
from bidsapp.geometry.kernels.gpu import (
    composition,
    correlation,
    filters,
    images,
    inverses,
    jacobians,
    tetrahedra,
    votes,
)
from bidsapp.geometry.kernels.gpu.launching import WholeSums, block_sums, launch
from bidsapp.geometry.kernels.reference import FLAT_SHARE, STEEPNESS, standardised

NEWTON_STEPS = 30


class _Compose(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, outer: Tensor, inner: Tensor) -> Tensor:
        outer, inner = outer.contiguous(), inner.contiguous()
        ctx.save_for_backward(outer, inner)
        out = torch.empty_like(inner)
        launch(composition.compose, inner[0].numel(), outer, inner, out, *inner.shape[1:])
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        outer, inner = ctx.saved_tensors
        gradient = gradient.contiguous()
        to_outer, to_inner = WholeSums(outer, gradient.abs().amax()), torch.empty_like(inner)
        fields = outer, inner, gradient, to_outer.sums, to_inner, to_outer.scale
        launch(composition.compose_adjoint, inner[0].numel(), *fields, *inner.shape[1:])
        return to_outer.total(), to_inner


def _convolve(field: Tensor, weights: Tensor) -> Tensor:
    """Convolve (c, i, j, k) along i, j and k."""
    source, weights = field.contiguous(), weights.contiguous()
    for axis in (3, 2, 1):
        out = torch.empty_like(source)
        place = field.shape[axis], source.stride(axis)
        launch(
            filters.convolve, source.numel(), source, weights, out, source.numel(), *place, weights.numel()
        )
        source = out
    return source


class _Smooth(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, field: Tensor, weights: Tensor) -> Tensor:
        ctx.weights = weights
        return _convolve(field, weights)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _convolve(gradient, ctx.weights.flip(0)), None


class _SumOverField(torch.autograd.Function):
    """A kernel that adds up something over all voxels of a field, and its adjoint."""

    @staticmethod
    def forward(ctx: Any, field: Tensor, kernel: Any, adjoint: Any) -> Tensor:
        field = field.contiguous()
        ctx.save_for_backward(field)
        ctx.adjoint = adjoint
        sums = block_sums(field.numel(), field)
        launch(kernel, field.numel(), field, sums, field.numel(), *field.shape[1:])
        return sums.double().sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (field,) = ctx.saved_tensors
        out = torch.empty_like(field)
        launch(ctx.adjoint, field.numel(), field, gradient.float(), out, field.numel(), *field.shape[1:])
        return out, None, None


class _LabelVotes(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, n_labels: int, ease: float, displacement: Tensor, *grids: Tensor
    ) -> tuple[Tensor, Tensor]:
        displacement, grids = displacement.contiguous(), tuple(grid.contiguous() for grid in grids)
        ctx.save_for_backward(displacement, *grids)
        ctx.ease = ease
        fixed, moving = grids[-2:]
        overlap, volume = (block_sums(fixed.numel(), displacement, n_labels).zero_() for _ in range(2))
        sizes = *fixed.shape, *moving.shape, *displacement.shape[1:]
        launch(votes.vote, fixed.numel(), displacement, *grids, overlap, volume, *sizes, n_labels, ease)
        return overlap.double().sum(dim=0), volume.double().sum(dim=0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, to_overlap: Tensor, to_volume: Tensor) -> tuple[Tensor | None, ...]:
        displacement, *grids = ctx.saved_tensors
        fixed, moving = grids[-2:]
        gains = to_overlap.float().contiguous(), to_volume.float().contiguous()
        # eased weights rise by 1.5 a voxel at most
        steepest = 3 * (gains[0].abs().amax() + gains[1].abs().amax())
        result = WholeSums(displacement, steepest * grids[2].abs().sum())
        sizes = *fixed.shape, *moving.shape, *displacement.shape[1:]
        tensors = displacement, *grids, *gains, result.scale, result.sums
        launch(votes.vote_adjoint, fixed.numel(), *tensors, *sizes, ctx.ease)
        return None, None, result.total(), *[None] * len(grids)


class _SampleImage(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, shape: tuple[int, int, int], displacement: Tensor, *grids: Tensor) -> Tensor:
        displacement, grids = displacement.contiguous(), tuple(grid.contiguous() for grid in grids)
        ctx.save_for_backward(displacement, *grids)
        out = displacement.new_empty(shape)
        sizes = *shape, *grids[-1].shape, *displacement.shape[1:]
        launch(images.sample_image, out.numel(), displacement, *grids, out, *sizes)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        displacement, *grids = ctx.saved_tensors
        gradient = gradient.contiguous()
        contrast = grids[-1].amax() - grids[-1].amin()
        result = WholeSums(displacement, gradient.abs().amax() * contrast * grids[2].abs().sum())
        sizes = *gradient.shape, *grids[-1].shape, *displacement.shape[1:]
        tensors = displacement, *grids, gradient, result.scale, result.sums
        launch(images.sample_image_adjoint, gradient.numel(), *tensors, *sizes)
        return None, result.total(), *[None] * len(grids)


class _CorrelateStandardised(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, fixed: Tensor, moving: Tensor, weights: Tensor, radius: int) -> Tensor:
        fixed, moving, weights = fixed.contiguous(), moving.contiguous(), weights.contiguous()
        n, ctx.ones = fixed.numel(), weights.new_ones(2 * radius + 1)
        boxes, pulls = fixed.new_empty((6, *fixed.shape)), fixed.new_empty((3, *fixed.shape))
        launch(correlation.products, n, fixed, moving, weights, boxes, n)
        sums = block_sums(n, fixed)
        launch(correlation.correlate, n, _convolve(boxes, ctx.ones), weights, pulls, sums, n, FLAT_SHARE)
        ctx.save_for_backward(fixed, moving, weights, pulls)
        return sums.double().sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, None, None]:
        fixed, moving, weights, pulls = ctx.saved_tensors
        out, boxes = torch.empty_like(moving), _convolve(pulls, ctx.ones)
        tensors = fixed, moving, weights, boxes, gradient.float(), out
        launch(correlation.correlate_adjoint, fixed.numel(), *tensors, fixed.numel())
        return None, out, None, None


class _LogJacobianMoments(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, displacement: Tensor, labels: Tensor, n_labels: int, floor: float, phase: int
    ) -> tuple[Tensor, Tensor]:
        displacement, labels = displacement.contiguous(), labels.contiguous()
        ctx.save_for_backward(displacement, labels)
        ctx.choices = floor, STEEPNESS, phase
        first, second = (block_sums(labels.numel(), displacement, n_labels) for _ in range(2))
        tensors = displacement, labels, first, second
        sizes = displacement.shape[1:]
        launch(jacobians.log_jacobian_moments, labels.numel(), *tensors, *sizes, n_labels, *ctx.choices)
        return first.double().sum(dim=0), second.double().sum(dim=0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, to_first: Tensor, to_second: Tensor) -> tuple[Tensor | None, ...]:
        displacement, labels = ctx.saved_tensors
        gains = to_first.float().contiguous(), to_second.float().contiguous()
        slope = STEEPNESS / ctx.choices[0]
        largest = slope * (gains[0].abs().amax() + slope * gains[1].abs().amax())
        result = WholeSums(displacement, largest)
        tensors = displacement, labels, *gains, result.scale, result.sums
        sizes = displacement.shape[1:]
        launch(jacobians.log_jacobian_moments_adjoint, labels.numel(), *tensors, *sizes, *ctx.choices)
        return result.total(), None, None, None, None


def compose(outer: Tensor, inner: Tensor) -> Tensor:
    """See `kernels.compose`."""
    return _Compose.apply(outer, inner)


def smooth(field: Tensor, weights: Tensor) -> Tensor:
    """See `kernels.smooth`."""
    return _Smooth.apply(field, weights)


def separable(field: Tensor, along_i: Tensor, along_j: Tensor, along_k: Tensor) -> Tensor:
    """See `kernels.separable`: dense products suit a card."""
    return reference.separable(field, along_i, along_j, along_k)


def squared_differences(field: Tensor) -> Tensor:
    """See `kernels.squared_differences`."""
    return _SumOverField.apply(field, filters.squared_differences, filters.squared_differences_adjoint)


def squared_curvature(field: Tensor) -> Tensor:
    """See `kernels.squared_curvature`."""
    return _SumOverField.apply(field, filters.squared_curvature, filters.squared_curvature_adjoint)


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
    return _LabelVotes.apply(n_labels, ease, displacement, to_grid, index_map, step_map, fixed, moving)


def sample_image(
    displacement: Tensor,
    to_grid: Tensor,
    image: Tensor,
    index_map: Tensor,
    step_map: Tensor,
    shape: tuple[int, int, int],
) -> Tensor:
    """See `kernels.sample_image`."""
    return _SampleImage.apply(shape, displacement, to_grid, index_map, step_map, image)


def local_correlation(fixed: Tensor, moving: Tensor, weights: Tensor, radius: int) -> Tensor:
    """See `kernels.local_correlation`."""
    f, m = standardised(fixed, weights), standardised(moving, weights)
    mass = weights.double().sum().clamp(min=torch.finfo(torch.float64).tiny)
    return _CorrelateStandardised.apply(f, m, weights, radius) / mass


def count_labels(labels: Tensor, n_labels: int) -> Tensor:
    """See `kernels.count_labels`."""
    labels = labels.contiguous()
    sums = block_sums(labels.numel(), labels, n_labels)
    launch(votes.count, labels.numel(), labels, sums, labels.numel(), n_labels)
    return sums.double().sum(dim=0)


def log_jacobian_moments(
    displacement: Tensor, labels: Tensor, n_labels: int, floor: float, phase: int
) -> tuple[Tensor, Tensor]:
    """See `kernels.log_jacobian_moments`."""
    return _LogJacobianMoments.apply(displacement, labels, n_labels, floor, phase)


def balance(field: Tensor) -> Tensor:
    """See `kernels.balance`."""
    field = field.contiguous()
    out = torch.empty_like(field)
    launch(filters.balance, field.numel(), field, out, field.numel(), *field.shape[1:])
    return out


def invert(field: Tensor, start: Tensor, tolerance: float) -> Tensor:
    """See `kernels.invert`."""
    field, start = field.contiguous(), start.contiguous()
    out, n = torch.empty_like(field), field[0].numel()
    launch(inverses.invert, n, field, start, out, tolerance, NEWTON_STEPS, n, *field.shape[1:])
    return out


def smallest_jacobian(field: Tensor) -> Tensor:
    """See `kernels.smallest_jacobian`."""
    field = field.contiguous()
    out = torch.empty_like(field[0])
    launch(tetrahedra.smallest_jacobian, out.numel(), field, out, out.numel(), *field.shape[1:])
    return out
