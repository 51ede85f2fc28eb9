"""The hot operations on all CPU cores, compiled by numba when first called.

Work is cut into a fixed number of slabs, whatever the number of threads, and partial sums are added in the
order of the slabs: results do not depend on how many threads run.
"""

import numba
import numpy as np

from bidsapp.geometry.kernels.reference import STEEPNESS

N_SLABS = 16

_jit = numba.njit(cache=True, fastmath=True, nogil=True)
_jit_parallel = numba.njit(cache=True, fastmath=True, nogil=True, parallel=True)


@_jit
def _cell(position: float, size: int) -> tuple[int, np.float32, np.float32]:
    """Lower corner, weight of the upper corner and slope (0 beyond the border) of a clamped position."""
    if position <= 0.0:
        return 0, np.float32(0.0), np.float32(0.0)
    if position >= size - 1:
        return max(size - 2, 0), np.float32(1.0 if size > 1 else 0.0), np.float32(0.0)
    lower = int(position)
    return lower, np.float32(position - lower), np.float32(1.0)


@_jit_parallel
def compose(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """``inner(x) + outer(x + inner(x))`` for displacements (3, i, j, k) in voxels of their common grid."""
    _, ni, nj, nk = inner.shape
    result = np.empty_like(inner)
    for i in numba.prange(ni):
        for j in range(nj):
            for k in range(nk):
                ci, fi, _ = _cell(i + inner[0, i, j, k], ni)
                cj, fj, _ = _cell(j + inner[1, i, j, k], nj)
                ck, fk, _ = _cell(k + inner[2, i, j, k], nk)
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


@_jit_parallel
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
                    ci, _, _ = _cell(i + inner[0, i, j, k], ni)
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
                    ci, fi, si = _cell(i + inner[0, i, j, k], ni)
                    cj, fj, sj = _cell(j + inner[1, i, j, k], nj)
                    ck, fk, sk = _cell(k + inner[2, i, j, k], nk)
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


@_jit_parallel
def smooth(field: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Convolve each channel of (c, i, j, k) with `weights` along i, j and k; zero beyond the border."""
    channels, ni, nj, nk = field.shape
    radius = weights.size // 2
    along_k = np.empty_like(field)
    for i in numba.prange(ni):
        line = np.zeros(nk + 2 * radius, np.float32)
        for c in range(channels):
            for j in range(nj):
                line[radius : radius + nk] = field[c, i, j]
                for k in range(nk):
                    total = np.float32(0)
                    for w in range(weights.size):
                        total += weights[w] * line[k + w]
                    along_k[c, i, j, k] = total
    along_j = np.empty_like(field)
    for i in numba.prange(ni):
        for c in range(channels):
            for j in range(nj):
                row = along_j[c, i, j]
                row[:] = np.float32(0)
                for w in range(max(0, radius - j), min(weights.size, nj + radius - j)):
                    weight = weights[w]
                    other = along_k[c, i, j + w - radius]
                    for k in range(nk):
                        row[k] += weight * other[k]
    for i in numba.prange(ni):
        for c in range(channels):
            for j in range(nj):
                row = along_k[c, i, j]
                row[:] = np.float32(0)
                for w in range(max(0, radius - i), min(weights.size, ni + radius - i)):
                    weight = weights[w]
                    other = along_j[c, i + w - radius, j]
                    for k in range(nk):
                        row[k] += weight * other[k]
    return along_k


@_jit
def _row_of_displacements(
    field: np.ndarray, low_i: int, f_i: float, low_j: int, f_j: float, row: np.ndarray
) -> None:
    """Interpolate `field` (3, i, j, k) in i and j, for every coarse k."""
    _, ni, nj, nk = field.shape
    up_i, up_j = min(low_i + 1, ni - 1), min(low_j + 1, nj - 1)
    w00, w01 = (1 - f_i) * (1 - f_j), (1 - f_i) * f_j
    w10, w11 = f_i * (1 - f_j), f_i * f_j
    for axis in range(3):
        a, b = field[axis, low_i, low_j], field[axis, low_i, up_j]
        c, d = field[axis, up_i, low_j], field[axis, up_i, up_j]
        for k in range(nk):
            row[axis, k] = w00 * a[k] + w01 * b[k] + w10 * c[k] + w11 * d[k]


@_jit_parallel
def vote(
    displacement: np.ndarray,
    low: np.ndarray,
    fraction: np.ndarray,
    fixed: np.ndarray,
    moving: np.ndarray,
    index_map: np.ndarray,
    step_map: np.ndarray,
    n_labels: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Overlap and warped volume of every label, each moving corner voting with its trilinear weight.

    `low`/`fraction` (3, longest side) place fixed voxels on the displacement's grid, axis by axis;
    `index_map` (3, 4) sends a fixed voxel index to moving voxels, `step_map` (3, 3) a displacement.
    Returns (n_labels,) float64 each, in fixed voxels. Beyond the moving grid lies label 0.
    """
    ni, nj, nk = fixed.shape
    mi, mj, mk = moving.shape
    n_slabs = min(N_SLABS, ni)
    overlap = np.zeros((n_slabs, n_labels), np.float64)
    volume = np.zeros((n_slabs, n_labels), np.float64)
    for slab in numba.prange(n_slabs):
        row = np.empty((3, displacement.shape[3]), np.float32)
        hit, mass = overlap[slab], volume[slab]
        for i in range(slab * ni // n_slabs, (slab + 1) * ni // n_slabs):
            for j in range(nj):
                _row_of_displacements(displacement, low[0, i], fraction[0, i], low[1, j], fraction[1, j], row)
                b0 = index_map[0, 0] * i + index_map[0, 1] * j + index_map[0, 3]
                b1 = index_map[1, 0] * i + index_map[1, 1] * j + index_map[1, 3]
                b2 = index_map[2, 0] * i + index_map[2, 1] * j + index_map[2, 3]
                for k in range(nk):
                    c, f = low[2, k], fraction[2, k]
                    e = min(c + 1, row.shape[1] - 1)
                    d0 = row[0, c] + f * (row[0, e] - row[0, c])
                    d1 = row[1, c] + f * (row[1, e] - row[1, c])
                    d2 = row[2, c] + f * (row[2, e] - row[2, c])
                    x = (
                        b0
                        + index_map[0, 2] * k
                        + step_map[0, 0] * d0
                        + step_map[0, 1] * d1
                        + step_map[0, 2] * d2
                    )
                    y = (
                        b1
                        + index_map[1, 2] * k
                        + step_map[1, 0] * d0
                        + step_map[1, 1] * d1
                        + step_map[1, 2] * d2
                    )
                    z = (
                        b2
                        + index_map[2, 2] * k
                        + step_map[2, 0] * d0
                        + step_map[2, 1] * d1
                        + step_map[2, 2] * d2
                    )
                    label = fixed[i, j, k]
                    x0, y0, z0 = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
                    if x0 < 0 or y0 < 0 or z0 < 0 or x0 >= mi - 1 or y0 >= mj - 1 or z0 >= mk - 1:
                        mass[0] += 1.0
                        if label == 0:
                            hit[0] += 1.0
                        continue
                    m000 = moving[x0, y0, z0]
                    m001, m010 = moving[x0, y0, z0 + 1], moving[x0, y0 + 1, z0]
                    m011, m100 = moving[x0, y0 + 1, z0 + 1], moving[x0 + 1, y0, z0]
                    m101, m110 = moving[x0 + 1, y0, z0 + 1], moving[x0 + 1, y0 + 1, z0]
                    m111 = moving[x0 + 1, y0 + 1, z0 + 1]
                    if (
                        m000 == m001 and m000 == m010 and m000 == m011
                        and m000 == m100 and m000 == m101 and m000 == m110 and m000 == m111
                    ):  # fmt: skip
                        mass[m000] += 1.0
                        if m000 == label:
                            hit[label] += 1.0
                        continue
                    fx, fy, fz = np.float32(x - x0), np.float32(y - y0), np.float32(z - z0)
                    gx, gy, gz = np.float32(1) - fx, np.float32(1) - fy, np.float32(1) - fz
                    agree = np.float32(0)
                    w = gx * gy * gz
                    mass[m000] += w
                    if m000 == label:
                        agree += w
                    w = gx * gy * fz
                    mass[m001] += w
                    if m001 == label:
                        agree += w
                    w = gx * fy * gz
                    mass[m010] += w
                    if m010 == label:
                        agree += w
                    w = gx * fy * fz
                    mass[m011] += w
                    if m011 == label:
                        agree += w
                    w = fx * gy * gz
                    mass[m100] += w
                    if m100 == label:
                        agree += w
                    w = fx * gy * fz
                    mass[m101] += w
                    if m101 == label:
                        agree += w
                    w = fx * fy * gz
                    mass[m110] += w
                    if m110 == label:
                        agree += w
                    w = fx * fy * fz
                    mass[m111] += w
                    if m111 == label:
                        agree += w
                    hit[label] += agree
    return overlap.sum(axis=0), volume.sum(axis=0)


@_jit_parallel
def vote_adjoint(
    displacement: np.ndarray,
    low: np.ndarray,
    fraction: np.ndarray,
    fixed: np.ndarray,
    moving: np.ndarray,
    index_map: np.ndarray,
    step_map: np.ndarray,
    to_overlap: np.ndarray,
    to_volume: np.ndarray,
) -> np.ndarray:
    """Pull gradients with respect to both results of `vote` back to the displacement (3, i, j, k)."""
    ni, nj, nk = fixed.shape
    mi, mj, mk = moving.shape
    n_slabs = min(N_SLABS, ni)
    widest = 0
    for slab in range(n_slabs):
        first, last = slab * ni // n_slabs, (slab + 1) * ni // n_slabs - 1
        widest = max(widest, low[0, last] + 2 - low[0, first])
    partial = np.zeros((n_slabs, 3, widest, displacement.shape[2], displacement.shape[3]), np.float32)
    for slab in numba.prange(n_slabs):
        row = np.empty((3, displacement.shape[3]), np.float32)
        back = np.empty((3, displacement.shape[3]), np.float32)
        splat = partial[slab]
        first = low[0, slab * ni // n_slabs]
        for i in range(slab * ni // n_slabs, (slab + 1) * ni // n_slabs):
            for j in range(nj):
                _row_of_displacements(displacement, low[0, i], fraction[0, i], low[1, j], fraction[1, j], row)
                back[:] = np.float32(0)
                touched = False
                b0 = index_map[0, 0] * i + index_map[0, 1] * j + index_map[0, 3]
                b1 = index_map[1, 0] * i + index_map[1, 1] * j + index_map[1, 3]
                b2 = index_map[2, 0] * i + index_map[2, 1] * j + index_map[2, 3]
                for k in range(nk):
                    c, f = low[2, k], fraction[2, k]
                    e = min(c + 1, row.shape[1] - 1)
                    d0 = row[0, c] + f * (row[0, e] - row[0, c])
                    d1 = row[1, c] + f * (row[1, e] - row[1, c])
                    d2 = row[2, c] + f * (row[2, e] - row[2, c])
                    x = (
                        b0
                        + index_map[0, 2] * k
                        + step_map[0, 0] * d0
                        + step_map[0, 1] * d1
                        + step_map[0, 2] * d2
                    )
                    y = (
                        b1
                        + index_map[1, 2] * k
                        + step_map[1, 0] * d0
                        + step_map[1, 1] * d1
                        + step_map[1, 2] * d2
                    )
                    z = (
                        b2
                        + index_map[2, 2] * k
                        + step_map[2, 0] * d0
                        + step_map[2, 1] * d1
                        + step_map[2, 2] * d2
                    )
                    x0, y0, z0 = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
                    if x0 < 0 or y0 < 0 or z0 < 0 or x0 >= mi - 1 or y0 >= mj - 1 or z0 >= mk - 1:
                        continue
                    m000 = moving[x0, y0, z0]
                    m001, m010 = moving[x0, y0, z0 + 1], moving[x0, y0 + 1, z0]
                    m011, m100 = moving[x0, y0 + 1, z0 + 1], moving[x0 + 1, y0, z0]
                    m101, m110 = moving[x0 + 1, y0, z0 + 1], moving[x0 + 1, y0 + 1, z0]
                    m111 = moving[x0 + 1, y0 + 1, z0 + 1]
                    if (
                        m000 == m001 and m000 == m010 and m000 == m011
                        and m000 == m100 and m000 == m101 and m000 == m110 and m000 == m111
                    ):  # fmt: skip
                        continue
                    label = fixed[i, j, k]
                    bonus = to_overlap[label]
                    v000 = to_volume[m000] + (bonus if m000 == label else np.float32(0))
                    v001 = to_volume[m001] + (bonus if m001 == label else np.float32(0))
                    v010 = to_volume[m010] + (bonus if m010 == label else np.float32(0))
                    v011 = to_volume[m011] + (bonus if m011 == label else np.float32(0))
                    v100 = to_volume[m100] + (bonus if m100 == label else np.float32(0))
                    v101 = to_volume[m101] + (bonus if m101 == label else np.float32(0))
                    v110 = to_volume[m110] + (bonus if m110 == label else np.float32(0))
                    v111 = to_volume[m111] + (bonus if m111 == label else np.float32(0))
                    fx, fy, fz = np.float32(x - x0), np.float32(y - y0), np.float32(z - z0)
                    gx, gy, gz = np.float32(1) - fx, np.float32(1) - fy, np.float32(1) - fz
                    p00, p01 = gz * v000 + fz * v001, gz * v010 + fz * v011
                    p10, p11 = gz * v100 + fz * v101, gz * v110 + fz * v111
                    s0 = gy * (p10 - p00) + fy * (p11 - p01)
                    s1 = gx * (p01 - p00) + fx * (p11 - p10)
                    s2 = gx * (gy * (v001 - v000) + fy * (v011 - v010)) + fx * (
                        gy * (v101 - v100) + fy * (v111 - v110)
                    )
                    touched = True
                    for axis in range(3):
                        g = step_map[0, axis] * s0 + step_map[1, axis] * s1 + step_map[2, axis] * s2
                        back[axis, c] += g * (np.float32(1) - f)
                        back[axis, e] += g * f
                if touched:
                    ci, fi = low[0, i] - first, fraction[0, i]
                    cj, fj = low[1, j], fraction[1, j]
                    di = min(ci + 1, widest - 1)
                    dj = min(cj + 1, displacement.shape[2] - 1)
                    for axis in range(3):
                        for k in range(back.shape[1]):
                            g = back[axis, k]
                            splat[axis, ci, cj, k] += g * (np.float32(1) - fi) * (np.float32(1) - fj)
                            splat[axis, ci, dj, k] += g * (np.float32(1) - fi) * fj
                            splat[axis, di, cj, k] += g * fi * (np.float32(1) - fj)
                            splat[axis, di, dj, k] += g * fi * fj
    result = np.zeros_like(displacement)
    for j in numba.prange(displacement.shape[2]):
        for axis in range(3):
            for slab in range(n_slabs):
                first = low[0, slab * ni // n_slabs]
                for i in range(min(widest, displacement.shape[1] - first)):
                    for k in range(displacement.shape[3]):
                        result[axis, first + i, j, k] += partial[slab, axis, i, j, k]
    return result


@_jit_parallel
def squared_differences(field: np.ndarray) -> float:
    """Sum over channels, voxels and axes of the squared difference to the next voxel of (c, i, j, k)."""
    channels, ni, nj, nk = field.shape
    sums = np.zeros(ni, np.float64)
    for i in numba.prange(ni):
        total = 0.0
        for c in range(channels):
            for j in range(nj):
                here = field[c, i, j]
                ahead_i, ahead_j = field[c, min(i + 1, ni - 1), j], field[c, i, min(j + 1, nj - 1)]
                for k in range(nk):
                    to_k = field[c, i, j, min(k + 1, nk - 1)]
                    total += (ahead_i[k] - here[k]) ** 2 + (ahead_j[k] - here[k]) ** 2 + (to_k - here[k]) ** 2
        sums[i] = total
    return sums.sum()


@_jit_parallel
def squared_differences_adjoint(field: np.ndarray, gain: float) -> np.ndarray:
    """Pull the gradient with respect to `squared_differences` back to the field."""
    channels, ni, nj, nk = field.shape
    result = np.empty_like(field)
    twice = np.float32(2 * gain)
    for i in numba.prange(ni):
        for c in range(channels):
            for j in range(nj):
                here = field[c, i, j]
                i_up, i_down = field[c, min(i + 1, ni - 1), j], field[c, max(i - 1, 0), j]
                j_up, j_down = field[c, i, min(j + 1, nj - 1)], field[c, i, max(j - 1, 0)]
                for k in range(nk):
                    around = i_up[k] + i_down[k] + j_up[k] + j_down[k]
                    around += here[min(k + 1, nk - 1)] + here[max(k - 1, 0)]
                    result[c, i, j, k] = twice * (np.float32(6) * here[k] - around)
    return result


@_jit
def _corner_jacobian(
    u: np.ndarray, i: int, j: int, k: int, a: int, b: int, c: int, edges: np.ndarray
) -> float:
    """Fill `edges` with the three that meet at corner (a, b, c) of a cell; return their determinant."""
    for axis in range(3):
        f = u[axis]
        edges[axis, 0] = f[i + 1, j + b, k + c] - f[i, j + b, k + c]
        edges[axis, 1] = f[i + a, j + 1, k + c] - f[i + a, j, k + c]
        edges[axis, 2] = f[i + a, j + b, k + 1] - f[i + a, j + b, k]
        edges[axis, axis] += np.float32(1)
    return (
        edges[0, 0] * (edges[1, 1] * edges[2, 2] - edges[1, 2] * edges[2, 1])
        - edges[0, 1] * (edges[1, 0] * edges[2, 2] - edges[1, 2] * edges[2, 0])
        + edges[0, 2] * (edges[1, 0] * edges[2, 1] - edges[1, 1] * edges[2, 0])
    )


@_jit_parallel
def log_jacobian_moments(
    u: np.ndarray, labels: np.ndarray, n_labels: int, floor: float, phase: int
) -> tuple[np.ndarray, np.ndarray]:
    """Sum and sum of squares of the log determinant over the cells of every label.

    `u` (3, i, j, k) in voxels; `labels` (i - 1, j - 1, k - 1). Four of a cell's eight corners are looked at,
    the other four in the neighbouring cells or in the other `phase`. Below `floor` the logarithm goes on as a
    straight line, `STEEPNESS` times as steep.
    """
    _, ni, nj, nk = u.shape
    n_slabs = min(N_SLABS, ni - 1)
    first = np.zeros((n_slabs, n_labels), np.float64)
    second = np.zeros((n_slabs, n_labels), np.float64)
    log_floor = np.log(floor)
    for slab in numba.prange(n_slabs):
        edges = np.empty((3, 3), np.float32)
        for i in range(slab * (ni - 1) // n_slabs, (slab + 1) * (ni - 1) // n_slabs):
            for j in range(nj - 1):
                for k in range(nk - 1):
                    label = labels[i, j, k]
                    odd = (i + j + k + phase) % 2
                    for corner in range(4):
                        a, b = corner // 2, corner % 2
                        det = _corner_jacobian(u, i, j, k, a, b, (a + b + odd) % 2, edges)
                        value = np.log(det) if det > floor else log_floor + STEEPNESS * (det - floor) / floor
                        first[slab, label] += value
                        second[slab, label] += value * value
    return first.sum(axis=0), second.sum(axis=0)


@_jit_parallel
def log_jacobian_moments_adjoint(
    u: np.ndarray,
    labels: np.ndarray,
    floor: float,
    phase: int,
    to_first: np.ndarray,
    to_second: np.ndarray,
) -> np.ndarray:
    """Pull gradients with respect to both results of `log_jacobian_moments` back to `u`."""
    _, ni, nj, nk = u.shape
    n_slabs = min(N_SLABS, ni - 1)
    log_floor = np.log(floor)
    thickness = (ni - 1) // n_slabs + 2
    partial = np.zeros((n_slabs, 3, thickness, nj, nk), np.float32)
    for slab in numba.prange(n_slabs):
        edges = np.empty((3, 3), np.float32)
        start = slab * (ni - 1) // n_slabs
        for i in range(start, (slab + 1) * (ni - 1) // n_slabs):
            near = i - start
            for j in range(nj - 1):
                for k in range(nk - 1):
                    label = labels[i, j, k]
                    odd = (i + j + k + phase) % 2
                    for corner in range(4):
                        a, b = corner // 2, corner % 2
                        c = (a + b + odd) % 2
                        det = _corner_jacobian(u, i, j, k, a, b, c, edges)
                        value = np.log(det) if det > floor else log_floor + STEEPNESS * (det - floor) / floor
                        slope = 1.0 / det if det > floor else STEEPNESS / floor
                        gain = (to_first[label] + 2.0 * value * to_second[label]) * slope
                        for x in range(3):
                            y, z = (x + 1) % 3, (x + 2) % 3
                            along_i = gain * (edges[y, 1] * edges[z, 2] - edges[y, 2] * edges[z, 1])
                            along_j = gain * (edges[y, 2] * edges[z, 0] - edges[y, 0] * edges[z, 2])
                            along_k = gain * (edges[y, 0] * edges[z, 1] - edges[y, 1] * edges[z, 0])
                            partial[slab, x, near + 1, j + b, k + c] += along_i
                            partial[slab, x, near, j + b, k + c] -= along_i
                            partial[slab, x, near + a, j + 1, k + c] += along_j
                            partial[slab, x, near + a, j, k + c] -= along_j
                            partial[slab, x, near + a, j + b, k + 1] += along_k
                            partial[slab, x, near + a, j + b, k] -= along_k
    result = np.zeros_like(u)
    for j in numba.prange(nj):
        for axis in range(3):
            for slab in range(n_slabs):
                start = slab * (ni - 1) // n_slabs
                for i in range(start, (slab + 1) * (ni - 1) // n_slabs + 1):
                    for k in range(nk):
                        result[axis, i, j, k] += partial[slab, axis, i - start, j, k]
    return result


@_jit_parallel
def sample_vectors(field: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Interpolate a vector field (3, i, j, k) at voxel positions (n, 3); clamped beyond the border."""
    result = np.empty(points.shape, np.float64)
    for n in numba.prange(points.shape[0]):
        for axis in range(3):
            result[n, axis] = 0.0
        ci, fi, _ = _cell(points[n, 0], field.shape[1])
        cj, fj, _ = _cell(points[n, 1], field.shape[2])
        ck, fk, _ = _cell(points[n, 2], field.shape[3])
        for a in range(2):
            i, wi = min(ci + a, field.shape[1] - 1), fi if a else 1 - fi
            for b in range(2):
                j, wj = min(cj + b, field.shape[2] - 1), fj if b else 1 - fj
                for c in range(2):
                    k, wk = min(ck + c, field.shape[3] - 1), fk if c else 1 - fk
                    for axis in range(3):
                        result[n, axis] += wi * wj * wk * field[axis, i, j, k]
    return result


@_jit_parallel
def sample_scalars(data: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Interpolate an image (i, j, k) at voxel positions (n, 3); 0 beyond the outermost centres."""
    ni, nj, nk = data.shape
    result = np.zeros(points.shape[0], np.float32)
    for n in numba.prange(points.shape[0]):
        x, y, z = points[n, 0], points[n, 1], points[n, 2]
        if x < 0 or y < 0 or z < 0 or x > ni - 1 or y > nj - 1 or z > nk - 1:
            continue
        ci, fi, _ = _cell(x, ni)
        cj, fj, _ = _cell(y, nj)
        ck, fk, _ = _cell(z, nk)
        total = 0.0
        for a in range(2):
            i, wi = min(ci + a, ni - 1), fi if a else 1 - fi
            for b in range(2):
                j, wj = min(cj + b, nj - 1), fj if b else 1 - fj
                for c in range(2):
                    k, wk = min(ck + c, nk - 1), fk if c else 1 - fk
                    total += wi * wj * wk * data[i, j, k]
        result[n] = total
    return result


@_jit
def _land(field: np.ndarray, x: np.ndarray, out: np.ndarray, slope: np.ndarray) -> None:
    """Value of ``x + field(x)`` into `out` and its 3 x 3 derivative into `slope`."""
    _, ni, nj, nk = field.shape
    ci, fi, si = _cell(x[0], ni)
    cj, fj, sj = _cell(x[1], nj)
    ck, fk, sk = _cell(x[2], nk)
    for axis in range(3):
        out[axis] = x[axis]
        for other in range(3):
            slope[axis, other] = 1.0 if axis == other else 0.0
    for a in range(2):
        i, wi, di = min(ci + a, ni - 1), fi if a else 1 - fi, si if a else -si
        for b in range(2):
            j, wj, dj = min(cj + b, nj - 1), fj if b else 1 - fj, sj if b else -sj
            for c in range(2):
                k, wk, dk = min(ck + c, nk - 1), fk if c else 1 - fk, sk if c else -sk
                for axis in range(3):
                    u = field[axis, i, j, k]
                    out[axis] += wi * wj * wk * u
                    slope[axis, 0] += di * wj * wk * u
                    slope[axis, 1] += wi * dj * wk * u
                    slope[axis, 2] += wi * wj * dk * u


@_jit_parallel
def invert_at(field: np.ndarray, targets: np.ndarray, starts: np.ndarray, tolerance: float) -> np.ndarray:
    """Find for each target y (n, 3) the x with ``x + field(x) = y``, in voxels: damped Newton."""
    result = starts.copy()
    for n in numba.prange(targets.shape[0]):
        x, trial = starts[n].copy(), np.empty(3)
        landed, slope = np.empty(3), np.empty((3, 3))
        step, other = np.empty(3), np.empty((3, 3))
        _land(field, x, landed, slope)
        miss = ((landed - targets[n]) ** 2).sum()
        for _ in range(30):
            if miss < tolerance * tolerance:
                break
            r = landed - targets[n]
            det = (
                slope[0, 0] * (slope[1, 1] * slope[2, 2] - slope[1, 2] * slope[2, 1])
                - slope[0, 1] * (slope[1, 0] * slope[2, 2] - slope[1, 2] * slope[2, 0])
                + slope[0, 2] * (slope[1, 0] * slope[2, 1] - slope[1, 1] * slope[2, 0])
            )
            if abs(det) < 1e-6:
                break
            for e in range(3):
                p, q = (e + 1) % 3, (e + 2) % 3
                total = 0.0
                for y in range(3):
                    v, w = (y + 1) % 3, (y + 2) % 3
                    total += (slope[v, p] * slope[w, q] - slope[v, q] * slope[w, p]) * r[y]
                step[e] = total / det
            damping, improved, new = 1.0, False, miss
            for _halving in range(8):
                for axis in range(3):
                    trial[axis] = x[axis] - damping * step[axis]
                _land(field, trial, landed, other)
                new = ((landed - targets[n]) ** 2).sum()
                if new < miss:
                    improved = True
                    break
                damping *= 0.5
            if not improved:
                break
            miss = new
            x[:] = trial
            slope[:] = other
        result[n] = x
    return result
