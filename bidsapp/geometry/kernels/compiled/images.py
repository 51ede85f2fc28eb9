"""A moving image read at the points that fixed voxels are sent to, and the way back for gradients."""

import numba
import numpy as np

from bidsapp.geometry.kernels.compiled.cells import jit, jit_parallel
from bidsapp.geometry.kernels.compiled.landing import (
    Maps,
    Placed,
    add_slope,
    land_row,
    make_rows,
    slab_starts,
    slopes_between,
    spread_row,
)


@jit
def _lower(position: float, size: int) -> int:
    """Lower neighbour of a position on the grid, -1 off the grid."""
    if not 0.0 <= position <= size - 1:
        return -1
    return min(int(position), max(size - 2, 0))


@jit_parallel
def sample_image(
    displacement: np.ndarray,
    placed: Placed,
    image: np.ndarray,
    maps: Maps,
    shape: tuple[int, int, int],
) -> np.ndarray:
    """Interpolate `image` trilinearly where the fixed voxels of a grid of `shape` land; 0 off its grid."""
    ni, nj, nk = shape
    mi, mj, mk = image.shape
    result = np.zeros(shape, np.float32)
    for i in numba.prange(ni):
        rows = make_rows(displacement, nk)
        for j in range(nj):
            landing = land_row(displacement, placed, maps, (i, j), (0, nk), rows)
            for k in range(nk):
                x, y, z = landing[0, k], landing[1, k], landing[2, k]
                x0, y0, z0 = _lower(x, mi), _lower(y, mj), _lower(z, mk)
                if min(x0, y0, z0) < 0:
                    continue
                x1, y1, z1 = min(x0 + 1, mi - 1), min(y0 + 1, mj - 1), min(z0 + 1, mk - 1)
                fx, fy, fz = np.float32(x - x0), np.float32(y - y0), np.float32(z - z0)
                gx, gy, gz = np.float32(1) - fx, np.float32(1) - fy, np.float32(1) - fz
                p00 = gz * image[x0, y0, z0] + fz * image[x0, y0, z1]
                p01 = gz * image[x0, y1, z0] + fz * image[x0, y1, z1]
                p10 = gz * image[x1, y0, z0] + fz * image[x1, y0, z1]
                p11 = gz * image[x1, y1, z0] + fz * image[x1, y1, z1]
                result[i, j, k] = gx * (gy * p00 + fy * p01) + fx * (gy * p10 + fy * p11)
    return result


@jit_parallel
def sample_image_adjoint(
    displacement: np.ndarray,
    placed: Placed,
    image: np.ndarray,
    maps: Maps,
    gradient: np.ndarray,
) -> np.ndarray:
    """Pull the gradient with respect to the result of `sample_image` back to the displacement."""
    low, _, _ = placed
    ni, nj, nk = gradient.shape
    mi, mj, mk = image.shape
    starts = slab_starts(low[0], ni)
    result = np.zeros_like(displacement)
    for odd in range(2):
        for pair in numba.prange((starts.size - odd) // 2):
            slab = 2 * pair + odd
            rows, back = make_rows(displacement, nk), np.empty((3, displacement.shape[3]), np.float32)
            for i in range(starts[slab], starts[slab + 1]):
                for j in range(nj):
                    landing = land_row(displacement, placed, maps, (i, j), (0, nk), rows)
                    back[:] = np.float32(0)
                    for k in range(nk):
                        gain = gradient[i, j, k]
                        x, y, z = landing[0, k], landing[1, k], landing[2, k]
                        x0, y0, z0 = _lower(x, mi), _lower(y, mj), _lower(z, mk)
                        if min(x0, y0, z0) < 0 or gain == 0:
                            continue
                        x1, y1, z1 = min(x0 + 1, mi - 1), min(y0 + 1, mj - 1), min(z0 + 1, mk - 1)
                        v000, v001 = image[x0, y0, z0], image[x0, y0, z1]
                        v010, v011 = image[x0, y1, z0], image[x0, y1, z1]
                        v100, v101 = image[x1, y0, z0], image[x1, y0, z1]
                        v110, v111 = image[x1, y1, z0], image[x1, y1, z1]
                        fx, fy, fz = np.float32(x - x0), np.float32(y - y0), np.float32(z - z0)
                        gx, gy, gz = np.float32(1) - fx, np.float32(1) - fy, np.float32(1) - fz
                        values = v000, v001, v010, v011, v100, v101, v110, v111
                        s0, s1, s2 = slopes_between(values, (fx, gx), (fy, gy), (fz, gz))
                        add_slope(back, placed, maps, k, (gain * s0, gain * s1, gain * s2))
                    spread_row(back, placed, (i, j), result)
    return result
