"""What all compiled operations share: how they are compiled, how work is cut, where a position lies.

Work is cut into a fixed number of slabs, whatever the number of threads, and partial sums are added in the
order of the slabs: results do not depend on how many threads run.
"""

import numba
import numpy as np

N_SLABS = 16

# Sums are neither reordered nor fused: a kernel just compiled and the same one from the cache are optimised
# apart and would round differently, and the first run on a machine must give the tables of the second.
_FAST = {"nnan", "ninf", "nsz"}
# numpy's errors: a test for a division by zero at every voxel would keep loops off the vector units.
jit = numba.njit(cache=True, fastmath=_FAST, nogil=True, error_model="numpy")
jit_parallel = numba.njit(cache=True, fastmath=_FAST, nogil=True, error_model="numpy", parallel=True)
# Written out where it is called: a loop that calls anything stays off the vector units.
jit_inlined = numba.njit(cache=True, fastmath=_FAST, nogil=True, error_model="numpy", forceinline=True)


@jit
def in_order(parts: np.ndarray) -> np.ndarray:
    """Sum (n, m) over n, one after the other; numba would split a ``sum`` by threads."""
    total = np.zeros(parts.shape[1], parts.dtype)
    for n in range(parts.shape[0]):
        for m in range(parts.shape[1]):
            total[m] += parts[n, m]
    return total


@jit
def cell(position: float, size: int) -> tuple[int, np.float32, np.float32]:
    """Lower corner, weight of the upper corner and slope (0 beyond the border) of a clamped position."""
    if position <= 0.0:
        return 0, np.float32(0.0), np.float32(0.0)
    if position >= size - 1:
        return max(size - 2, 0), np.float32(1.0 if size > 1 else 0.0), np.float32(0.0)
    lower = int(position)
    return lower, np.float32(position - lower), np.float32(1.0)
