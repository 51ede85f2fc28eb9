"""Fields read at single points, in plain torch: the readable twin of `compiled.sampling`."""

from itertools import product

import numpy as np
import torch
from torch import Tensor

from bidsapp.geometry.kernels.reference import sample

_NEWTON_STEPS = 30
_HALVINGS = 8
# Corners of the middle tetrahedron in either way of splitting a cube.
_MIDDLE: tuple[tuple[tuple[int, int, int], ...], ...] = (
    ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1)),
    ((1, 1, 0), (0, 1, 1), (1, 0, 1), (0, 0, 0)),
)


def sample_vectors(field: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Interpolate a vector field (3, i, j, k) at voxel positions (n, 3); clamped beyond the border."""
    return sample(_exact(field), _exact(points.T)).T.numpy()


def sample_scalars(data: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Interpolate an image (i, j, k) at voxel positions (n, 3); 0 beyond the outermost centres."""
    inside = ((points >= 0) & (points <= np.array(data.shape) - 1)).all(axis=1)
    sampled = sample(_exact(data)[None], _exact(points.T))[0].numpy()
    return np.where(inside, sampled, 0).astype(np.float32)


def land(
    field: np.ndarray,
    to_field: np.ndarray,
    to_moving: np.ndarray,
    step: np.ndarray,
    first: int,
    shape: tuple[int, int, int],
) -> np.ndarray:
    """Give where the voxels of some planes of a grid land in the moving grid (n, 3)."""
    voxels = np.indices(shape, dtype=np.float64).reshape(3, -1).T + np.array([first, 0, 0])
    moved = sample_vectors(field, voxels @ to_field[:, :3].T + to_field[:, 3])
    return np.asarray(voxels @ to_moving[:, :3].T + to_moving[:, 3] + moved @ step.T)


def nearest(points: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Give the nearest voxel of each position (n, 3), counted in C order; -1 beyond the grid."""
    voxels = np.rint(points)
    inside = ((voxels >= 0) & (voxels < np.array(shape))).all(axis=1)
    i, j, k = np.where(inside[:, None], voxels, 0).astype(np.int64).T
    return np.where(inside, (i * shape[1] + j) * shape[2] + k, -1)


def first_alike(labels: np.ndarray, at: np.ndarray, there: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Give for each position the number of the first step that leads to its label; -1 if none does."""
    result = np.full(at.size, -1, np.int64)
    left = np.arange(at.size)
    for number, step in enumerate(steps):
        is_alike = there[at[left] + step] == labels[left]
        result[left[is_alike]] = number
        left = left[~is_alike]
    return result


def invert_at(field: np.ndarray, targets: np.ndarray, starts: np.ndarray, tolerance: float) -> np.ndarray:
    """Find for each target y (n, 3) the x with ``x + field(x) = y``, in voxels: damped Newton."""
    exact, wanted, x = _exact(field), _exact(targets), _exact(starts).clone()
    active = torch.arange(len(x))
    for _ in range(_NEWTON_STEPS):
        residual, slope = _miss(exact, x[active], wanted[active])
        open_ones = residual.square().sum(dim=1) >= tolerance**2
        open_ones &= torch.linalg.det(slope).abs() >= 1e-6
        active, residual, slope = active[open_ones], residual[open_ones], slope[open_ones]
        if len(active) == 0:
            break
        step = torch.linalg.solve(slope, residual)
        before, moved = residual.square().sum(dim=1), torch.zeros(len(active), dtype=torch.bool)
        for halving in range(_HALVINGS):
            trial = x[active] - 0.5**halving * step
            after = _landed(exact, trial).sub(wanted[active]).square().sum(dim=1)
            better = (after < before) & ~moved
            x[active[better]] = trial[better]
            moved |= better
        active = active[moved]
    return x.numpy()


def invert(field: np.ndarray, start: np.ndarray, tolerance: float) -> np.ndarray:
    """Find at every voxel x, from `start` on, the d with ``d + field(x + d) = 0``, in voxels."""
    inverse = np.empty_like(field)
    for plane in range(field.shape[1]):
        voxels = np.indices((1, *field.shape[2:]), dtype=np.float64).reshape(3, -1).T
        voxels[:, 0] += plane
        begin = start[:, plane].reshape(3, -1).T
        landed = invert_at(field, voxels, voxels + begin, tolerance)
        inverse[:, plane] = (landed - voxels).T.reshape(3, *field.shape[2:])
    return inverse


def _exact(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float64))


def _landed(field: Tensor, x: Tensor) -> Tensor:
    return x + sample(field, x.T).T


def _miss(field: Tensor, x: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """By how much ``x + field(x)`` misses its target (n, 3), and its derivative (n, 3, 3)."""
    at = x.detach().requires_grad_()
    with torch.enable_grad():
        landed = _landed(field, at)
        slopes = [torch.autograd.grad(landed[:, axis].sum(), at, retain_graph=True)[0] for axis in range(3)]
    return landed.detach() - target, torch.stack(slopes, dim=1)


def determinants(field: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Give the volume of each voxel after a displacement, by central differences; one-sided at the border."""
    after = [
        np.stack(np.gradient(field, axis=axis + 1)) + edges[axis].reshape(3, 1, 1, 1) for axis in range(3)
    ]
    return _box(*after)


def tetrahedra(field: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give, for each voxel, its smallest Jacobian and the sum of its negative ones; in voxels."""
    ahead = [np.diff(field, axis=axis + 1) for axis in range(3)]
    for axis in range(3):
        ahead[axis][axis] += 1
    smallest = np.full(field.shape[1:], np.inf, dtype=np.float32)
    negative = np.zeros(field.shape[1:], dtype=np.float32)
    for sides in product((0, 1), repeat=3):
        # Side 1 looks ahead from voxels [0, n - 1), side 0 back from voxels [1, n): the same differences.
        own = tuple(slice(0, -1) if side else slice(1, None) for side in sides)
        edges = [
            ahead[axis][:, *(slice(None) if other == axis else own[other] for other in range(3))]
            for axis in range(3)
        ]
        _note(_box(*edges), own, smallest, negative)
    cube = (slice(0, -1),) * 3
    for corners in _MIDDLE:
        here = [field[:, *(slice(1, None) if up else slice(0, -1) for up in corner)] for corner in corners]
        steps = np.subtract(corners[1:], corners[0])
        edges = [
            moved - here[0] + step[:, None, None, None]
            for moved, step in zip(here[1:], steps.astype(np.float32), strict=True)
        ]
        _note(np.sign(np.linalg.det(steps)) * _box(*edges), cube, smallest, negative)
    return smallest, negative


def _box(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Volume of the box on three edges, negative when they are left-handed."""
    volume: np.ndarray = (a * np.cross(b, c, axis=0)).sum(axis=0)
    return volume


def _note(volume: np.ndarray, own: tuple[slice, ...], smallest: np.ndarray, negative: np.ndarray) -> None:
    smallest[own] = np.minimum(smallest[own], volume)
    negative[own] += np.minimum(volume, 0)
