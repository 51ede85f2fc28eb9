"""Edges between neighbouring voxels after a displacement, along the grid's axes in voxels."""

import numpy as np

from bidsapp.geometry.kernels.compiled.cells import jit

Edge = tuple[np.float32, np.float32, np.float32]


@jit
def edge(u: np.ndarray, axis: int, here: tuple[int, int, int], there: tuple[int, int, int]) -> Edge:
    """Step between two neighbours along an axis after the displacement; undisplaced if both are one point."""
    (i, j, k), (a, b, c) = here, there
    one, none = np.float32(1), np.float32(0)
    return (
        u[0, a, b, c] - u[0, i, j, k] + (one if axis == 0 else none),
        u[1, a, b, c] - u[1, i, j, k] + (one if axis == 1 else none),
        u[2, a, b, c] - u[2, i, j, k] + (one if axis == 2 else none),
    )


@jit
def edges_of(u: np.ndarray, i: int, j: int, k: int) -> tuple[Edge, Edge, Edge, Edge, Edge, Edge]:
    """Give the edges behind and ahead of a point along each axis."""
    _, ni, nj, nk = u.shape
    here = i, j, k
    return (
        edge(u, 0, (max(i - 1, 0), j, k), here), edge(u, 0, here, (min(i + 1, ni - 1), j, k)),
        edge(u, 1, (i, max(j - 1, 0), k), here), edge(u, 1, here, (i, min(j + 1, nj - 1), k)),
        edge(u, 2, (i, j, max(k - 1, 0)), here), edge(u, 2, here, (i, j, min(k + 1, nk - 1))),
    )  # fmt: skip


@jit
def cross(a: Edge, b: Edge) -> Edge:
    """Give the normal of the face on two edges, as long as the face is large."""
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


@jit
def dot(a: Edge, b: Edge) -> np.float32:
    """Give the product of two edges; of one with a normal it is the volume of the box on three edges."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
