"""Displacement after displacement, and the way back for gradients."""

import triton
import triton.language as tl

from bidsapp.geometry.kernels.gpu.places import add_corners, blend, cell, read_corners, slopes, unravel


@triton.jit
def compose(outer, inner, out, ni, nj, nk, block: tl.constexpr):
    """``inner(x) + outer(x + inner(x))`` for displacements (3, i, j, k) in voxels of their common grid."""
    at = tl.program_id(0) * block + tl.arange(0, block)
    n = ni * nj * nk
    mask = at < n
    i, j, k = unravel(at, nj, nk)
    i0, fi, _ = cell(i + tl.load(inner + at, mask=mask, other=0), ni)
    j0, fj, _ = cell(j + tl.load(inner + n + at, mask=mask, other=0), nj)
    k0, fk, _ = cell(k + tl.load(inner + 2 * n + at, mask=mask, other=0), nk)
    for axis in tl.static_range(3):
        v000, v001, v010, v011, v100, v101, v110, v111 = read_corners(
            outer + axis * n, i0, j0, k0, nj, nk, mask
        )
        step = blend(fi, fj, fk, v000, v001, v010, v011, v100, v101, v110, v111)
        here = tl.load(inner + axis * n + at, mask=mask, other=0)
        tl.store(out + axis * n + at, here + step, mask=mask)


@triton.jit
def compose_adjoint(outer, inner, gradient, to_outer, to_inner, scale, ni, nj, nk, block: tl.constexpr):
    """Pull the gradient with respect to the composition back: `to_outer` is int64, see `places.add_whole`."""
    at = tl.program_id(0) * block + tl.arange(0, block)
    n = ni * nj * nk
    mask = at < n
    fixed_point = tl.load(scale)
    i, j, k = unravel(at, nj, nk)
    i0, fi, si = cell(i + tl.load(inner + at, mask=mask, other=0), ni)
    j0, fj, sj = cell(j + tl.load(inner + n + at, mask=mask, other=0), nj)
    k0, fk, sk = cell(k + tl.load(inner + 2 * n + at, mask=mask, other=0), nk)
    to_i = tl.zeros([block], tl.float32)
    to_j = tl.zeros([block], tl.float32)
    to_k = tl.zeros([block], tl.float32)
    for axis in tl.static_range(3):
        g = tl.load(gradient + axis * n + at, mask=mask, other=0)
        v000, v001, v010, v011, v100, v101, v110, v111 = read_corners(
            outer + axis * n, i0, j0, k0, nj, nk, mask
        )
        along_i, along_j, along_k = slopes(fi, fj, fk, v000, v001, v010, v011, v100, v101, v110, v111)
        to_i += g * along_i
        to_j += g * along_j
        to_k += g * along_k
        add_corners(to_outer + axis * n, g, fixed_point, i0, j0, k0, fi, fj, fk, nj, nk, mask)
    tl.store(to_inner + at, tl.load(gradient + at, mask=mask, other=0) + si * to_i, mask=mask)
    tl.store(to_inner + n + at, tl.load(gradient + n + at, mask=mask, other=0) + sj * to_j, mask=mask)
    tl.store(to_inner + 2 * n + at, tl.load(gradient + 2 * n + at, mask=mask, other=0) + sk * to_k, mask=mask)
