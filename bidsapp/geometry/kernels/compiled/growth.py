"""How much a displacement lets space grow at each voxel: by central differences, and by ten tetrahedra."""

import numba
import numpy as np

from bidsapp.geometry.kernels.compiled.cells import jit, jit_inlined, jit_parallel
from bidsapp.geometry.kernels.compiled.edges import Edge, cross, dot
from bidsapp.geometry.kernels.compiled.stretches import (
    AHEAD_BOTH,
    AHEAD_I,
    AHEAD_J,
    BEHIND_I,
    BEHIND_J,
    HERE,
    STRETCH,
    difference,
    lay,
    make_room,
)

_I, _J, _K = (1, 0, 0), (0, 1, 0), (0, 0, 1)
_I_TO_J, _I_TO_K, _J_TO_K, _J_AND_K, _BACK = (-1, 1, 0), (-1, 0, 1), (0, -1, 1), (0, 1, 1), (-1, -1, 0)
"""Steps between voxels before the displacement."""

Ends = tuple[bool, bool]
"""Whether a voxel has a neighbour behind and one ahead along an axis."""
Spreads = tuple[np.float32, np.float32, np.float32]
"""Per axis one over the voxels between the neighbours behind and ahead: a half inside, one at the border."""


@jit_inlined
def _plus(a: Edge, share: np.float32, b: np.ndarray) -> Edge:
    return share * a[0] + b[0], share * a[1] + b[1], share * a[2] + b[2]


@jit_inlined
def _determinant(rows: np.ndarray, k: int, spreads: Spreads, edges: np.ndarray) -> np.float32:
    """Give the volume of the box on the three edges of a voxel after the displacement."""
    along_i = _plus(difference(rows, BEHIND_I + k, AHEAD_I + k), spreads[0], edges[0])
    along_j = _plus(difference(rows, BEHIND_J + k, AHEAD_J + k), spreads[1], edges[1])
    along_k = _plus(difference(rows, HERE + k - 1, HERE + k + 1), spreads[2], edges[2])
    return dot(along_i, cross(along_j, along_k))


@jit
def _determinants_within(
    rows: np.ndarray, across: tuple[np.float32, np.float32], edges: np.ndarray, out: np.ndarray
) -> None:
    """Look at a stretch as if its row went on at both ends."""
    for k in range(out.size):
        out[k] = _determinant(rows, k + 1, (across[0], across[1], np.float32(0.5)), edges)


@jit
def _determinants_along(
    field: np.ndarray, at: tuple[int, int], rows: np.ndarray, edges: np.ndarray, out: np.ndarray
) -> None:
    """Look at a row (i, j) = `at`."""
    _, ni, nj, nk = field.shape
    i, j = at
    one, half = np.float32(1), np.float32(0.5)
    across = half if 0 < i < ni - 1 else one, half if 0 < j < nj - 1 else one
    for first in range(0, nk, STRETCH):
        n = min(STRETCH, nk - first)
        lay(field, (i, j, first), n, rows)
        _determinants_within(rows, across, edges, out[first : first + n])
        for k in (0, n - 1):
            if first + k == 0 or first + k == nk - 1:
                out[first + k] = _determinant(rows, k + 1, (across[0], across[1], one), edges)


