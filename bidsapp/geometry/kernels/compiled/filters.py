"""Gaussian smoothing, and how much a field changes from voxel to voxel."""

import numba
import numpy as np

from bidsapp.geometry.kernels.compiled.cells import in_order, jit, jit_parallel


@jit_parallel
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


@jit_parallel
def squared_differences(field: np.ndarray) -> float:
    """Sum over channels, voxels and axes of the squared difference to the next voxel of (c, i, j, k)."""
    channels, ni, nj, nk = field.shape
    sums = np.zeros((ni, 1), np.float64)
    for i in numba.prange(ni):
        total = 0.0
        for c in range(channels):
            for j in range(nj):
                here = field[c, i, j]
                ahead_i, ahead_j = field[c, min(i + 1, ni - 1), j], field[c, i, min(j + 1, nj - 1)]
                for k in range(nk):
                    to_k = field[c, i, j, min(k + 1, nk - 1)]
                    total += (ahead_i[k] - here[k]) ** 2 + (ahead_j[k] - here[k]) ** 2 + (to_k - here[k]) ** 2
        sums[i, 0] = total
    return float(in_order(sums)[0])


@jit_parallel
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


@jit_parallel
def squared_curvature(field: np.ndarray) -> float:
    """Sum over channels, inner voxels and axes of the squared second difference of (c, i, j, k)."""
    channels, ni, nj, nk = field.shape
    sums = np.zeros((ni, 1), np.float64)
    two = np.float32(2)
    for i in numba.prange(ni):
        in_row = np.zeros(nk, np.float32)
        total = 0.0
        for c in range(channels):
            for j in range(nj):
                here = field[c, i, j]
                in_row[:] = np.float32(0)
                if 0 < i < ni - 1:
                    below, above = field[c, i - 1, j], field[c, i + 1, j]
                    for k in range(nk):
                        in_row[k] += (below[k] + above[k] - two * here[k]) ** 2
                if 0 < j < nj - 1:
                    below, above = field[c, i, j - 1], field[c, i, j + 1]
                    for k in range(nk):
                        in_row[k] += (below[k] + above[k] - two * here[k]) ** 2
                for k in range(1, nk - 1):
                    in_row[k] += (here[k - 1] + here[k + 1] - two * here[k]) ** 2
                for k in range(nk):
                    total += in_row[k]
        sums[i, 0] = total
    return float(in_order(sums)[0])


@jit
def _bend(outer: np.ndarray, inner: np.ndarray, here: np.ndarray, gain: np.float32, out: np.ndarray) -> None:
    """Add `gain` times the second difference at the neighbour `inner`, between `outer` and `here`."""
    two = np.float32(2)
    for k in range(here.size):
        out[k] += gain * (outer[k] + here[k] - two * inner[k])


@jit_parallel
def squared_curvature_adjoint(field: np.ndarray, gain: float) -> np.ndarray:
    """Pull the gradient with respect to `squared_curvature` back to the field."""
    channels, ni, nj, nk = field.shape
    result = np.zeros_like(field)
    once, back = np.float32(2 * gain), np.float32(-4 * gain)
    for i in numba.prange(ni):
        for c in range(channels):
            for j in range(nj):
                here, out = field[c, i, j], result[c, i, j]
                if i > 1:
                    _bend(field[c, i - 2, j], field[c, i - 1, j], here, once, out)
                if i < ni - 2:
                    _bend(field[c, i + 2, j], field[c, i + 1, j], here, once, out)
                if 0 < i < ni - 1:
                    _bend(field[c, i - 1, j], here, field[c, i + 1, j], back, out)
                if j > 1:
                    _bend(field[c, i, j - 2], field[c, i, j - 1], here, once, out)
                if j < nj - 2:
                    _bend(field[c, i, j + 2], field[c, i, j + 1], here, once, out)
                if 0 < j < nj - 1:
                    _bend(field[c, i, j - 1], here, field[c, i, j + 1], back, out)
                if nk > 2:
                    _bend(here[:-2], here[1:-1], here[2:], once, out[2:])
                    _bend(here[2:], here[1:-1], here[:-2], once, out[:-2])
                    _bend(here[:-2], here[1:-1], here[2:], back, out[1:-1])
    return result


@jit_parallel
def balance(field: np.ndarray) -> np.ndarray:
    """Take a twelfth of the second differences along each axis; beyond the border lies the last value."""
    channels, ni, nj, nk = field.shape
    side, middle = np.float64(np.float32(1 / 12)), np.float64(np.float32(-2 / 12))
    balanced = np.empty_like(field)
    for i in numba.prange(ni):
        below, above = max(i - 1, 0), min(i + 1, ni - 1)
        for channel in range(channels):
            f = field[channel]
            for j in range(nj):
                left, right = max(j - 1, 0), min(j + 1, nj - 1)
                for k in range(nk):
                    own = np.float64(f[i, j, k]) * middle
                    along_i = np.float32(
                        own + (np.float64(f[below, j, k]) + np.float64(f[above, j, k])) * side
                    )
                    along_j = np.float32(
                        own + (np.float64(f[i, left, k]) + np.float64(f[i, right, k])) * side
                    )
                    before, after = (
                        np.float64(f[i, j, max(k - 1, 0)]),
                        np.float64(f[i, j, min(k + 1, nk - 1)]),
                    )
                    along_k = np.float32(own + (before + after) * side)
                    balanced[channel, i, j, k] = f[i, j, k] - along_i - along_j - along_k
    return balanced
