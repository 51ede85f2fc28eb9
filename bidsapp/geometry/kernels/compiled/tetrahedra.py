"""The ten tetrahedra around each voxel, and whether a displacement turns one of them inside out."""

import numba
import numpy as np

from bidsapp.geometry.kernels.compiled.cells import jit, jit_parallel


@jit
def _volume(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> float:
    """Volume of the box on three edges, negative when they are left-handed."""
    return (
        a[0] * (b[1] * c[2] - b[2] * c[1])
        + a[1] * (b[2] * c[0] - b[0] * c[2])
        + a[2] * (b[0] * c[1] - b[1] * c[0])
    )


@jit
def _edge(field: np.ndarray, at: tuple[int, int, int], to: tuple[int, int, int], out: np.ndarray) -> None:
    """Step from a voxel to another one after the displacement, along the grid's axes in voxels."""
    (a, b, c), (i, j, k) = at, to
    out[0] = field[0, i, j, k] - field[0, a, b, c] + np.float32(i - a)
    out[1] = field[1, i, j, k] - field[1, a, b, c] + np.float32(j - b)
    out[2] = field[2, i, j, k] - field[2, a, b, c] + np.float32(k - c)


@jit_parallel
def tetrahedra(field: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give, for each voxel, its smallest Jacobian and the sum of its negative ones; in voxels.

    A voxel owns the eight corners made of its edges ahead and behind, and the two middle tetrahedra of the
    cube ahead of it.
    """
    _, ni, nj, nk = field.shape
    smallest = np.full((ni, nj, nk), np.float32(np.inf))
    negative = np.zeros((ni, nj, nk), np.float32)
    for plane in numba.prange(ni):
        i = np.int64(plane)
        edges = np.empty((3, 2, 3), np.float32)
        a, b, c = np.empty(3, np.float32), np.empty(3, np.float32), np.empty(3, np.float32)
        for j in range(nj):
            for k in range(nk):
                here = (i, j, k)
                least, below = np.float32(np.inf), np.float32(0)
                if i > 0:
                    _edge(field, (i - 1, j, k), here, edges[0, 0])
                if i < ni - 1:
                    _edge(field, here, (i + 1, j, k), edges[0, 1])
                if j > 0:
                    _edge(field, (i, j - 1, k), here, edges[1, 0])
                if j < nj - 1:
                    _edge(field, here, (i, j + 1, k), edges[1, 1])
                if k > 0:
                    _edge(field, (i, j, k - 1), here, edges[2, 0])
                if k < nk - 1:
                    _edge(field, here, (i, j, k + 1), edges[2, 1])
                for x in range(0 if i > 0 else 1, 2 if i < ni - 1 else 1):
                    for y in range(0 if j > 0 else 1, 2 if j < nj - 1 else 1):
                        for z in range(0 if k > 0 else 1, 2 if k < nk - 1 else 1):
                            volume = _volume(edges[0, x], edges[1, y], edges[2, z])
                            least, below = min(least, volume), below + min(volume, np.float32(0))
                if i < ni - 1 and j < nj - 1 and k < nk - 1:
                    start = (i + 1, j, k)
                    _edge(field, start, (i, j + 1, k), a)
                    _edge(field, start, (i, j, k + 1), b)
                    _edge(field, start, (i + 1, j + 1, k + 1), c)
                    volume = _volume(a, b, c)
                    least, below = min(least, volume), below + min(volume, np.float32(0))
                    start = (i + 1, j + 1, k)
                    _edge(field, start, (i, j + 1, k + 1), a)
                    _edge(field, start, (i + 1, j, k + 1), b)
                    _edge(field, start, here, c)
                    volume = -_volume(a, b, c)
                    least, below = min(least, volume), below + min(volume, np.float32(0))
                smallest[i, j, k], negative[i, j, k] = least, below
    return smallest, negative
