"""Fields read at single points, in plain torch: the readable twin of `compiled.sampling`."""

import numpy as np
import torch
from torch import Tensor

from bidsapp.geometry.kernels.reference import sample

_NEWTON_STEPS = 30
_HALVINGS = 8


def sample_vectors(field: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Interpolate a vector field (3, i, j, k) at voxel positions (n, 3); clamped beyond the border."""
    return sample(_exact(field), _exact(points.T)).T.numpy()


def sample_scalars(data: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Interpolate an image (i, j, k) at voxel positions (n, 3); 0 beyond the outermost centres."""
    inside = ((points >= 0) & (points <= np.array(data.shape) - 1)).all(axis=1)
    sampled = sample(_exact(data)[None], _exact(points.T))[0].numpy()
    return np.where(inside, sampled, 0).astype(np.float32)


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
