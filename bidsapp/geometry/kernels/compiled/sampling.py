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
def _land(field: np.ndarray, x: np.ndarray, out: np.ndarray, slope: np.ndarray) -> None:
    """Value of ``x + field(x)`` into `out` and its 3 x 3 derivative into `slope`."""
    _, ni, nj, nk = field.shape
    ci, fi, si = cell(x[0], ni)
    cj, fj, sj = cell(x[1], nj)
    ck, fk, sk = cell(x[2], nk)
    for axis in range(3):
        out[axis] = x[axis]
        for other in range(3):
            slope[axis, other] = 1.0 if axis == other else 0.0
    for a in range(2):
        i, wi, di = min(ci + a, ni - 1), fi if a else 1 - fi, si if a else -si
        for b in range(2):
            j, wj, dj = min(cj + b, nj - 1), fj if b else 1 - fj, sj if b else -sj
            for c in range(2):
                k, wk, dk = min(ck + c, nk - 1), fk if c else 1 - fk, sk if c else -sk
                for axis in range(3):
                    u = field[axis, i, j, k]
                    out[axis] += wi * wj * wk * u
                    slope[axis, 0] += di * wj * wk * u
                    slope[axis, 1] += wi * dj * wk * u
                    slope[axis, 2] += wi * wj * dk * u


@jit_parallel
def invert_at(field: np.ndarray, targets: np.ndarray, starts: np.ndarray, tolerance: float) -> np.ndarray:
    """Find for each target y (n, 3) the x with ``x + field(x) = y``, in voxels: damped Newton."""
    result = starts.copy()
    for n in numba.prange(targets.shape[0]):
        x, trial = starts[n].copy(), np.empty(3)
        landed, slope = np.empty(3), np.empty((3, 3))
        step, other = np.empty(3), np.empty((3, 3))
        _land(field, x, landed, slope)
        miss = ((landed - targets[n]) ** 2).sum()
        for _ in range(30):
            if miss < tolerance * tolerance:
                break
            r = landed - targets[n]
            det = (
                slope[0, 0] * (slope[1, 1] * slope[2, 2] - slope[1, 2] * slope[2, 1])
                - slope[0, 1] * (slope[1, 0] * slope[2, 2] - slope[1, 2] * slope[2, 0])
                + slope[0, 2] * (slope[1, 0] * slope[2, 1] - slope[1, 1] * slope[2, 0])
            )
            if abs(det) < 1e-6:
                break
            for e in range(3):
                p, q = (e + 1) % 3, (e + 2) % 3
                total = 0.0
                for y in range(3):
                    v, w = (y + 1) % 3, (y + 2) % 3
                    total += (slope[v, p] * slope[w, q] - slope[v, q] * slope[w, p]) * r[y]
                step[e] = total / det
            damping, improved, new = 1.0, False, miss
            for _halving in range(8):
                for axis in range(3):
                    trial[axis] = x[axis] - damping * step[axis]
                _land(field, trial, landed, other)
                new = ((landed - targets[n]) ** 2).sum()
                if new < miss:
                    improved = True
                    break
                damping *= 0.5
            if not improved:
                break
            miss = new
            x[:] = trial
            slope[:] = other
        result[n] = x
    return result
