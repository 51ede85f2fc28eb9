"""Read fields at points, and find the point that lands on a target."""

import numba
import numpy as np

from bidsapp.geometry.kernels.compiled.cells import cell, jit, jit_parallel


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
def _along_k(part: np.ndarray, i: int, j: int, k: tuple[int, int], f: float) -> tuple[float, float]:
    """Value and slope between two neighbours along k."""
    near = part[i, j, k[0]]
    step = part[i, j, k[1]] - near
    return near + f * step, step


@jit
def _land(part: np.ndarray, x: tuple[float, float, float]) -> tuple[float, float, float, float]:
    """One component of a field at a voxel position, and its slopes along each axis; clamped at the border."""
    ni, nj, nk = part.shape
    i, fi, si = cell(x[0], ni)
    j, fj, sj = cell(x[1], nj)
    k, fk, sk = cell(x[2], nk)
    i1, j1, ks = min(i + 1, ni - 1), min(j + 1, nj - 1), (k, min(k + 1, nk - 1))
    v00, d00 = _along_k(part, i, j, ks, fk)
    v01, d01 = _along_k(part, i, j1, ks, fk)
    v10, d10 = _along_k(part, i1, j, ks, fk)
    v11, d11 = _along_k(part, i1, j1, ks, fk)
    v0, v1 = v00 + fj * (v01 - v00), v10 + fj * (v11 - v10)
    d0, d1 = d00 + fj * (d01 - d00), d10 + fj * (d11 - d10)
    rise = (v01 - v00) + fi * ((v11 - v10) - (v01 - v00))
    return v0 + fi * (v1 - v0), si * (v1 - v0), sj * rise, sk * (d0 + fi * (d1 - d0))


@jit
def _missed(
    field: np.ndarray, target: np.ndarray, x: float, y: float, z: float
) -> tuple[tuple[float, float, float], tuple[float, float, float, float, float, float, float, float, float]]:
    """By how much ``x + field(x)`` misses the target, and the derivative of where it lands, row by row."""
    u, ux, uy, uz = _land(field[0], (x, y, z))
    v, vx, vy, vz = _land(field[1], (x, y, z))
    w, wx, wy, wz = _land(field[2], (x, y, z))
    missed = x + u - target[0], y + v - target[1], z + w - target[2]
    return missed, (1 + ux, uy, uz, vx, 1 + vy, vz, wx, wy, 1 + wz)


@jit
def _invert(
    field: np.ndarray, target: np.ndarray, start: np.ndarray, tolerance: float
) -> tuple[float, float, float]:
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
