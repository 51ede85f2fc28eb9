"""Where fixed voxels land in the moving grid, row by row, and the way back for gradients."""

import numba
import numpy as np

from bidsapp.geometry.kernels.compiled.cells import N_SLABS, jit, jit_parallel


@jit
def _row_of_displacements(
    field: np.ndarray, low_i: int, f_i: float, low_j: int, f_j: float, row: np.ndarray
) -> None:
    """Interpolate `field` (3, i, j, k) in i and j, for every coarse k."""
    _, ni, nj, nk = field.shape
    if f_i == 0 and f_j == 0:
        row[:] = field[:, low_i, low_j]
        return
    up_i, up_j = min(low_i + 1, ni - 1), min(low_j + 1, nj - 1)
    w00, w01 = (1 - f_i) * (1 - f_j), (1 - f_i) * f_j
    w10, w11 = f_i * (1 - f_j), f_i * f_j
    for axis in range(3):
        a, b = field[axis, low_i, low_j], field[axis, low_i, up_j]
        c, d = field[axis, up_i, low_j], field[axis, up_i, up_j]
        for k in range(nk):
            row[axis, k] = w00 * a[k] + w01 * b[k] + w10 * c[k] + w11 * d[k]


@jit
def land_row(
    displacement: np.ndarray,
    low: np.ndarray,
    fraction: np.ndarray,
    maps: tuple[np.ndarray, np.ndarray],
    at: tuple[int, int],
    row: np.ndarray,
    landing: np.ndarray,
) -> None:
    """Find where the fixed voxels (i, j, k) with (i, j) = `at` land in the moving grid: `landing` (3, k)."""
    index_map, step_map = maps
    i, j = at
    _row_of_displacements(displacement, low[0, i], fraction[0, i], low[1, j], fraction[1, j], row)
    last = row.shape[1] - 1
    for axis in range(3):
        base = index_map[axis, 0] * i + index_map[axis, 1] * j + index_map[axis, 3]
        for k in range(landing.shape[1]):
            landing[axis, k] = base + index_map[axis, 2] * k
    for k in range(landing.shape[1]):
        c, f = low[2, k], fraction[2, k]
        e = min(c + 1, last)
        for other in range(3):
            d = row[other, c] + f * (row[other, e] - row[other, c])
            landing[0, k] += step_map[0, other] * d
            landing[1, k] += step_map[1, other] * d
            landing[2, k] += step_map[2, other] * d


@jit
def reach_of_slabs(low: np.ndarray, n_fixed: int) -> int:
    """How many planes of the displacement's grid the widest slab of fixed planes looks at."""
    n_slabs = min(N_SLABS, n_fixed)
    widest = 0
    for slab in range(n_slabs):
        first, last = slab * n_fixed // n_slabs, (slab + 1) * n_fixed // n_slabs - 1
        widest = max(widest, low[0, last] + 2 - low[0, first])
    return widest


@jit
def spread_row(
    back: np.ndarray,
    low: np.ndarray,
    fraction: np.ndarray,
    at: tuple[int, int],
    first: int,
    splat: np.ndarray,
) -> None:
    """Add the gradient `back` (3, k) of row (i, j) = `at` to a slab's share, whose first plane is `first`."""
    i, j = at
    ci, fi = low[0, i] - first, fraction[0, i]
    cj, fj = low[1, j], fraction[1, j]
    if fi == 0 and fj == 0:
        splat[:, ci, cj] += back
        return
    di = min(ci + 1, splat.shape[1] - 1)
    dj = min(cj + 1, splat.shape[2] - 1)
    for axis in range(3):
        for k in range(back.shape[1]):
            g = back[axis, k]
            splat[axis, ci, cj, k] += g * (np.float32(1) - fi) * (np.float32(1) - fj)
            splat[axis, ci, dj, k] += g * (np.float32(1) - fi) * fj
            splat[axis, di, cj, k] += g * fi * (np.float32(1) - fj)
            splat[axis, di, dj, k] += g * fi * fj


@jit_parallel
def add_slabs(partial: np.ndarray, low: np.ndarray, n_fixed: int, like: np.ndarray) -> np.ndarray:
    """Sum the shares (slab, 3, widest, j, k) of all slabs, in their order, into a field like `like`."""
    n_slabs, _, widest, _, _ = partial.shape
    result = np.zeros_like(like)
    for j in numba.prange(like.shape[2]):
        for axis in range(3):
            for slab in range(n_slabs):
                first = low[0, slab * n_fixed // n_slabs]
                for i in range(min(widest, like.shape[1] - first)):
                    for k in range(like.shape[3]):
                        result[axis, first + i, j, k] += partial[slab, axis, i, j, k]
    return result
