"""Logarithm of the Jacobian determinant at the corners of cells, summed by label.

A corner of one cell is a point of the grid, where seven others meet it. Every other point is looked at, and
there all eight corners at once: they share the six edges that end at the point.
"""

import numba
import numpy as np

from bidsapp.geometry.kernels.compiled.cells import N_SLABS, in_order, jit, jit_parallel
from bidsapp.geometry.kernels.compiled.edges import Edge, cross, dot, edges_of
from bidsapp.geometry.kernels.compiled.landing import slab_starts
from bidsapp.geometry.kernels.reference import STEEPNESS


@jit
def _add(a: Edge, weight: np.float32, b: Edge) -> Edge:
    return a[0] + weight * b[0], a[1] + weight * b[1], a[2] + weight * b[2]


@jit
def _value(determinant: np.float32, floor: np.float32, log_floor: np.float32) -> np.float32:
    """Logarithm; below the floor a straight line, `STEEPNESS` times as steep as it is there."""
    if determinant > floor:
        return np.log(determinant)
    return log_floor + np.float32(STEEPNESS) * (determinant - floor) / floor


@jit
def _framed(labels: np.ndarray, n_labels: int) -> np.ndarray:
    """Surround the cells by some of a label more, so that all points have eight."""
    ni, nj, nk = labels.shape
    framed = np.full((ni + 2, nj + 2, nk + 2), n_labels, np.uint8)
    framed[1:-1, 1:-1, 1:-1] = labels
    return framed


@jit_parallel
def log_jacobian_moments(
    u: np.ndarray, labels: np.ndarray, n_labels: int, floor: float, phase: int
) -> tuple[np.ndarray, np.ndarray]:
    """Sum and sum of squares of the log determinant over the cells of every label.

    `u` (3, i, j, k) in voxels; `labels` (i - 1, j - 1, k - 1). Four of a cell's eight corners are looked at,
    the other four in the other `phase`. Below `floor` the logarithm goes on as a straight line,
    `STEEPNESS` times as steep.
    """
    _, ni, nj, nk = u.shape
    n_slabs = min(N_SLABS, ni)
    first = np.zeros((n_slabs, n_labels + 1), np.float64)
    second = np.zeros((n_slabs, n_labels + 1), np.float64)
    cells = _framed(labels, n_labels)
    least, log_least = np.float32(floor), np.float32(np.log(floor))
    for slab in numba.prange(n_slabs):
        sums, squares = first[slab], second[slab]
        for i in range(slab * ni // n_slabs, (slab + 1) * ni // n_slabs):
            for j in range(nj):
                for k in range((i + j + phase) % 2, nk, 2):
                    behind_i, ahead_i, behind_j, ahead_j, behind_k, ahead_k = edges_of(u, i, j, k)
                    for b in range(2):
                        along_j = ahead_j if b else behind_j
                        for c in range(2):
                            normal = cross(along_j, ahead_k if c else behind_k)
                            for a in range(2):
                                label = cells[i + a, j + b, k + c]
                                determinant = dot(ahead_i if a else behind_i, normal)
                                value = _value(determinant, least, log_least)
                                sums[label] += value
                                squares[label] += value * value
    return in_order(first)[:n_labels], in_order(second)[:n_labels]


@jit
def _share(u: np.ndarray, edge: Edge, lower: tuple[int, int, int], upper: tuple[int, int, int]) -> None:
    """Add the gradient of an edge to its ends."""
    (i, j, k), (a, b, c) = lower, upper
    for axis in range(3):
        u[axis, a, b, c] += edge[axis]
        u[axis, i, j, k] -= edge[axis]


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
    cells = _framed(labels, to_first.size)
    by_value, by_square = np.zeros(to_first.size + 1, np.float32), np.zeros(to_first.size + 1, np.float32)
    by_value[:-1], by_square[:-1] = to_first, 2 * to_second
    least, log_least = np.float32(floor), np.float32(np.log(floor))
    steepest, zero = np.float32(STEEPNESS / floor), np.float32(0)
    none = zero, zero, zero
    result = np.zeros_like(u)
    starts = slab_starts(
        np.arange(ni) - 1, ni
    )  # a point's gradients reach from the plane below to the one above
    for odd in range(2):
        for pair in numba.prange((starts.size - odd) // 2):
            for i in range(starts[2 * pair + odd], starts[2 * pair + odd + 1]):
                for j in range(nj):
                    for k in range((i + j + phase) % 2, nk, 2):
                        behind_i, ahead_i, behind_j, ahead_j, behind_k, ahead_k = edges_of(u, i, j, k)
                        to_behind_i, to_ahead_i, to_behind_j = none, none, none
                        to_ahead_j, to_behind_k, to_ahead_k = none, none, none
                        for b in range(2):
                            along_j = ahead_j if b else behind_j
                            for c in range(2):
                                along_k = ahead_k if c else behind_k
                                normal = cross(along_j, along_k)
                                across = none
                                for a in range(2):
                                    label = cells[i + a, j + b, k + c]
                                    if by_value[label] == 0 and by_square[label] == 0:
                                        continue
                                    along_i = ahead_i if a else behind_i
                                    determinant = dot(along_i, normal)
                                    value = _value(determinant, least, log_least)
                                    slope = np.float32(1) / determinant if determinant > least else steepest
                                    gain = (by_value[label] + value * by_square[label]) * slope
                                    across = _add(across, gain, along_i)
                                    if a:
                                        to_ahead_i = _add(to_ahead_i, gain, normal)
                                    else:
                                        to_behind_i = _add(to_behind_i, gain, normal)
                                to_along_j, to_along_k = cross(along_k, across), cross(across, along_j)
                                if b:
                                    to_ahead_j = _add(to_ahead_j, np.float32(1), to_along_j)
                                else:
                                    to_behind_j = _add(to_behind_j, np.float32(1), to_along_j)
                                if c:
                                    to_ahead_k = _add(to_ahead_k, np.float32(1), to_along_k)
                                else:
                                    to_behind_k = _add(to_behind_k, np.float32(1), to_along_k)
                        here = i, j, k
                        _share(result, to_behind_i, (max(i - 1, 0), j, k), here)
                        _share(result, to_ahead_i, here, (min(i + 1, ni - 1), j, k))
                        _share(result, to_behind_j, (i, max(j - 1, 0), k), here)
                        _share(result, to_ahead_j, here, (i, min(j + 1, nj - 1), k))
                        _share(result, to_behind_k, (i, j, max(k - 1, 0)), here)
                        _share(result, to_ahead_k, here, (i, j, min(k + 1, nk - 1)))
    return result
