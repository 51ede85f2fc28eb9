"""The few hot operations, each as a readable reference and as a fast twin.

Single precision on the CPU goes to the compiled twin (`compiled`), all else to plain torch (`reference`).
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, UInt8
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from bidsapp.geometry.kernels import reference
from bidsapp.geometry.kernels.compiled import composition, filters, jacobians, sampling, votes

_FOLD_FLOOR = 0.3


def _is_compiled(*tensors: Tensor) -> bool:
    return all(tensor.device.type == "cpu" and tensor.dtype == torch.float32 for tensor in tensors)


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


class _LabelVotes(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, displacement: Tensor, n_labels: int, *grids: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(displacement, *grids)
        overlap, volume = votes.vote(_array(displacement), *_placed(displacement, *grids), n_labels)
        return torch.from_numpy(overlap), torch.from_numpy(volume)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, to_overlap: Tensor, to_volume: Tensor) -> tuple[Tensor | None, ...]:
        displacement, *grids = ctx.saved_tensors
        placed = _placed(displacement, *grids)
        gains = _array(to_overlap.float()), _array(to_volume.float())
        pulled = votes.vote_adjoint(_array(displacement), *placed, *gains)
        return torch.from_numpy(pulled), *[None] * (len(grids) + 1)


def _placed(displacement: Tensor, to_grid: Tensor, *others: Tensor) -> tuple[Any, ...]:
    """Lower neighbour and weight of every fixed index on the displacement's grid, axis by axis."""
    fixed = others[0]
    low = np.zeros((3, max(fixed.shape)), dtype=np.int64)
    fraction = np.zeros(low.shape, dtype=np.float32)
    for axis, (scale, offset) in enumerate(to_grid.tolist()):
        size = displacement.shape[axis + 1]
        at = np.clip(scale * np.arange(fixed.shape[axis]) + offset, 0, size - 1)
        low[axis, : at.size] = np.minimum(at.astype(np.int64), max(size - 2, 0))
        fraction[axis, : at.size] = at - low[axis, : at.size]
    return low, fraction, *[_array(other) for other in others]


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


class _LogJacobianMoments(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, displacement: Tensor, labels: Tensor, n_labels: int, phase: int
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(displacement, labels)
        ctx.phase = phase
        arrays = _array(displacement), _array(labels)
        first, second = jacobians.log_jacobian_moments(*arrays, n_labels, _FOLD_FLOOR, phase)
        return torch.from_numpy(first), torch.from_numpy(second)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, to_first: Tensor, to_second: Tensor) -> tuple[Tensor, None, None, None]:
        arrays = tuple(_array(saved) for saved in ctx.saved_tensors)
        gains = _array(to_first), _array(to_second)
        pulled = jacobians.log_jacobian_moments_adjoint(*arrays, _FOLD_FLOOR, ctx.phase, *gains)
        return torch.from_numpy(pulled), None, None, None


def compose(outer: Float[Tensor, "3 i j k"], inner: Float[Tensor, "3 i j k"]) -> Float[Tensor, "3 i j k"]:
    """Give the displacement of ``x -> outer(inner(x))``.

    Parameters
    ----------
    outer, inner
        Displacements in voxels of their common grid; `outer` is interpolated trilinearly and holds its
        border value beyond the border.
    """
    if _is_compiled(outer, inner):
        composed: Tensor = _Compose.apply(outer, inner)
        return composed
    return reference.compose(outer, inner)


def smooth(field: Float[Tensor, "c i j k"], weights: Float[Tensor, " w"]) -> Float[Tensor, "c i j k"]:
    """Convolve every channel with an odd number of `weights` along each axis; zero beyond the border."""
    if _is_compiled(field, weights):
        smoothed: Tensor = _Smooth.apply(field, weights)
        return smoothed
    return reference.smooth(field, weights)


def squared_differences(field: Float[Tensor, "c i j k"]) -> Float64[Tensor, ""]:
    """Sum over channels, voxels and axes of the squared difference to the next voxel."""
    if _is_compiled(field):
        total: Tensor = _SquaredDifferences.apply(field)
        return total
    return reference.squared_differences(field)


