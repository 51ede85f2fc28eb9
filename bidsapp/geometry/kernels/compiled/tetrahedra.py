"""The ten tetrahedra around each voxel, and whether a displacement turns one of them inside out."""

import numba
import numpy as np

from bidsapp.geometry.kernels.compiled.cells import jit, jit_parallel
from bidsapp.geometry.kernels.compiled.edges import Edge, cross, dot, edges_of


@jit
def _step(field: np.ndarray, here: tuple[int, int, int], to: tuple[int, int, int]) -> Edge:
    """Step from a voxel to another one after the displacement."""
    (a, b, c), (i, j, k) = here, to
    return (
        field[0, i, j, k] - field[0, a, b, c] + np.float32(i - a),
        field[1, i, j, k] - field[1, a, b, c] + np.float32(j - b),
        field[2, i, j, k] - field[2, a, b, c] + np.float32(k - c),
    )


@jit
def _middle(field: np.ndarray, i: int, j: int, k: int) -> tuple[np.float32, np.float32]:
    """Give the Jacobians of both middle tetrahedra of the cube ahead of a voxel."""
    start = i + 1, j, k
    a, b = _step(field, start, (i, j + 1, k)), _step(field, start, (i, j, k + 1))
    one = dot(a, cross(b, _step(field, start, (i + 1, j + 1, k + 1))))
    start = i + 1, j + 1, k
    a, b = _step(field, start, (i, j + 1, k + 1)), _step(field, start, (i + 1, j, k + 1))
    return one, -dot(a, cross(b, _step(field, start, (i, j, k))))


@jit_parallel
def tetrahedra(field: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give, for each voxel, its smallest Jacobian and the sum of its negative ones; in voxels.

    A voxel owns the eight corners made of its edges ahead and behind, and the two middle tetrahedra of the
    cube ahead of it.
    """
    _, ni, nj, nk = field.shape
    smallest = np.empty((ni, nj, nk), np.float32)
    negative = np.empty((ni, nj, nk), np.float32)
    zero, beyond = np.float32(0), np.float32(np.inf)
    for plane in numba.prange(ni):
        i = np.int64(plane)
        has_i = i > 0, i < ni - 1
        for j in range(nj):
            has_j = j > 0, j < nj - 1
            for k in range(nk):
                has_k = k > 0, k < nk - 1
                behind_i, ahead_i, behind_j, ahead_j, behind_k, ahead_k = edges_of(field, i, j, k)
                least, below = beyond, zero
                for b in range(2):
                    for c in range(2):
                        normal = cross(ahead_j if b else behind_j, ahead_k if c else behind_k)
                        for a in range(2):
                            volume = dot(ahead_i if a else behind_i, normal)
                            if not (has_i[a] and has_j[b] and has_k[c]):
                                volume = beyond
                            least, below = min(least, volume), below + min(volume, zero)
                if has_i[1] and has_j[1] and has_k[1]:
                    one, other = _middle(field, i, j, k)
                    least = min(least, one, other)
                    below += min(one, zero) + min(other, zero)
                smallest[i, j, k], negative[i, j, k] = least, below
    return smallest, negative
