"""Moving labels vote at fixed voxels: agreement of two label maps and its gradient."""

import numba
import numpy as np

from bidsapp.geometry.kernels.compiled.cells import N_SLABS, in_order, jit, jit_parallel
from bidsapp.geometry.kernels.compiled.landing import (
    Maps,
    Placed,
    add_slope,
    land_row,
    make_rows,
    slab_starts,
    slopes_between,
    spread_row,
)
from bidsapp.geometry.kernels.reference import LEFT_OUT

_MIXED = 254
"""Of a cell whose eight corners have more than one label."""


@jit
def _corners(moving: np.ndarray, x: int, y: int, z: int) -> tuple[int, int, int, int, int, int, int, int]:
    """Labels of the eight voxels from (x, y, z) to (x + 1, y + 1, z + 1), z fastest."""
    return (
        moving[x, y, z], moving[x, y, z + 1], moving[x, y + 1, z], moving[x, y + 1, z + 1],
        moving[x + 1, y, z], moving[x + 1, y, z + 1], moving[x + 1, y + 1, z], moving[x + 1, y + 1, z + 1],
    )  # fmt: skip


@jit
def _weigh(fraction: np.float32, ease: np.float32) -> tuple[np.float32, np.float32, np.float32]:
    """Weight of the upper neighbour, that of the lower one, and the slope of the first."""
    rest = np.float32(1) - fraction
    upper = fraction * (np.float32(1) - ease * rest * (np.float32(1) - np.float32(2) * fraction))
    slope = np.float32(1) - ease * (np.float32(1) - np.float32(6) * fraction * rest)
    return upper, np.float32(1) - upper, slope


@jit_parallel
def find_uniform(moving: np.ndarray) -> np.ndarray:
    """Label of every cell between eight voxels (i - 1, j - 1, k - 1), or that it has several.

    Most cells have one. A point in such a cell needs one look, and has no slope.
    """
    ni, nj, nk = moving.shape
    cells = np.empty((ni - 1, nj - 1, nk - 1), np.uint8)
    for i in numba.prange(ni - 1):
        for j in range(nj - 1):
            a, b, c, d = moving[i, j], moving[i, j + 1], moving[i + 1, j], moving[i + 1, j + 1]
            for k in range(nk - 1):
                label = a[k]
                other = (label ^ a[k + 1]) | (label ^ b[k]) | (label ^ b[k + 1])
                other |= (label ^ c[k]) | (label ^ c[k + 1]) | (label ^ d[k]) | (label ^ d[k + 1])
                cells[i, j, k] = label if other == 0 else np.uint8(_MIXED)
    return cells


@jit
def _looked_at(labels: np.ndarray) -> tuple[int, int]:
    """First voxel of a row that is not left out, and the one behind the last."""
    begin, end = 0, labels.size
    while begin < end and labels[begin] == LEFT_OUT:
        begin += 1
    while end > begin and labels[end - 1] == LEFT_OUT:
        end -= 1
    return begin, end


@jit
def _find_cells(
    landing: np.ndarray, stretch: tuple[int, int], shape: tuple[int, int, int], found: np.ndarray
) -> None:
    """Find the number, in C order, of the cell each landing point lies in; -1 beyond the moving grid."""
    begin, end = stretch
    ni, nj, nk = np.int32(shape[0]), np.int32(shape[1]), np.int32(shape[2])
    last_i, last_j, last_k = np.float32(ni), np.float32(nj), np.float32(nk)
    along_i, along_j, along_k = landing[0, begin:end], landing[1, begin:end], landing[2, begin:end]
    out = found[begin:end]
    for n in range(end - begin):
        x, y, z = along_i[n], along_j[n], along_k[n]
        inside = (x >= 0) & (y >= 0) & (z >= 0) & (x < last_i) & (y < last_j) & (z < last_k)
        number = (np.int32(x) * nj + np.int32(y)) * nk + np.int32(z)
        out[n] = number if inside else np.int32(-1)


