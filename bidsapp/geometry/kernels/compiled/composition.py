"""Displacement after displacement, and the way back for gradients."""

import numba
import numpy as np

from bidsapp.geometry.kernels.compiled.cells import N_SLABS, cell, jit_parallel


@jit_parallel
def compose(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """``inner(x) + outer(x + inner(x))`` for displacements (3, i, j, k) in voxels of their common grid."""
    _, ni, nj, nk = inner.shape
    result = np.empty_like(inner)
    for i in numba.prange(ni):
        for j in range(nj):
            for k in range(nk):
                ci, fi, _ = cell(i + inner[0, i, j, k], ni)
                cj, fj, _ = cell(j + inner[1, i, j, k], nj)
                ck, fk, _ = cell(k + inner[2, i, j, k], nk)
                di, dj, dk = min(ci + 1, ni - 1), min(cj + 1, nj - 1), min(ck + 1, nk - 1)
                gi, gj, gk = np.float32(1) - fi, np.float32(1) - fj, np.float32(1) - fk
                w000, w001, w010, w011 = gi * gj * gk, gi * gj * fk, gi * fj * gk, gi * fj * fk
                w100, w101, w110, w111 = fi * gj * gk, fi * gj * fk, fi * fj * gk, fi * fj * fk
                for axis in range(3):
                    u = outer[axis]
                    result[axis, i, j, k] = inner[axis, i, j, k] + (
                        w000 * u[ci, cj, ck] + w001 * u[ci, cj, dk] + w010 * u[ci, dj, ck]
                        + w011 * u[ci, dj, dk] + w100 * u[di, cj, ck] + w101 * u[di, cj, dk]
                        + w110 * u[di, dj, ck] + w111 * u[di, dj, dk]
                    )  # fmt: skip
    return result


@jit_parallel
def compose_adjoint(
    outer: np.ndarray, inner: np.ndarray, gradient: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Pull the gradient of a loss with respect to ``compose(outer, inner)`` back to both arguments."""
    _, ni, nj, nk = inner.shape
    to_inner = np.empty_like(inner)
    n_slabs = min(N_SLABS, ni)
    reach = np.empty((n_slabs, 2), np.int64)
    for slab in numba.prange(n_slabs):
        low, high = ni, 0
        for i in range(slab * ni // n_slabs, (slab + 1) * ni // n_slabs):
            for j in range(nj):
                for k in range(nk):
                    ci, _, _ = cell(i + inner[0, i, j, k], ni)
                    low, high = min(low, ci), max(high, ci + 2)
        reach[slab, 0], reach[slab, 1] = low, min(high, ni)
    widest = 0
    for slab in range(n_slabs):
        widest = max(widest, reach[slab, 1] - reach[slab, 0])
    partial = np.zeros((n_slabs, 3, widest + 1, nj, nk), np.float32)
    for slab in numba.prange(n_slabs):
        splat = partial[slab]
        low = reach[slab, 0]
        for i in range(slab * ni // n_slabs, (slab + 1) * ni // n_slabs):
            for j in range(nj):
                for k in range(nk):
                    ci, fi, si = cell(i + inner[0, i, j, k], ni)
                    cj, fj, sj = cell(j + inner[1, i, j, k], nj)
                    ck, fk, sk = cell(k + inner[2, i, j, k], nk)
                    di, dj, dk = min(ci + 1, ni - 1), min(cj + 1, nj - 1), min(ck + 1, nk - 1)
                    gi, gj, gk = np.float32(1) - fi, np.float32(1) - fj, np.float32(1) - fk
                    ri, qi = ci - low, di - low
                    slope_i, slope_j, slope_k = np.float32(0), np.float32(0), np.float32(0)
                    for axis in range(3):
                        g = gradient[axis, i, j, k]
                        u = outer[axis]
                        a000, a001, a010, a011 = u[ci, cj, ck], u[ci, cj, dk], u[ci, dj, ck], u[ci, dj, dk]
                        a100, a101, a110, a111 = u[di, cj, ck], u[di, cj, dk], u[di, dj, ck], u[di, dj, dk]
                        b00, b01 = gk * a000 + fk * a001, gk * a010 + fk * a011
                        b10, b11 = gk * a100 + fk * a101, gk * a110 + fk * a111
                        slope_i += g * (gj * (b10 - b00) + fj * (b11 - b01))
                        slope_j += g * (gi * (b01 - b00) + fi * (b11 - b10))
                        slope_k += g * (
                            gi * (gj * (a001 - a000) + fj * (a011 - a010))
                            + fi * (gj * (a101 - a100) + fj * (a111 - a110))
                        )
                        s = splat[axis]
                        s[ri, cj, ck] += g * gi * gj * gk
                        s[ri, cj, dk] += g * gi * gj * fk
                        s[ri, dj, ck] += g * gi * fj * gk
                        s[ri, dj, dk] += g * gi * fj * fk
                        s[qi, cj, ck] += g * fi * gj * gk
                        s[qi, cj, dk] += g * fi * gj * fk
                        s[qi, dj, ck] += g * fi * fj * gk
                        s[qi, dj, dk] += g * fi * fj * fk
                    to_inner[0, i, j, k] = gradient[0, i, j, k] + si * slope_i
                    to_inner[1, i, j, k] = gradient[1, i, j, k] + sj * slope_j
                    to_inner[2, i, j, k] = gradient[2, i, j, k] + sk * slope_k
    to_outer = np.zeros_like(outer)
    for j in numba.prange(nj):
        for axis in range(3):
            for slab in range(n_slabs):
                for i in range(reach[slab, 0], reach[slab, 1]):
                    for k in range(nk):
                        to_outer[axis, i, j, k] += partial[slab, axis, i - reach[slab, 0], j, k]
    return to_outer, to_inner
