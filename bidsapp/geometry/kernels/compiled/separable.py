"""A matrix with few entries a row along each axis, one axis after the other."""

import numba
import numpy as np
from scipy.sparse import csr_matrix

from bidsapp.geometry.kernels.compiled.cells import jit_parallel

Matrices = tuple[np.ndarray, np.ndarray, np.ndarray]


@jit_parallel
def _across(start: np.ndarray, column: np.ndarray, weight: np.ndarray, field: np.ndarray) -> np.ndarray:
    """Multiply (n, size, m) along its middle axis."""
    n, _, m = field.shape
    length = start.size - 1
    result = np.zeros((n, length, m), np.float32)
    for p in numba.prange(n * length):
        row = result[p // length, p % length]
        for q in range(start[p % length], start[p % length + 1]):
            share, source = weight[q], field[p // length, column[q]]
            for k in range(m):
                row[k] += share * source[k]
    return result


@jit_parallel
def _within(start: np.ndarray, column: np.ndarray, weight: np.ndarray, field: np.ndarray) -> np.ndarray:
    """Multiply (n, size) along its last axis."""
    length = start.size - 1
    result = np.empty((field.shape[0], length), np.float32)
    for n in numba.prange(field.shape[0]):
        source, row = field[n], result[n]
        for at in range(length):
            total = np.float32(0)
            for q in range(start[at], start[at + 1]):
                total += weight[q] * source[column[q]]
            row[at] = total
    return result


def separable(field: np.ndarray, matrices: Matrices) -> np.ndarray:
    """Multiply (c, i, j, k) by one matrix along each axis; the slowest, along k, while the field is small."""
    along_i, along_j, along_k = (csr_matrix(matrix) for matrix in matrices)
    channels, ni, nj, nk = field.shape
    a, b, c = along_i.shape[0], along_j.shape[0], along_k.shape[0]
    first = _within(*_parts(along_k), field.reshape(channels * ni * nj, nk))
    second = _across(*_parts(along_j), first.reshape(channels * ni, nj, c))
    return _across(*_parts(along_i), second.reshape(channels, ni, b * c)).reshape(channels, a, b, c)


def separable_adjoint(gradient: np.ndarray, matrices: Matrices) -> np.ndarray:
    """Pull a gradient with respect to the result of `separable` back to the field."""
    along_i, along_j, along_k = (csr_matrix(matrix.T) for matrix in matrices)
    channels, a, b, c = gradient.shape
    ni, nj, nk = along_i.shape[0], along_j.shape[0], along_k.shape[0]
    first = _across(*_parts(along_i), gradient.reshape(channels, a, b * c))
    second = _across(*_parts(along_j), first.reshape(channels * ni, b, c))
    return _within(*_parts(along_k), second.reshape(channels * ni * nj, c)).reshape(channels, ni, nj, nk)


def _parts(matrix: csr_matrix) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return matrix.indptr, matrix.indices, matrix.data
