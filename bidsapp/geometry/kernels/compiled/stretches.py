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
HERE, BEHIND_I, AHEAD_I, BEHIND_J, AHEAD_J, AHEAD_BOTH = range(0, 6 * 3 * _ROOM, 3 * _ROOM)
"""Where the rows begin: the voxels' own and those next to it. The stretch begins one place farther.
At the grid's border a row stands in for the one beyond."""


@jit
def make_room() -> np.ndarray:
    """Make room for the rows."""
    return np.zeros(6 * 3 * _ROOM, np.float32)


@jit_inlined
def _copy(source: np.ndarray, target: np.ndarray) -> None:
    for k in range(target.size):
        target[k] = source[k]


@jit
def lay(field: np.ndarray, at: tuple[int, int, int], n: int, rows: np.ndarray) -> None:
    """Lay out the stretch of `n` voxels from `at` on of a field (3, i, j, k)."""
    _, ni, nj, nk = field.shape
    i, j, first = at
    up_i, up_j = min(i + 1, ni - 1), min(j + 1, nj - 1)
    places = (i, j), (max(i - 1, 0), j), (up_i, j), (i, max(j - 1, 0)), (i, up_j), (up_i, up_j)
    for row in range(6):
        for axis in range(3):
            source, start = field[axis, places[row][0], places[row][1]], (3 * row + axis) * _ROOM
            rows[start] = source[max(first - 1, 0)]
            _copy(source[first : first + n], rows[start + 1 : start + n + 1])
            rows[start + n + 1] = source[min(first + n, nk - 1)]


@jit_inlined
def difference(rows: np.ndarray, start: int, end: int) -> Edge:
    """Take what the field is at one place from what it is at another."""
    return (
        rows[end] - rows[start],
        rows[end + _ROOM] - rows[start + _ROOM],
        rows[end + 2 * _ROOM] - rows[start + 2 * _ROOM],
    )
