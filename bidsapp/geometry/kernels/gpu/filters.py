"""Smoothing, box sums, and how much a field changes or bends from voxel to voxel."""

import triton
import triton.language as tl


@triton.jit
def convolve(source, weights, out, n, size, stride, taps, block: tl.constexpr):
    """Convolve along the axis whose neighbours lie `stride` apart; zero beyond the border."""
    at = tl.program_id(0) * block + tl.arange(0, block)
    mask = at < n
    place = at // stride % size
    total = tl.zeros([block], tl.float32)
    for tap in range(taps):
        offset = tap - taps // 2
        inside = mask & (place + offset >= 0) & (place + offset < size)
        total += tl.load(weights + tap) * tl.load(source + at + offset * stride, mask=inside, other=0)
    tl.store(out + at, total, mask=mask)


@triton.jit
def squared_differences(field, sums, n, ni, nj, nk, block: tl.constexpr):
    """Sum of the squared difference to the next voxel along each axis, block by block."""
    at = tl.program_id(0) * block + tl.arange(0, block)
    mask = at < n
    here = tl.load(field + at, mask=mask, other=0)
    total = tl.zeros([block], tl.float32)
    for axis in tl.static_range(3):
        size, stride = (ni, nj * nk) if axis == 0 else ((nj, nk) if axis == 1 else (nk, 1))
        inside = mask & (at // stride % size < size - 1)
        step = tl.load(field + at + stride, mask=inside, other=0) - here
        total += tl.where(inside, step * step, 0.0)
    tl.store(sums + tl.program_id(0), tl.sum(total))


@triton.jit
def squared_differences_adjoint(field, gain, out, n, ni, nj, nk, block: tl.constexpr):
    """Pull the gradient with respect to `squared_differences` back to the field."""
    at = tl.program_id(0) * block + tl.arange(0, block)
    mask = at < n
    here = tl.load(field + at, mask=mask, other=0)
    total = tl.zeros([block], tl.float32)
    for axis in tl.static_range(3):
        size, stride = (ni, nj * nk) if axis == 0 else ((nj, nk) if axis == 1 else (nk, 1))
        place = at // stride % size
        after, before = mask & (place < size - 1), mask & (place > 0)
        total += tl.where(after, here - tl.load(field + at + stride, mask=after, other=0), 0.0)
        total += tl.where(before, here - tl.load(field + at - stride, mask=before, other=0), 0.0)
    tl.store(out + at, 2 * tl.load(gain) * total, mask=mask)


@triton.jit
def _bend(field, at, offset, place, size, stride, mask):
    """Second difference at the voxel `offset` further along an axis; 0 where it has no two neighbours."""
    inside = mask & (place + offset > 0) & (place + offset < size - 1)
    middle = field + at + offset * stride
    around = tl.load(middle - stride, mask=inside, other=0) + tl.load(middle + stride, mask=inside, other=0)
    return around - 2 * tl.load(middle, mask=inside, other=0)


@triton.jit
def squared_curvature(field, sums, n, ni, nj, nk, block: tl.constexpr):
    """Sum of the squared second difference along each axis, block by block."""
    at = tl.program_id(0) * block + tl.arange(0, block)
    mask = at < n
    total = tl.zeros([block], tl.float32)
    for axis in tl.static_range(3):
        size, stride = (ni, nj * nk) if axis == 0 else ((nj, nk) if axis == 1 else (nk, 1))
        bend = _bend(field, at, 0, at // stride % size, size, stride, mask)
        total += bend * bend
    tl.store(sums + tl.program_id(0), tl.sum(total))


@triton.jit
def squared_curvature_adjoint(field, gain, out, n, ni, nj, nk, block: tl.constexpr):
    """Pull the gradient with respect to `squared_curvature` back to the field."""
    at = tl.program_id(0) * block + tl.arange(0, block)
    mask = at < n
    total = tl.zeros([block], tl.float32)
    for axis in tl.static_range(3):
        size, stride = (ni, nj * nk) if axis == 0 else ((nj, nk) if axis == 1 else (nk, 1))
        place = at // stride % size
        total += _bend(field, at, -1, place, size, stride, mask)
        total += _bend(field, at, 1, place, size, stride, mask)
        total -= 2 * _bend(field, at, 0, place, size, stride, mask)
    tl.store(out + at, 2 * tl.load(gain) * total, mask=mask)


@triton.jit
def balance(field, out, n, ni, nj, nk, block: tl.constexpr):
    """Take a twelfth of the second differences from a field; beyond the border it goes on as it ends."""
    at = tl.program_id(0) * block + tl.arange(0, block)
    mask = at < n
    here = tl.load(field + at, mask=mask, other=0)
    total = here
    for axis in tl.static_range(3):
        size, stride = (ni, nj * nk) if axis == 0 else ((nj, nk) if axis == 1 else (nk, 1))
        place = at // stride % size
        after, before = mask & (place < size - 1), mask & (place > 0)
        around = tl.where(after, tl.load(field + at + stride, mask=after, other=0), here)
        around += tl.where(before, tl.load(field + at - stride, mask=before, other=0), here)
        total -= (around - 2 * here) / 12
    tl.store(out + at, total, mask=mask)
