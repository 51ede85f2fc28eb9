"""Logarithm of the Jacobian determinant at the corners of cells, summed by label."""

import numba
import numpy as np

from bidsapp.geometry.kernels.compiled.cells import N_SLABS, in_order, jit, jit_parallel
from bidsapp.geometry.kernels.reference import STEEPNESS


@jit
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


@jit_parallel
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
    return in_order(first), in_order(second)


@jit_parallel
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
                    if to_first[label] == 0 and to_second[label] == 0:
                        continue
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
