"""The few hot operations, each as a readable reference and as a fast twin.

Single precision on the CPU goes to numba (`compiled`), on a CUDA card to Triton (`gpu`), all else to plain
torch (`reference`), which also stands in where one of the two cannot be loaded. What alignments go through
stands here, on tensors; what measures and carries with them works on arrays of the host (`arrays`).
"""

from types import ModuleType

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Float64, UInt8
from torch import Tensor

from bidsapp.geometry.kernels import backends, reference
from bidsapp.geometry.kernels.arrays import (
    determinants,
    first_alike,
    invert_at,
    land,
    nearest,
    sample_scalars,
    sample_vectors,
    tetrahedra,
)

__all__ = [
    "LEFT_OUT",
    "balance",
    "compose",
    "count_labels",
    "determinants",
    "first_alike",
    "invert",
    "invert_at",
    "label_votes",
    "land",
    "local_correlation",
    "log_jacobian_moments",
    "nearest",
    "never_waits",
    "sample_image",
    "sample_scalars",
    "sample_vectors",
    "separable",
    "smallest_jacobian",
    "smooth",
    "squared_curvature",
    "squared_differences",
    "tetrahedra",
]

_FOLD_FLOOR = 0.3
LEFT_OUT = reference.LEFT_OUT


def _is_compiled(*tensors: Tensor) -> bool:
    return all(tensor.device.type == "cpu" and tensor.dtype == torch.float32 for tensor in tensors)


def _implementation(*tensors: Tensor) -> ModuleType:
    """Choose who computes: all have the same functions."""
    if _is_compiled(*tensors):
        return backends.on_cpu()
    if all(tensor.is_cuda and tensor.dtype == torch.float32 for tensor in tensors):
        return backends.on_gpu()
    return reference


def never_waits(field: Float[Tensor, "..."]) -> bool:
    """Tell whether what is computed from a field here goes on without the host: Triton on a CUDA card."""
    return field.is_cuda and _implementation(field) is not reference


def compose(outer: Float[Tensor, "3 i j k"], inner: Float[Tensor, "3 i j k"]) -> Float[Tensor, "3 i j k"]:
    """Give the displacement of ``x -> outer(inner(x))``.

    Parameters
    ----------
    outer, inner
        Displacements in voxels of their common grid; `outer` is interpolated trilinearly and holds its
        border value beyond the border.
    """
    composed: Tensor = _implementation(outer, inner).compose(outer, inner)
    return composed


def smooth(field: Float[Tensor, "c i j k"], weights: Float[Tensor, " w"]) -> Float[Tensor, "c i j k"]:
    """Convolve every channel with an odd number of `weights` along each axis; zero beyond the border."""
    smoothed: Tensor = _implementation(field, weights).smooth(field, weights)
    return smoothed


def separable(
    field: Float[Tensor, "n i j k"],
    matrices: tuple[Float[Tensor, "a i"], Float[Tensor, "b j"], Float[Tensor, "c k"]],
) -> Float[Tensor, "n a b c"]:
    """Multiply every channel by one matrix along each axis; matrices with few entries a row are quick.

    Gradients flow to the field only.
    """
    product: Tensor = _implementation(field).separable(field, *matrices)
    return product


def squared_differences(field: Float[Tensor, "c i j k"]) -> Float64[Tensor, ""]:
    """Sum over channels, voxels and axes of the squared difference to the next voxel."""
    total: Tensor = _implementation(field).squared_differences(field)
    return total


def squared_curvature(field: Float[Tensor, "c i j k"]) -> Float64[Tensor, ""]:
    """Sum over channels, inner voxels and axes of the squared second difference along the axis.

    It is what trilinear interpolation between voxels cannot follow.
    """
    total: Tensor = _implementation(field).squared_curvature(field)
    return total


