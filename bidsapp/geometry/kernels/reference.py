"""The hot operations in plain torch: any device, any precision, differentiable by torch itself.

This is what the fast twins are tested against, and what runs where they cannot.
"""

import torch
from torch import Tensor
from torch.nn import functional

LEFT_OUT = 255
"""Label of fixed voxels that take no part in a vote."""

STEEPNESS = 6.0
"""Below the floor of a determinant its logarithm goes on as a line, so many times as steep as its tangent."""

FLAT_SHARE = 1e-3
"""Local variances below this share of the whole image's count as flat: they correlate with nothing."""

ROUNDING_SHARE = 1e-10
"""A variance below this share of the mean square is rounding: the image is constant."""


def _corners(position: Tensor, sizes: tuple[int, ...], ease: float = 0.0) -> tuple[list[Tensor], Tensor]:
    """Flat indices of the eight corners around clamped positions (3, ...) and their weights (8, ...).

    `ease` is that of `kernels.label_votes`.
    """
    lower, fraction = [], []
    for axis, size in enumerate(sizes):
        inside = position[axis].clamp(0, size - 1)
        low = inside.detach().floor().clamp(max=max(size - 2, 0)).long()
        lower.append(low)
        linear = inside - low
        fraction.append(linear + ease * (linear.square() * (3 - 2 * linear) - linear))
    indices, weights = [], []
    for corner in range(8):
        bits = (corner >> 2 & 1, corner >> 1 & 1, corner & 1)
        at = [(low + bit).clamp(max=size - 1) for low, bit, size in zip(lower, bits, sizes, strict=True)]
        indices.append((at[0] * sizes[1] + at[1]) * sizes[2] + at[2])
        parts = [f if bit else 1 - f for f, bit in zip(fraction, bits, strict=True)]
        weights.append(parts[0] * parts[1] * parts[2])
    return indices, torch.stack(weights)


def _grid(shape: torch.Size, like: Tensor) -> Tensor:
    axes = [torch.arange(size, dtype=like.dtype, device=like.device) for size in shape]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))


def sample(field: Tensor, position: Tensor) -> Tensor:
    """Interpolate (c, i, j, k) at voxel positions (3, ...), trilinearly and clamped: (c, ...)."""
    indices, weights = _corners(position, tuple(field.shape[1:]))
    flat = field.flatten(1)
    return torch.stack([w * flat[:, at] for at, w in zip(indices, weights, strict=True)]).sum(dim=0)


def compose(outer: Tensor, inner: Tensor) -> Tensor:
    """``inner(x) + outer(x + inner(x))`` for displacements (3, i, j, k) in voxels of their common grid."""
    return inner + sample(outer, _grid(inner.shape[1:], inner) + inner)


def smooth(field: Tensor, weights: Tensor) -> Tensor:
    """Convolve each channel of (c, i, j, k) with `weights` along i, j and k; zero beyond the border."""
    smoothed = field[:, None]
    for axis in range(3):
        shape = [1, 1, 1, 1, 1]
        shape[axis + 2] = weights.numel()
        padding = [0, 0, 0]
        padding[axis] = weights.numel() // 2
        smoothed = functional.conv3d(smoothed, weights.reshape(shape), padding=padding)
    return smoothed[:, 0]


def _landing(
    displacement: Tensor, to_grid: Tensor, index_map: Tensor, step_map: Tensor, shape: torch.Size
) -> Tensor:
    """Where the fixed voxels of a grid of `shape` land, in moving voxels (3, i, j, k)."""
    voxel = _grid(shape, displacement)
    at = to_grid[:, 0].reshape(3, 1, 1, 1) * voxel + to_grid[:, 1].reshape(3, 1, 1, 1)
    step = torch.einsum("ab,bijk->aijk", step_map, sample(displacement, at))
    position = torch.einsum("ab,bijk->aijk", index_map[:, :3], voxel) + step
    return position + index_map[:, 3].reshape(3, 1, 1, 1)


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
    """Overlap and warped volume of every label: the meaning is explained in `kernels.label_votes`."""
    position = _landing(displacement, to_grid, index_map, step_map, fixed.shape)
    sizes = torch.tensor(moving.shape, device=fixed.device).reshape(3, 1, 1, 1)
    inside = ((position >= 0) & (position < sizes - 1)).all(dim=0).flatten()
    indices, weights = _corners(position, tuple(moving.shape), ease)
    flat_fixed, flat_moving = fixed.flatten().long(), moving.flatten().long()
    counts = flat_fixed != LEFT_OUT
    overlap = displacement.new_zeros(n_labels, dtype=torch.float64)
    volume = torch.zeros_like(overlap)
    for corner, at_corner in enumerate(indices):
        label = torch.where(inside, flat_moving[at_corner.flatten()], 0)
        weight = weights[corner].flatten().double() * counts
        volume = volume.index_add(0, label, weight)
        overlap = overlap.index_add(0, label, weight * (label == flat_fixed))
    return overlap, volume


