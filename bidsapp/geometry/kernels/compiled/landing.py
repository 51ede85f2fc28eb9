"""Where fixed voxels land in the moving grid, row by row, and the way back for gradients."""

import numpy as np

from bidsapp.geometry.kernels.compiled.cells import N_SLABS, jit

Placed = tuple[np.ndarray, np.ndarray, bool]
"""Where fixed voxels lie on the displacement's grid, axis by axis: the lower neighbour and the weight of the
upper one, (3, longest side) each, and whether along k every fixed voxel lies on a point of it, in step."""
Maps = tuple[np.ndarray, np.ndarray]
"""(3, 4) from a fixed voxel index to moving voxels, and (3, 3) from a displacement to moving voxels."""
Corners = tuple[
    np.float32, np.float32, np.float32, np.float32, np.float32, np.float32, np.float32, np.float32
]
Weights = tuple[np.float32, np.float32]
"""Of the upper neighbour along an axis, and of the lower one."""


@jit
def _row_of_displacements(
    field: np.ndarray, placed: Placed, at: tuple[int, int], stretch: tuple[int, int], row: np.ndarray
) -> None:
    """Interpolate `field` (3, i, j, k) in i and j, for every coarse k that a stretch of fixed k looks at."""
    low, fraction, _ = placed
    _, ni, nj, nk = field.shape
    (i, j), (begin, end) = at, stretch
    low_i, low_j, f_i, f_j = low[0, i], low[1, j], fraction[0, i], fraction[1, j]
    up_i, up_j = min(low_i + 1, ni - 1), min(low_j + 1, nj - 1)
    w00, w01 = (1 - f_i) * (1 - f_j), (1 - f_i) * f_j
    w10, w11 = f_i * (1 - f_j), f_i * f_j
    for axis in range(3):
        a, out = field[axis, low_i, low_j], row[axis]
        b, c, d = field[axis, low_i, up_j], field[axis, up_i, low_j], field[axis, up_i, up_j]
        if f_i == 0 and f_j == 0:
            for k in range(low[2, begin], min(low[2, end - 1] + 2, nk)):
                out[k] = a[k]
        else:
            for k in range(low[2, begin], min(low[2, end - 1] + 2, nk)):
                out[k] = w00 * a[k] + w01 * b[k] + w10 * c[k] + w11 * d[k]