def label_votes(
    displacement: Float[Tensor, "3 i j k"],
    to_grid: Float[Tensor, "3 2"],
    fixed: UInt8[Tensor, "fi fj fk"],
    moving: UInt8[Tensor, "mi mj mk"],
    maps: tuple[Float[Tensor, "3 4"], Float[Tensor, "3 3"]],
    n_labels: int,
) -> tuple[Float64[Tensor, " n"], Float64[Tensor, " n"]]:
    """Count, for every label, how far the warped moving labels agree with the fixed ones.

    A fixed voxel looks up the eight moving voxels around the point it is sent to; each votes for its label
    with its trilinear weight. No channel is ever made: 35 labels cost what one costs.

    Parameters
    ----------
    displacement
        In voxels of its own grid, which may be coarser than the fixed one but has its axes.
    to_grid
        Per axis, scale and offset from a fixed voxel index to an index of the displacement's grid.
    fixed, moving
        Labels below `n_labels`. Beyond the moving grid lies label 0.
    maps
        Fixed voxel index (i, j, k, 1) to moving voxel index, and displacement to moving voxels.
    n_labels
        How many labels there are, label 0 included.

    Returns
    -------
    overlap
        Fixed voxels of each label, each weighted by the votes for that very label.
    volume
        Sum of all votes for each label.
    """
    index_map, step_map = maps
    if _is_compiled(displacement):
        counted: tuple[Tensor, Tensor] = _LabelVotes.apply(
            displacement, n_labels, to_grid, fixed, moving, index_map, step_map
        )
        return counted
    return reference.label_votes(displacement, to_grid, fixed, moving, index_map, step_map, n_labels)


def log_jacobian_moments(
    displacement: Float[Tensor, "3 i j k"], labels: UInt8[Tensor, "ci cj ck"], n_labels: int, phase: int
) -> tuple[Float64[Tensor, " n"], Float64[Tensor, " n"]]:
    """Sum, and sum of squares, of the log Jacobian determinant over the cells of every label.

    A cell lies between eight voxels; each of its corners has a determinant from the three edges that meet
    there. Four corners of a cell count, like the colours of a chessboard; the other four in the other phase.
    Below 0.3 the logarithm goes on as a steep line, so that folds cost much, but not infinitely much.

    Parameters
    ----------
    displacement
        In voxels of its own grid.
    labels
        One label a cell: sizes are one less than the displacement's.
    n_labels
        How many labels there are.
    phase
        0 or 1: which four corners count.
    """
    if _is_compiled(displacement):
        moments: tuple[Tensor, Tensor] = _LogJacobianMoments.apply(displacement, labels, n_labels, phase)
        return moments
    return reference.log_jacobian_moments(displacement, labels, n_labels, _FOLD_FLOOR, phase)


def sample_vectors(
    field: Float32[np.ndarray, "3 i j k"], points: Float64[np.ndarray, "n 3"]
) -> Float64[np.ndarray, "n 3"]:
    """Interpolate a vector field at voxel positions, trilinearly; clamped beyond the border."""
    sampled: np.ndarray[Any, np.dtype[np.float64]] = sampling.sample_vectors(field, points)
    return sampled


def sample_scalars(
    data: Float32[np.ndarray, "i j k"], points: Float64[np.ndarray, "n 3"]
) -> Float32[np.ndarray, " n"]:
    """Interpolate an image at voxel positions, trilinearly; 0 beyond the outermost voxel centres."""
    sampled: np.ndarray[Any, np.dtype[np.float32]] = sampling.sample_scalars(data, points)
    return sampled


def invert_at(
    field: Float32[np.ndarray, "3 i j k"],
    targets: Float64[np.ndarray, "n 3"],
    starts: Float64[np.ndarray, "n 3"],
    tolerance: float = 1e-3,
) -> Float64[np.ndarray, "n 3"]:
    """Find the voxel positions x with ``x + field(x) = target`` by damped Newton steps from `starts`."""
    found: np.ndarray[Any, np.dtype[np.float64]] = sampling.invert_at(field, targets, starts, tolerance)
    return found
