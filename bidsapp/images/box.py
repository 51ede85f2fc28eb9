"""The part of a grid that matters."""

import numpy as np
from jaxtyping import Bool


def box_around(flags: Bool[np.ndarray, "i j k"], margin: tuple[int, int, int]) -> tuple[slice, slice, slice]:
    """Give the smallest box that holds all flags, one at least, and a margin in voxels; it ends at the grid.

    Examples
    --------
    >>> flags = np.zeros((4, 5, 6), dtype=np.bool_)
    >>> flags[1, 2, 3:5] = True
    >>> box_around(flags, (0, 1, 2))
    (slice(1, 2, None), slice(1, 4, None), slice(1, 6, None))
    """
    box = []
    for axis, size in enumerate(flags.shape):
        occupied = np.flatnonzero(flags.any(axis=tuple(other for other in range(3) if other != axis)))
        low, high = max(0, occupied[0] - margin[axis]), min(size, occupied[-1] + margin[axis] + 1)
        box.append(slice(int(low), int(high)))
    return box[0], box[1], box[2]