def label_votes(  # noqa: PLR0913 - two label maps, where they lie to each other, and how votes weigh
    displacement: Float[Tensor, "3 i j k"],
    to_grid: Float[Tensor, "3 2"],
    fixed: UInt8[Tensor, "fi fj fk"],
    moving: UInt8[Tensor, "mi mj mk"],
    maps: tuple[Float[Tensor, "3 4"], Float[Tensor, "3 3"]],
    n_labels: int,
    *,
    ease: float = 0.0,
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
        Labels below `n_labels`. Beyond the moving grid lies label 0. Fixed voxels of 255 (`LEFT_OUT`) take
        no part.
    maps
        Fixed voxel index (i, j, k, 1) to moving voxel index, and displacement to moving voxels.
    n_labels
        How many labels there are, label 0 included.
    ease
        0 for trilinear weights. 1 to put ``f^2 (3 - 2 f)`` for every distance f along an axis: the gradient
        then goes on smoothly from cell to cell, where that of trilinear weights jumps, and the sums are
        closer to those of the nearest neighbour. It is nothing for points on a voxel: from where both grids
        coincide, nothing would start to move.

    Returns
    -------
    overlap
        Fixed voxels of each label, each weighted by the votes for that very label.
    volume
        Sum of all votes for each label.

    References
    ----------
    Chen and Varshney 2003, IEEE Trans. Med. Imaging 22(9): partial volumes shared out by a smoother kernel
    than the trilinear one, against artefacts of the grid. doi:10.1109/TMI.2003.816949
    """
    vote = _implementation(displacement).label_votes
    counted: tuple[Tensor, Tensor] = vote(displacement, to_grid, fixed, moving, *maps, n_labels, ease)
    return counted


def sample_image(
    displacement: Float[Tensor, "3 i j k"],
    to_grid: Float[Tensor, "3 2"],
    image: Float[Tensor, "mi mj mk"],
    maps: tuple[Float[Tensor, "3 4"], Float[Tensor, "3 3"]],
    shape: tuple[int, int, int],
) -> Float[Tensor, "fi fj fk"]:
    """Read a moving image where the voxels of a fixed grid land, trilinearly; 0 beyond its outermost centres.

    Gradients flow to the displacement only.

    Parameters
    ----------
    displacement, to_grid, maps
        As in `label_votes`.
    image
        Intensities on the moving grid.
    shape
        Sizes of the fixed grid.
    """
    read = _implementation(displacement, image).sample_image
    sampled: Tensor = read(displacement, to_grid, image, *maps, shape)
    return sampled


def local_correlation(
    fixed: Float[Tensor, "i j k"],
    moving: Float[Tensor, "i j k"],
    inside: Bool[Tensor, "i j k"] | Float[Tensor, "i j k"],
    radius: int,
) -> Float64[Tensor, ""]:
    """Average, over weighted voxels, the squared correlation of two images in the box around each.

    1 means that one image is a linear function of the other wherever one looks, 0 that they have nothing to
    do with each other; higher is better. Scaling, shifting or inverting an image's intensities changes
    nothing. Where an image is flat (a local variance far below 0.001 of the whole image's) the correlation
    goes to 0: noise is not matched to noise. Gradients flow to `moving` only.

    Parameters
    ----------
    fixed, moving
        Intensities on one grid.
    inside
        Weight of each voxel, 0 or more. A voxel of weight 0 has no say in its neighbours' boxes either. If
        all are 0 the result is 0.
    radius
        A box has ``2 * radius + 1`` voxels along each axis; beyond the border lies nothing.

    References
    ----------
    Avants et al. 2008, Medical Image Analysis 12:26-41 (local cross correlation).
    doi:10.1016/j.media.2007.06.004

    Examples
    --------
    >>> ramp = torch.arange(60.0, dtype=torch.float64).reshape(3, 4, 5)
    >>> everywhere = torch.ones(3, 4, 5, dtype=torch.bool)
    >>> round(local_correlation(ramp, 7 - 2 * ramp, everywhere, 2).item(), 2)
    1.0
    """
    weights = inside.to(fixed.dtype)
    correlate = _implementation(fixed, moving).local_correlation
    mean: Tensor = correlate(fixed, moving, weights, radius)
    return mean


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
    add_up = _implementation(displacement).log_jacobian_moments
    moments: tuple[Tensor, Tensor] = add_up(displacement, labels, n_labels, _FOLD_FLOOR, phase)
    return moments


def count_labels(labels: UInt8[Tensor, "i j k"], n_labels: int) -> Float64[Tensor, " n"]:
    """Count the voxels of every label below `n_labels`.

    Examples
    --------
    >>> count_labels(torch.tensor([[[2, 0, 2]]], dtype=torch.uint8), 4).tolist()
    [1.0, 0.0, 2.0, 0.0]
    """
    operations = backends.on_gpu() if labels.is_cuda else reference
    counts: Tensor = operations.count_labels(labels, n_labels)
    return counts


def smallest_jacobian(field: Float32[Tensor, "3 i j k"]) -> Float32[Tensor, "i j k"]:
    """Give, for each voxel, the smallest of its tetrahedra's Jacobians, as `tetrahedra` does."""
    if never_waits(field):
        smallest: Tensor = backends.on_gpu().smallest_jacobian(field)
        return smallest
    return torch.from_numpy(tetrahedra(field.cpu().numpy())[0]).to(field.device)


def balance(field: Float[Tensor, "c i j k"]) -> Float[Tensor, "c i j k"]:
    """Take a twelfth of the second differences along each axis from every channel.

    Beyond the border a field goes on as it ends.
    """
    balanced: Tensor = _implementation(field).balance(field)
    return balanced


def invert(
    field: Float32[Tensor, "3 i j k"], start: Float32[Tensor, "3 i j k"], tolerance: float = 1e-3
) -> Float32[Tensor, "3 i j k"]:
    """Find at every voxel x, from `start` on, the d with ``d(x) + field(x + d(x)) = 0``, as `invert_at` does.

    Parameters
    ----------
    field, start
        Displacements in voxels of their common grid.
    tolerance
        How far, in voxels, the way there and back may end from where it began.
    """
    if never_waits(field):
        found: Tensor = backends.on_gpu().invert(field, start, tolerance)
        return found
    there, guess = (np.ascontiguousarray(one.cpu().numpy()) for one in (field, start))
    return torch.from_numpy(backends.at_points().invert(there, guess, tolerance)).to(field.device)