def sample_image(
    displacement: Tensor,
    to_grid: Tensor,
    image: Tensor,
    index_map: Tensor,
    step_map: Tensor,
    shape: tuple[int, int, int],
) -> Tensor:
    """Read the moving image at every fixed voxel, as explained in `kernels.sample_image`."""
    position = _landing(displacement, to_grid, index_map, step_map, torch.Size(shape))
    last = torch.tensor(image.shape, device=image.device).reshape(3, 1, 1, 1) - 1
    inside = ((position >= 0) & (position <= last)).all(dim=0)
    return torch.where(inside, sample(image[None], position)[0], 0)


def local_correlation(fixed: Tensor, moving: Tensor, weights: Tensor, radius: int) -> Tensor:
    """Mean squared local correlation: the meaning is explained in `kernels.local_correlation`."""
    f, m = standardised(fixed, weights), standardised(moving, weights)
    products = torch.stack(
        [weights, weights * f, weights * m, weights * f * f, weights * f * m, weights * m * m]
    )
    mass, *sums = smooth(products, products.new_ones(2 * radius + 1))
    f, m, ff, fm, mm = (part / mass.clamp(min=torch.finfo(mass.dtype).tiny) for part in sums)
    squared = (fm - f * m).square()
    variances = ((ff - f * f).clamp(min=0) + FLAT_SHARE) * ((mm - m * m).clamp(min=0) + FLAT_SHARE)
    local = torch.where(weights > 0, weights * squared / variances, 0)
    return local.double().sum() / weights.double().sum().clamp(min=torch.finfo(torch.float64).tiny)


def standardised(image: Tensor, weights: Tensor) -> Tensor:
    """Shift and scale to weighted mean 0 and variance 1; a constant image to 0."""
    mass = weights.sum().clamp(min=torch.finfo(weights.dtype).tiny)
    mean = (weights * image).sum() / mass
    centred = image - mean
    variance = (weights * centred.square()).sum() / mass
    is_constant = variance <= ROUNDING_SHARE * (variance + mean.square())
    return torch.where(is_constant, 0, centred * torch.where(is_constant, 1, variance).rsqrt())


def separable(field: Tensor, along_i: Tensor, along_j: Tensor, along_k: Tensor) -> Tensor:
    """Multiply (c, i, j, k) by one matrix along each axis."""
    channels, ni, nj, nk = field.shape
    first = (along_i @ field.reshape(channels, ni, nj * nk)).reshape(-1, nj, nk)
    second = (along_j @ first).reshape(-1, nk) @ along_k.T
    return second.reshape(channels, along_i.shape[0], along_j.shape[0], along_k.shape[0])


def squared_differences(field: Tensor) -> Tensor:
    """Sum over channels, voxels and axes of the squared difference to the next voxel of (c, i, j, k)."""
    return torch.stack([field.diff(dim=axis).square().sum() for axis in (1, 2, 3)]).sum().double()


def squared_curvature(field: Tensor) -> Tensor:
    """Sum over channels, inner voxels and axes of the squared second difference of (c, i, j, k)."""
    return torch.stack([field.diff(n=2, dim=axis).square().sum() for axis in (1, 2, 3)]).sum().double()


def balance(field: Tensor) -> Tensor:
    """Take a twelfth of the second differences along each axis from (c, i, j, k)."""
    balanced = field
    for axis in (1, 2, 3):
        first, last = field.narrow(axis, 0, 1), field.narrow(axis, field.shape[axis] - 1, 1)
        balanced = balanced - torch.cat([first, field, last], dim=axis).diff(n=2, dim=axis) / 12
    return balanced


def count_labels(labels: Tensor, n_labels: int) -> Tensor:
    """Count the voxels of every label."""
    return torch.bincount(labels.flatten(), minlength=n_labels)[:n_labels].double()


def log_jacobian_moments(
    displacement: Tensor, labels: Tensor, n_labels: int, floor: float, phase: int
) -> tuple[Tensor, Tensor]:
    """Sum and sum of squares of the log determinant over the cells of every label."""
    sizes = [size - 1 for size in displacement.shape[1:]]
    parity = (_grid(labels.shape, labels).sum(dim=0) + phase) % 2
    ahead = [displacement.diff(dim=axis + 1) for axis in range(3)]
    flat = labels.flatten().long()
    first = displacement.new_zeros(n_labels, dtype=torch.float64)
    second = torch.zeros_like(first)
    for corner in range(8):
        bits = (corner >> 2 & 1, corner >> 1 & 1, corner & 1)
        columns = []
        for axis in range(3):
            edge = ahead[axis]
            for other in range(3):
                if other != axis:
                    edge = edge.narrow(other + 1, bits[other], sizes[other])
            unit = torch.zeros(3, dtype=edge.dtype, device=edge.device)
            unit[axis] = 1
            columns.append(edge + unit.reshape(3, 1, 1, 1))
        determinant = (columns[0] * torch.linalg.cross(columns[1], columns[2], dim=0)).sum(dim=0)
        line = torch.log(torch.as_tensor(floor)) + STEEPNESS * (determinant - floor) / floor
        value = torch.where(determinant > floor, determinant.clamp(min=floor).log(), line)
        counted = (parity == sum(bits) % 2).flatten()
        value = torch.where(counted, value.flatten(), 0).double()
        first = first.index_add(0, flat, value)
        second = second.index_add(0, flat, value.square())
    return first, second
