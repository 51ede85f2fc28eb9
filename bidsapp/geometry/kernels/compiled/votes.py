"""Moving labels vote at fixed voxels: agreement of two label maps and its gradient."""

import numba
import numpy as np

from bidsapp.geometry.kernels.compiled.cells import N_SLABS, in_order, jit, jit_parallel
from bidsapp.geometry.kernels.compiled.landing import add_slabs, land_row, reach_of_slabs, spread_row
from bidsapp.geometry.kernels.reference import LEFT_OUT


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
def vote(
    displacement: np.ndarray,
    low: np.ndarray,
    fraction: np.ndarray,
    fixed: np.ndarray,
    moving: np.ndarray,
    index_map: np.ndarray,
    step_map: np.ndarray,
    n_labels: int,
    ease: np.float32,
) -> tuple[np.ndarray, np.ndarray]:
    """Overlap and warped volume of every label, each moving corner voting with its weight.

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
        landing = np.empty((3, nk), np.float32)
        hit, mass = overlap[slab], volume[slab]
        for i in range(slab * ni // n_slabs, (slab + 1) * ni // n_slabs):
            for j in range(nj):
                land_row(displacement, low, fraction, (index_map, step_map), (i, j), row, landing)
                for k in range(nk):
                    label = fixed[i, j, k]
                    if label == LEFT_OUT:
                        continue
                    x, y, z = landing[0, k], landing[1, k], landing[2, k]
                    x0, y0, z0 = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
                    if x0 < 0 or y0 < 0 or z0 < 0 or x0 >= mi - 1 or y0 >= mj - 1 or z0 >= mk - 1:
                        mass[0] += 1.0
                        if label == 0:
                            hit[0] += 1.0
                        continue
                    m000, m001, m010, m011, m100, m101, m110, m111 = _corners(moving, x0, y0, z0)
                    if (
                        m000 == m001 and m000 == m010 and m000 == m011
                        and m000 == m100 and m000 == m101 and m000 == m110 and m000 == m111
                    ):  # fmt: skip
                        mass[m000] += 1.0
                        if m000 == label:
                            hit[label] += 1.0
                        continue
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
    low: np.ndarray,
    fraction: np.ndarray,
    fixed: np.ndarray,
    moving: np.ndarray,
    index_map: np.ndarray,
    step_map: np.ndarray,
    to_overlap: np.ndarray,
    to_volume: np.ndarray,
    ease: np.float32,
) -> np.ndarray:
    """Pull gradients with respect to both results of `vote` back to the displacement (3, i, j, k)."""
    ni, nj, nk = fixed.shape
    mi, mj, mk = moving.shape
    n_slabs = min(N_SLABS, ni)
    widest = reach_of_slabs(low, ni)
    partial = np.zeros((n_slabs, 3, widest, displacement.shape[2], displacement.shape[3]), np.float32)
    for slab in numba.prange(n_slabs):
        row = np.empty((3, displacement.shape[3]), np.float32)
        landing = np.empty((3, nk), np.float32)
        back = np.empty((3, displacement.shape[3]), np.float32)
        splat = partial[slab]
        first = low[0, slab * ni // n_slabs]
        for i in range(slab * ni // n_slabs, (slab + 1) * ni // n_slabs):
            for j in range(nj):
                land_row(displacement, low, fraction, (index_map, step_map), (i, j), row, landing)
                back[:] = np.float32(0)
                touched = False
                for k in range(nk):
                    label = fixed[i, j, k]
                    if label == LEFT_OUT:
                        continue
                    x, y, z = landing[0, k], landing[1, k], landing[2, k]
                    x0, y0, z0 = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
                    if x0 < 0 or y0 < 0 or z0 < 0 or x0 >= mi - 1 or y0 >= mj - 1 or z0 >= mk - 1:
                        continue
                    m000, m001, m010, m011, m100, m101, m110, m111 = _corners(moving, x0, y0, z0)
                    if (
                        m000 == m001 and m000 == m010 and m000 == m011
                        and m000 == m100 and m000 == m101 and m000 == m110 and m000 == m111
                    ):  # fmt: skip
                        continue
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
                    p00, p01 = gz * v000 + fz * v001, gz * v010 + fz * v011
                    p10, p11 = gz * v100 + fz * v101, gz * v110 + fz * v111
                    s0 = tx * (gy * (p10 - p00) + fy * (p11 - p01))
                    s1 = ty * (gx * (p01 - p00) + fx * (p11 - p10))
                    s2 = tz * (
                        gx * (gy * (v001 - v000) + fy * (v011 - v010))
                        + fx * (gy * (v101 - v100) + fy * (v111 - v110))
                    )
                    touched = True
                    c, f = low[2, k], fraction[2, k]
                    e = min(c + 1, row.shape[1] - 1)
                    for axis in range(3):
                        g = step_map[0, axis] * s0 + step_map[1, axis] * s1 + step_map[2, axis] * s2
                        back[axis, c] += g * (np.float32(1) - f)
                        back[axis, e] += g * f
                if touched:
                    spread_row(back, low, fraction, (i, j), first, splat)
    return add_slabs(partial, low, ni, displacement)
