"""Logarithm of the Jacobian determinant at the corners of cells, summed by label."""

import triton
import triton.language as tl

from bidsapp.geometry.kernels.gpu.places import add_whole, unravel


@triton.jit
def _edges(u, here, a, b, c, plane, nk, mask):
    """Give the steps of one component along the edges that meet at corner (a, b, c) of a cell."""
    at_i, at_j, at_k = u + here + b * nk + c, u + here + a * plane + c, u + here + a * plane + b * nk
    along_i = tl.load(at_i + plane, mask=mask, other=0) - tl.load(at_i, mask=mask, other=0)
    along_j = tl.load(at_j + nk, mask=mask, other=0) - tl.load(at_j, mask=mask, other=0)
    along_k = tl.load(at_k + 1, mask=mask, other=0) - tl.load(at_k, mask=mask, other=0)
    return along_i, along_j, along_k


@triton.jit
def _jacobian(u, here, a, b, c, n, plane, nk, mask):
    """Nine entries of the Jacobian at a corner, component by component."""
    x0, x1, x2 = _edges(u, here, a, b, c, plane, nk, mask)
    y0, y1, y2 = _edges(u + n, here, a, b, c, plane, nk, mask)
    z0, z1, z2 = _edges(u + 2 * n, here, a, b, c, plane, nk, mask)
    return x0 + 1, x1, x2, y0, y1 + 1, y2, z0, z1, z2 + 1


@triton.jit
def _logarithm(det, floor, steepness):
    """Logarithm, a steep line below `floor`."""
    line = tl.log(floor) + steepness * (det - floor) / floor
    return tl.where(det > floor, tl.log(tl.maximum(det, floor)), line)


@triton.jit
def log_jacobian_moments(
    u, labels, first, second, ni, nj, nk, n_labels, floor, steepness, phase, block: tl.constexpr
):
    """Sum and sum of squares of the log determinant, block by block: (n_blocks, n_labels) each."""
    at = tl.program_id(0) * block + tl.arange(0, block)
    mask = at < (ni - 1) * (nj - 1) * (nk - 1)
    i, j, k = unravel(at, nj - 1, nk - 1)
    plane, n = nj * nk, ni * nj * nk
    here, odd = i * plane + j * nk + k, (i + j + k + phase) % 2
    once = tl.zeros([block], tl.float32)
    twice = tl.zeros([block], tl.float32)
    for corner in tl.static_range(4):
        a, b = corner // 2, corner % 2
        x0, x1, x2, y0, y1, y2, z0, z1, z2 = _jacobian(u, here, a, b, (a + b + odd) % 2, n, plane, nk, mask)
        det = x0 * (y1 * z2 - y2 * z1) - x1 * (y0 * z2 - y2 * z0) + x2 * (y0 * z1 - y1 * z0)
        value = _logarithm(det, floor, steepness)
        once += value
        twice += value * value
    label_here = tl.load(labels + at, mask=mask, other=0)
    for label in range(n_labels):
        counted = mask & (label_here == label)
        place = tl.program_id(0) * n_labels + label
        tl.store(first + place, tl.sum(tl.where(counted, once, 0.0)))
        tl.store(second + place, tl.sum(tl.where(counted, twice, 0.0)))


@triton.jit
def log_jacobian_moments_adjoint(
    u, labels, to_first, to_second, scale, result, ni, nj, nk, floor, steepness, phase, block: tl.constexpr
):
    """Pull gradients with respect to both results of `log_jacobian_moments` back, into int64 `result`."""
    at = tl.program_id(0) * block + tl.arange(0, block)
    mask = at < (ni - 1) * (nj - 1) * (nk - 1)
    i, j, k = unravel(at, nj - 1, nk - 1)
    plane, n = nj * nk, ni * nj * nk
    here, odd = i * plane + j * nk + k, (i + j + k + phase) % 2
    label = tl.load(labels + at, mask=mask, other=0).to(tl.int32)
    to_once = tl.load(to_first + label, mask=mask, other=0)
    to_twice = tl.load(to_second + label, mask=mask, other=0)
    unit = tl.load(scale)
    for corner in tl.static_range(4):
        a, b = corner // 2, corner % 2
        c = (a + b + odd) % 2
        x0, x1, x2, y0, y1, y2, z0, z1, z2 = _jacobian(u, here, a, b, c, n, plane, nk, mask)
        det = x0 * (y1 * z2 - y2 * z1) - x1 * (y0 * z2 - y2 * z0) + x2 * (y0 * z1 - y1 * z0)
        slope = tl.where(det > floor, 1.0 / tl.maximum(det, floor), steepness / floor)
        gain = (to_once + 2.0 * _logarithm(det, floor, steepness) * to_twice) * slope
        at_i, at_j, at_k = here + b * nk + c, here + a * plane + c, here + a * plane + b * nk
        _add_edges(result, gain, y1, y2, z1, z2, y0, z0, at_i, at_j, at_k, plane, nk, unit, mask)
        _add_edges(result + n, gain, z1, z2, x1, x2, z0, x0, at_i, at_j, at_k, plane, nk, unit, mask)
        _add_edges(result + 2 * n, gain, x1, x2, y1, y2, x0, y0, at_i, at_j, at_k, plane, nk, unit, mask)


@triton.jit
def _add_edges(result, gain, p1, p2, q1, q2, p0, q0, at_i, at_j, at_k, plane, nk, unit, mask):
    """Add the cofactors from the two other components, p and q, to both ends of each edge."""
    along_i, along_j, along_k = (
        gain * (p1 * q2 - p2 * q1),
        gain * (p2 * q0 - p0 * q2),
        gain * (p0 * q1 - p1 * q0),
    )
    add_whole(result + at_i + plane, along_i, unit, mask)
    add_whole(result + at_i, -along_i, unit, mask)
    add_whole(result + at_j + nk, along_j, unit, mask)
    add_whole(result + at_j, -along_j, unit, mask)
    add_whole(result + at_k + 1, along_k, unit, mask)
    add_whole(result + at_k, -along_k, unit, mask)
