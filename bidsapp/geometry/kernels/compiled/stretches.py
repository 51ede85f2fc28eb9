"""A stretch of a row of voxels, with the rows next to it laid out side by side.

All that a stretch looks at is one array with fixed places then, which a compiler needs to know to put the
loop along it onto vector units.
"""

import numpy as np

from bidsapp.geometry.kernels.compiled.cells import jit, jit_inlined
from bidsapp.geometry.kernels.compiled.edges import Edge

STRETCH = 256
_ROOM = STRETCH + 2
"""A voxel before the stretch and one behind it lie there, too."""
HERE, BEHIND_I, AHEAD_I, BEHIND_J, AHEAD_J, AHEAD_BOTH = range(6)
"""The rows: the voxels' own and those next to it. At the grid's border a row stands in for the one beyond."""

Point = tuple[int, int]
"""A row, and the place in it; the stretch begins at 1."""


@jit
def make_room() -> np.ndarray:
    """Make room for the rows."""
    return np.zeros(6 * 3 * _ROOM, np.float32)


@jit_inlined
def _copy(source: np.ndarray, target: np.ndarray) -> None:
    for k in range(target.size):
        target[k] = source[k]


@jit
def _lay_row(field: np.ndarray, at: tuple[int, int, int], rows: np.ndarray, row: int, n: int) -> None:
    """Lay `n` voxels from `at` on into one of the rows, and a neighbour at either end."""
    i, j, first = at
    for axis in range(3):
        source, target = field[axis, i, j], rows[(3 * row + axis) * _ROOM :]
        target[0] = source[max(first - 1, 0)]
        _copy(source[first : first + n], target[1 : n + 1])
        target[n + 1] = source[min(first + n, source.size - 1)]


@jit
def lay(field: np.ndarray, at: tuple[int, int, int], n: int, rows: np.ndarray) -> None:
    """Lay out the stretch of `n` voxels from `at` on of a field (3, i, j, k)."""
    _, ni, nj, _ = field.shape
    i, j, first = at
    up_i, up_j = min(i + 1, ni - 1), min(j + 1, nj - 1)
    _lay_row(field, at, rows, HERE, n)
    _lay_row(field, (max(i - 1, 0), j, first), rows, BEHIND_I, n)
    _lay_row(field, (up_i, j, first), rows, AHEAD_I, n)
    _lay_row(field, (i, max(j - 1, 0), first), rows, BEHIND_J, n)
    _lay_row(field, (i, up_j, first), rows, AHEAD_J, n)
    _lay_row(field, (up_i, up_j, first), rows, AHEAD_BOTH, n)


@jit_inlined
def difference(rows: np.ndarray, start: Point, end: Point) -> Edge:
    """Take what the field is at one point from what it is at another."""
    a, b = 3 * _ROOM * start[0] + start[1], 3 * _ROOM * end[0] + end[1]
    return rows[b] - rows[a], rows[b + _ROOM] - rows[a + _ROOM], rows[b + 2 * _ROOM] - rows[a + 2 * _ROOM]