@jit_parallel
def vote(
    displacement: np.ndarray,
    placed: Placed,
    fixed: np.ndarray,
    moving: np.ndarray,
    maps: Maps,
    cells: np.ndarray,
    n_labels: int,
    ease: np.float32,
) -> tuple[np.ndarray, np.ndarray]:
    """Overlap and warped volume of every label, each moving corner voting with its weight.

    `cells` are those of `find_uniform` of the moving labels.
    Returns (n_labels,) float64 each, in fixed voxels. Beyond the moving grid lies label 0.
    """
    ni, nj, nk = fixed.shape
    n_slabs = min(N_SLABS, ni)
    overlap = np.zeros((n_slabs, n_labels), np.float64)
    volume = np.zeros((n_slabs, n_labels), np.float64)
    of_cell = cells.reshape(-1)
    for slab in numba.prange(n_slabs):
        rows, found = make_rows(displacement, nk), np.empty(nk, np.int32)
        hit, mass = overlap[slab], volume[slab]
        for i in range(slab * ni // n_slabs, (slab + 1) * ni // n_slabs):
            for j in range(nj):
                stretch = _looked_at(fixed[i, j])
                if stretch[0] == stretch[1]:
                    continue
                landing = land_row(displacement, placed, maps, (i, j), stretch, rows)
                _find_cells(landing, stretch, cells.shape, found)
                for k in range(stretch[0], stretch[1]):
                    label = fixed[i, j, k]
                    if label == LEFT_OUT:
                        continue
                    only = of_cell[found[k]] if found[k] >= 0 else np.uint8(0)
                    if only != _MIXED:
                        mass[only] += 1.0
                        if only == label:
                            hit[label] += 1.0
                        continue
                    x, y, z = landing[0, k], landing[1, k], landing[2, k]
                    x0, y0, z0 = int(x), int(y), int(z)
                    m000, m001, m010, m011, m100, m101, m110, m111 = _corners(moving, x0, y0, z0)
                    fx, gx, _ = _weigh(np.float32(x - x0), ease)
                    fy, gy, _ = _weigh(np.float32(y - y0), ease)
                    fz, gz, _ = _weigh(np.float32(z - z0), ease)
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
    return in_order(overlap), in_order(volume)


@jit_parallel
def vote_adjoint(
    displacement: np.ndarray,
    placed: Placed,
    fixed: np.ndarray,
    moving: np.ndarray,
    maps: Maps,
    cells: np.ndarray,
    to_overlap: np.ndarray,
    to_volume: np.ndarray,
    ease: np.float32,
) -> np.ndarray:
    """Pull gradients with respect to both results of `vote` back to the displacement (3, i, j, k)."""
    low, _, _ = placed
    ni, nj, nk = fixed.shape
    starts = slab_starts(low[0], ni)
    result = np.zeros_like(displacement)
    of_cell = cells.reshape(-1)
    for odd in range(2):
        for pair in numba.prange((starts.size - odd) // 2):
            slab = 2 * pair + odd
            rows, found = make_rows(displacement, nk), np.empty(nk, np.int32)
            back = np.empty((3, displacement.shape[3]), np.float32)
            for i in range(starts[slab], starts[slab + 1]):
                for j in range(nj):
                    stretch = _looked_at(fixed[i, j])
                    if stretch[0] == stretch[1]:
                        continue
                    landing = land_row(displacement, placed, maps, (i, j), stretch, rows)
                    _find_cells(landing, stretch, cells.shape, found)
                    back[:] = np.float32(0)
                    touched = False
                    for k in range(stretch[0], stretch[1]):
                        label = fixed[i, j, k]
                        if label == LEFT_OUT or found[k] < 0 or of_cell[found[k]] != _MIXED:
                            continue
                        touched = True
                        x, y, z = landing[0, k], landing[1, k], landing[2, k]
                        x0, y0, z0 = int(x), int(y), int(z)
                        m000, m001, m010, m011, m100, m101, m110, m111 = _corners(moving, x0, y0, z0)
                        bonus = to_overlap[label]
                        v000 = to_volume[m000] + (bonus if m000 == label else np.float32(0))
                        v001 = to_volume[m001] + (bonus if m001 == label else np.float32(0))
                        v010 = to_volume[m010] + (bonus if m010 == label else np.float32(0))
                        v011 = to_volume[m011] + (bonus if m011 == label else np.float32(0))
                        v100 = to_volume[m100] + (bonus if m100 == label else np.float32(0))
                        v101 = to_volume[m101] + (bonus if m101 == label else np.float32(0))
                        v110 = to_volume[m110] + (bonus if m110 == label else np.float32(0))
                        v111 = to_volume[m111] + (bonus if m111 == label else np.float32(0))
                        fx, gx, tx = _weigh(np.float32(x - x0), ease)
                        fy, gy, ty = _weigh(np.float32(y - y0), ease)
                        fz, gz, tz = _weigh(np.float32(z - z0), ease)
                        values = v000, v001, v010, v011, v100, v101, v110, v111
                        s0, s1, s2 = slopes_between(values, (fx, gx), (fy, gy), (fz, gz))
                        add_slope(back, placed, maps, k, (tx * s0, ty * s1, tz * s2))
                    if touched:
                        spread_row(back, placed, (i, j), result)
    return result
