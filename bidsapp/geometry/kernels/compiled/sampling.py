"""Read fields at points, and find the point that lands on a target."""

import numba
import numpy as np

from bidsapp.geometry.kernels.compiled.cells import cell, jit, jit_parallel

Position = np.ndarray | tuple[float, float, float]


@jit_parallel
def sample_vectors(field: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Interpolate a vector field (3, i, j, k) at voxel positions (n, 3); clamped beyond the border."""
    result = np.empty(points.shape, np.float64)
    for n in numba.prange(points.shape[0]):
        for axis in range(3):
            result[n, axis] = 0.0
        ci, fi, _ = cell(points[n, 0], field.shape[1])
        cj, fj, _ = cell(points[n, 1], field.shape[2])
        ck, fk, _ = cell(points[n, 2], field.shape[3])
        for a in range(2):
            i, wi = min(ci + a, field.shape[1] - 1), fi if a else 1 - fi
            for b in range(2):
                j, wj = min(cj + b, field.shape[2] - 1), fj if b else 1 - fj
                for c in range(2):
                    k, wk = min(ck + c, field.shape[3] - 1), fk if c else 1 - fk
                    for axis in range(3):
                        result[n, axis] += wi * wj * wk * field[axis, i, j, k]
    return result


@jit_parallel
def sample_scalars(data: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Interpolate an image (i, j, k) at voxel positions (n, 3); 0 beyond the outermost centres."""
    ni, nj, nk = data.shape
    result = np.zeros(points.shape[0], np.float32)
    for n in numba.prange(points.shape[0]):
        x, y, z = points[n, 0], points[n, 1], points[n, 2]
        if x < 0 or y < 0 or z < 0 or x > ni - 1 or y > nj - 1 or z > nk - 1:
            continue
        ci, fi, _ = cell(x, ni)
        cj, fj, _ = cell(y, nj)
        ck, fk, _ = cell(z, nk)
        total = 0.0
        for a in range(2):
            i, wi = min(ci + a, ni - 1), fi if a else 1 - fi
            for b in range(2):
                j, wj = min(cj + b, nj - 1), fj if b else 1 - fj
                for c in range(2):
                    k, wk = min(ck + c, nk - 1), fk if c else 1 - fk
                    total += wi * wj * wk * data[i, j, k]
        result[n] = total
    return result


@jit
def _corners(x: float, size: int) -> tuple[int, int, float, float]:
    """Both neighbours of a clamped position, weight of the upper one and slope (0 beyond the border)."""
    lower, weight, slope = cell(x, size)
    return lower, min(lower + 1, size - 1), weight, slope


@jit
def _between(
    part: np.ndarray,
    along_i: tuple[int, int, float, float],
    along_j: tuple[int, int, float, float],
    along_k: tuple[int, int, float, float],
) -> tuple[float, float, float, float]:
    """One component of a field between eight neighbours, and its slopes along i, j and k."""
    i, i1, fi, si = along_i
    j, j1, fj, sj = along_j
    k, k1, fk, sk = along_k
    v00, v01, v10, v11 = part[i, j, k], part[i, j1, k], part[i1, j, k], part[i1, j1, k]
    d00, d01 = part[i, j, k1] - v00, part[i, j1, k1] - v01
    d10, d11 = part[i1, j, k1] - v10, part[i1, j1, k1] - v11
    v00, v01, v10, v11 = v00 + fk * d00, v01 + fk * d01, v10 + fk * d10, v11 + fk * d11
    v0, v1 = v00 + fj * (v01 - v00), v10 + fj * (v11 - v10)
    d0, d1 = d00 + fj * (d01 - d00), d10 + fj * (d11 - d10)
    rise = (v01 - v00) + fi * ((v11 - v10) - (v01 - v00))
    return v0 + fi * (v1 - v0), si * (v1 - v0), sj * rise, sk * (d0 + fi * (d1 - d0))


@jit_parallel
def land(
    field: np.ndarray,
    to_field: np.ndarray,
    to_moving: np.ndarray,
    step: np.ndarray,
    first: int,
    shape: tuple[int, int, int],
) -> np.ndarray:
    """Give where the voxels of some planes of a grid land in the moving grid (n, 3)."""
    planes, nj, nk = shape
    result = np.empty((planes * nj * nk, 3), np.float64)
    for row in numba.prange(planes * nj):
        i, j = first + row // nj, row % nj
        for k in range(nk):
            x = to_field[0, 0] * i + to_field[0, 1] * j + to_field[0, 2] * k + to_field[0, 3]
            y = to_field[1, 0] * i + to_field[1, 1] * j + to_field[1, 2] * k + to_field[1, 3]
            z = to_field[2, 0] * i + to_field[2, 1] * j + to_field[2, 2] * k + to_field[2, 3]
            along_i = _corners(x, field.shape[1])
            along_j = _corners(y, field.shape[2])
            along_k = _corners(z, field.shape[3])
            u = _between(field[0], along_i, along_j, along_k)[0]
            v = _between(field[1], along_i, along_j, along_k)[0]
            w = _between(field[2], along_i, along_j, along_k)[0]
            at = result[row * nk + k]
            for axis in range(3):
                voxel = to_moving[axis, 0] * i + to_moving[axis, 1] * j + to_moving[axis, 2] * k
                at[axis] = (
                    voxel + to_moving[axis, 3] + step[axis, 0] * u + step[axis, 1] * v + step[axis, 2] * w
                )
    return result


@jit_parallel
def nearest(points: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Give the nearest voxel of each position (n, 3), counted in C order; -1 beyond the grid."""
    ni, nj, nk = shape
    result = np.empty(points.shape[0], np.int64)
    for n in numba.prange(points.shape[0]):
        i, j, k = np.rint(points[n, 0]), np.rint(points[n, 1]), np.rint(points[n, 2])
        inside = i >= 0 and j >= 0 and k >= 0 and i < ni and j < nj and k < nk
        result[n] = (int(i) * nj + int(j)) * nk + int(k) if inside else -1
    return result


@jit_parallel
def first_alike(labels: np.ndarray, at: np.ndarray, there: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Give for each position the number of the first step that leads to its label; -1 if none does."""
    result = np.full(at.size, -1, np.int64)
    for n in numba.prange(at.size):
        for number in range(steps.size):
            if there[at[n] + steps[number]] == labels[n]:
                result[n] = number
                break
    return result


@jit
def _missed(
    field: np.ndarray, target: Position, x: float, y: float, z: float
) -> tuple[tuple[float, float, float], tuple[float, float, float, float, float, float, float, float, float]]:
    """By how much ``x + field(x)`` misses the target, and the derivative of where it lands, row by row."""
    _, ni, nj, nk = field.shape
    i, j, k = _corners(x, ni), _corners(y, nj), _corners(z, nk)
    u, ux, uy, uz = _between(field[0], i, j, k)
    v, vx, vy, vz = _between(field[1], i, j, k)
    w, wx, wy, wz = _between(field[2], i, j, k)
    missed = x + u - target[0], y + v - target[1], z + w - target[2]
    return missed, (1 + ux, uy, uz, vx, 1 + vy, vz, wx, wy, 1 + wz)


@jit
def _invert(
    field: np.ndarray, target: Position, start: Position, tolerance: float
) -> tuple[float, float, float]:
    """Find the position that lands on one target: Newton steps, halved while they make it worse."""
    x, y, z = start[0], start[1], start[2]
    (p, q, r), slopes = _missed(field, target, x, y, z)
    miss = p * p + q * q + r * r
    for _ in range(30):
        if miss < tolerance * tolerance:
            break
        ux, uy, uz, vx, vy, vz, wx, wy, wz = slopes
        a, b, c = vy * wz - vz * wy, vz * wx - vx * wz, vx * wy - vy * wx
        det = ux * a + uy * b + uz * c
        if abs(det) < 1e-6:
            break
        dx = (a * p + (uz * wy - uy * wz) * q + (uy * vz - uz * vy) * r) / det
        dy = (b * p + (ux * wz - uz * wx) * q + (uz * vx - ux * vz) * r) / det
        dz = (c * p + (uy * wx - ux * wy) * q + (ux * vy - uy * vx) * r) / det
        damping, improved = 1.0, False
        for _halving in range(8):
            (p, q, r), slopes = _missed(field, target, x - damping * dx, y - damping * dy, z - damping * dz)
            improved = p * p + q * q + r * r < miss
            if improved:
                break
            damping *= 0.5
        if not improved:
            break
        miss = p * p + q * q + r * r
        x, y, z = x - damping * dx, y - damping * dy, z - damping * dz
    return x, y, z


@jit_parallel
def invert_at(field: np.ndarray, targets: np.ndarray, starts: np.ndarray, tolerance: float) -> np.ndarray:
    """Find for each target y (n, 3) the x with ``x + field(x) = y``, in voxels: damped Newton."""
    result = np.empty_like(starts)
    for n in numba.prange(targets.shape[0]):
        result[n, 0], result[n, 1], result[n, 2] = _invert(field, targets[n], starts[n], tolerance)
    return result


@jit_parallel
def invert(field: np.ndarray, start: np.ndarray, tolerance: float) -> np.ndarray:
    """Find at every voxel x, from `start` on, the d with ``d + field(x + d) = 0``, in voxels."""
    _, ni, nj, nk = field.shape
    result = np.empty_like(field)
    for row in numba.prange(ni * nj):
        i, j = row // nj, row % nj
        for k in range(nk):
            voxel = np.float64(i), np.float64(j), np.float64(k)
            begin = (
                voxel[0] + start[0, i, j, k],
                voxel[1] + start[1, i, j, k],
                voxel[2] + start[2, i, j, k],
            )
            x, y, z = _invert(field, voxel, begin, tolerance)
            result[0, i, j, k], result[1, i, j, k] = x - voxel[0], y - voxel[1]
            result[2, i, j, k] = z - voxel[2]
    return result