@jit
def make_rows(
    displacement: np.ndarray, n_fixed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Make room for one row: at the points of the displacement's grid, at fixed voxels, where they land.

    The last is the number of each fixed voxel.
    """
    steps = np.arange(n_fixed).astype(np.float32)
    n_points = displacement.shape[3]
    return (
        np.empty((3, n_points), np.float32), np.empty((3, n_fixed), np.float32),
        np.empty((3, n_fixed), np.float32), steps,
    )  # fmt: skip


@jit
def land_row(
    displacement: np.ndarray,
    placed: Placed,
    maps: Maps,
    at: tuple[int, int],
    stretch: tuple[int, int],
    rows: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
) -> np.ndarray:
    """Find where the fixed voxels (i, j, k) with (i, j) = `at` land in the moving grid (3, k).

    Only a `stretch` of k, its end left out, is gone through; `rows` are those of `make_rows`.
    """
    (low, fraction, in_step), (index_map, step_map) = placed, maps
    (i, j), (begin, end) = at, stretch
    row, between, landing, steps = rows
    _row_of_displacements(displacement, placed, at, stretch, row)
    if in_step:
        moved, shift = row, low[2, begin] - begin
    else:
        moved, shift = between, 0
        for k in range(begin, end):
            c, f = low[2, k], fraction[2, k]
            e = min(c + 1, row.shape[1] - 1)
            for axis in range(3):
                between[axis, k] = row[axis, c] + f * (row[axis, e] - row[axis, c])
    read, step = slice(begin + shift, end + shift), steps[begin:end]
    along_i, along_j, along_k = moved[0, read], moved[1, read], moved[2, read]
    for axis in range(3):
        base = np.float32(index_map[axis, 0] * i + index_map[axis, 1] * j + index_map[axis, 3])
        slope, out = index_map[axis, 2], landing[axis, begin:end]
        by_i, by_j, by_k = step_map[axis, 0], step_map[axis, 1], step_map[axis, 2]
        for k in range(end - begin):
            out[k] = base + slope * step[k] + (by_i * along_i[k] + by_j * along_j[k] + by_k * along_k[k])
    return landing


@jit
def slab_starts(low: np.ndarray, n_fixed: int) -> np.ndarray:
    """Cut fixed planes into slabs: those with an even number share no plane of gradients, nor do the others.

    `low` is the lower neighbour of every fixed plane on the displacement's grid. Gives the first fixed plane
    of every slab, and `n_fixed` at the end.
    """
    starts = np.empty(2 * N_SLABS + 1, np.int64)
    starts[0], n = 0, 1
    for slab in range(1, 2 * N_SLABS):
        first = slab * n_fixed // (2 * N_SLABS)
        if low[first] >= low[starts[n - 1]] + 2:
            starts[n] = first
            n += 1
    starts[n] = n_fixed
    return starts[: n + 1]


@jit
def slopes_between(
    values: Corners, along_i: Weights, along_j: Weights, along_k: Weights
) -> tuple[np.float32, np.float32, np.float32]:
    """Slopes along i, j and k between eight values, z fastest, where weights rise as fast as positions."""
    v000, v001, v010, v011, v100, v101, v110, v111 = values
    (fx, gx), (fy, gy), (fz, gz) = along_i, along_j, along_k
    p00, p01 = gz * v000 + fz * v001, gz * v010 + fz * v011
    p10, p11 = gz * v100 + fz * v101, gz * v110 + fz * v111
    return (
        gy * (p10 - p00) + fy * (p11 - p01),
        gx * (p01 - p00) + fx * (p11 - p10),
        gx * (gy * (v001 - v000) + fy * (v011 - v010)) + fx * (gy * (v101 - v100) + fy * (v111 - v110)),
    )


@jit
def add_slope(
    back: np.ndarray,
    placed: Placed,
    maps: Maps,
    k: int,
    slope: tuple[np.float32, np.float32, np.float32],
) -> None:
    """Add the gradient of one fixed voxel, in moving voxels, to that of its row `back` (3, k)."""
    (low, fraction, _), (_, step_map) = placed, maps
    c, f = low[2, k], fraction[2, k]
    e = min(c + 1, back.shape[1] - 1)
    for axis in range(3):
        g = step_map[0, axis] * slope[0] + step_map[1, axis] * slope[1] + step_map[2, axis] * slope[2]
        back[axis, c] += g * (np.float32(1) - f)
        back[axis, e] += g * f


@jit
def spread_row(back: np.ndarray, placed: Placed, at: tuple[int, int], result: np.ndarray) -> None:
    """Add the gradient `back` (3, k) of the row (i, j) = `at` of fixed voxels to the displacement's."""
    low, fraction, _ = placed
    i, j = at
    ci, fi = low[0, i], fraction[0, i]
    cj, fj = low[1, j], fraction[1, j]
    if fi == 0 and fj == 0:
        result[:, ci, cj] += back
        return
    di = min(ci + 1, result.shape[1] - 1)
    dj = min(cj + 1, result.shape[2] - 1)
    for axis in range(3):
        for k in range(back.shape[1]):
            g = back[axis, k]
            result[axis, ci, cj, k] += g * (np.float32(1) - fi) * (np.float32(1) - fj)
            result[axis, ci, dj, k] += g * (np.float32(1) - fi) * fj
            result[axis, di, cj, k] += g * fi * (np.float32(1) - fj)
            result[axis, di, dj, k] += g * fi * fj
