"""A matrix with few entries a row along each axis, one axis after the other."""

import numba
import numpy as np
from scipy.sparse import csr_matrix

from bidsapp.geometry.kernels.compiled.cells import jit, jit_parallel

_STRIP, _ROWS = 512, 64
"""Floats of a row, and rows, that are worked on at once: all that they need lies in the first cache."""
Matrices = tuple[np.ndarray, np.ndarray, np.ndarray]


@jit
def _add_rows(
    row: np.ndarray,
    source: np.ndarray,
    low: int,
    column: np.ndarray,
    weight: np.ndarray,
    first: int,
    last: int,
) -> None:
    """Add the weighted rows of a source from one column on to a row, four at a time."""
    q, size = first, row.size
    while q + 4 <= last:
        a, b, c, d = weight[q], weight[q + 1], weight[q + 2], weight[q + 3]
        one, two = source[column[q], low : low + size], source[column[q + 1], low : low + size]
        three, four = source[column[q + 2], low : low + size], source[column[q + 3], low : low + size]
        for k in range(size):
            row[k] = row[k] + a * one[k] + b * two[k] + c * three[k] + d * four[k]
        q += 4
    while q < last:
        share, other = weight[q], source[column[q], low : low + size]
        for k in range(size):
            row[k] += share * other[k]
        q += 1


@jit_parallel
def _across(start: np.ndarray, column: np.ndarray, weight: np.ndarray, field: np.ndarray) -> np.ndarray:
    """Multiply (n, size, m) along its middle axis, a strip of m at a time."""
    n, _, m = field.shape
    length, strips = start.size - 1, (m + _STRIP - 1) // _STRIP
    result = np.empty((n, length, m), np.float32)
    for p in numba.prange(n * strips):
        source, low = field[p // strips], p % strips * _STRIP
        for at in range(length):
            row = result[p // strips, at, low : min(low + _STRIP, m)]
            row[:] = np.float32(0)
            _add_rows(row, source, low, column, weight, start[at], start[at + 1])
    return result


@jit_parallel
def _within(start: np.ndarray, column: np.ndarray, weight: np.ndarray, field: np.ndarray) -> np.ndarray:
    """Multiply (n, size) along its last axis, some rows at a time, turned so that they lie side by side."""
    n, size = field.shape
    length = start.size - 1
    result = np.empty((n, length), np.float32)
    for tile in numba.prange((n + _ROWS - 1) // _ROWS):
        low = tile * _ROWS
        rows = min(_ROWS, n - low)
        turned, product = np.empty((size, rows), np.float32), np.zeros((length, rows), np.float32)
        for row in range(rows):
            for at in range(size):
                turned[at, row] = field[low + row, at]
        for at in range(length):
            _add_rows(product[at], turned, 0, column, weight, start[at], start[at + 1])
        for row in range(rows):
            for at in range(length):
                result[low + row, at] = product[at, row]
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