@jit_parallel
def determinants(field: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Give the volume of each voxel after a displacement, by central differences; one-sided at the border.

    Both in the same units: the displacement (3, i, j, k), and the edges of a voxel before it (3, 3), an axis
    of the grid a row.
    """
    _, ni, nj, nk = field.shape
    result = np.empty((ni, nj, nk), np.float32)
    for plane in numba.prange(ni):
        i, rows = np.int64(plane), make_room()
        for j in range(nj):
            _determinants_along(field, (i, j), rows, edges, result[i, j])
    return result


@jit_inlined
def _edge(rows: np.ndarray, start: int, end: int, steps: tuple[int, int, int]) -> Edge:
    """Step from one place to another after the displacement; `steps` are those before it."""
    u, v, w = difference(rows, start, end)
    return u + np.float32(steps[0]), v + np.float32(steps[1]), w + np.float32(steps[2])


@jit_inlined
def _middle(rows: np.ndarray, k: int) -> tuple[np.float32, np.float32]:
    """Give the Jacobians of both middle tetrahedra of the cube ahead of a voxel."""
    here, ahead_i, ahead_j, ahead_both = HERE + k, AHEAD_I + k, AHEAD_J + k, AHEAD_BOTH + k
    a, b = _edge(rows, ahead_i, ahead_j, _I_TO_J), _edge(rows, ahead_i, here + 1, _I_TO_K)
    one = dot(a, cross(b, _edge(rows, ahead_i, ahead_both + 1, _J_AND_K)))
    a, b = _edge(rows, ahead_both, ahead_j + 1, _I_TO_K), _edge(rows, ahead_both, ahead_i + 1, _J_TO_K)
    return one, -dot(a, cross(b, _edge(rows, ahead_both, here, _BACK)))


@jit_inlined
def _look(rows: np.ndarray, k: int, has: tuple[Ends, Ends, Ends]) -> tuple[np.float32, np.float32]:
    """Give the smallest Jacobian of one voxel and the sum of its negative ones."""
    here, zero, beyond = HERE + k, np.float32(0), np.float32(np.inf)
    (behind_i, ahead_i), (behind_j, ahead_j), (behind_k, ahead_k) = has
    into_i, out_i = _edge(rows, BEHIND_I + k, here, _I), _edge(rows, here, AHEAD_I + k, _I)
    into_j, out_j = _edge(rows, BEHIND_J + k, here, _J), _edge(rows, here, AHEAD_J + k, _J)
    into_k, out_k = _edge(rows, here - 1, here, _K), _edge(rows, here, here + 1, _K)
    face = cross(into_j, into_k)
    a = dot(into_i, face) if behind_i and behind_j and behind_k else beyond
    b = dot(out_i, face) if ahead_i and behind_j and behind_k else beyond
    face = cross(into_j, out_k)
    c = dot(into_i, face) if behind_i and behind_j and ahead_k else beyond
    d = dot(out_i, face) if ahead_i and behind_j and ahead_k else beyond
    face = cross(out_j, into_k)
    e = dot(into_i, face) if behind_i and ahead_j and behind_k else beyond
    f = dot(out_i, face) if ahead_i and ahead_j and behind_k else beyond
    face = cross(out_j, out_k)
    g = dot(into_i, face) if behind_i and ahead_j and ahead_k else beyond
    h, one, other = beyond, beyond, beyond
    if ahead_i and ahead_j and ahead_k:
        h, (one, other) = dot(out_i, face), _middle(rows, k)
    least = min(a, b, c, d, e, f, g, h, one, other)
    corners = min(a, zero) + min(b, zero) + min(c, zero) + min(d, zero)
    corners = corners + min(e, zero) + min(f, zero) + min(g, zero) + min(h, zero)
    return least, corners + (min(one, zero) + min(other, zero))


@jit
def _look_within(rows: np.ndarray, smallest: np.ndarray, negative: np.ndarray) -> None:
    """Look at a stretch as if it had neighbours everywhere."""
    both = True, True
    for k in range(smallest.size):
        smallest[k], negative[k] = _look(rows, k + 1, (both, both, both))


@jit
def _look_along(
    field: np.ndarray, at: tuple[int, int], rows: np.ndarray, smallest: np.ndarray, negative: np.ndarray
) -> None:
    """Look at a row (i, j) = `at`."""
    _, ni, nj, nk = field.shape
    i, j = at
    has_i, has_j = (i > 0, i < ni - 1), (j > 0, j < nj - 1)
    for first in range(0, nk, STRETCH):
        n, step = min(STRETCH, nk - first), 1
        lay(field, (i, j, first), n, rows)
        if has_i[0] and has_i[1] and has_j[0] and has_j[1]:
            _look_within(rows, smallest[first : first + n], negative[first : first + n])
            step = max(n - 1, 1)  # which leaves both ends
        for k in range(0, n, step):
            has_k = first + k > 0, first + k < nk - 1
            smallest[first + k], negative[first + k] = _look(rows, k + 1, (has_i, has_j, has_k))


@jit_parallel
def tetrahedra(field: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give, for each voxel, its smallest Jacobian and the sum of its negative ones; in voxels.

    A voxel owns the eight corners made of its edges ahead and behind, and the two middle tetrahedra of the
    cube ahead of it.
    """
    _, ni, nj, nk = field.shape
    smallest = np.empty((ni, nj, nk), np.float32)
    negative = np.empty((ni, nj, nk), np.float32)
    for plane in numba.prange(ni):
        i, rows = np.int64(plane), make_room()
        for j in range(nj):
            _look_along(field, (i, j), rows, smallest[i, j], negative[i, j])
    return smallest, negative
