"""The last touch on a displacement: no fold."""

import logging
from collections.abc import Iterator
from functools import cache

import numpy as np
import torch
from jaxtyping import Bool, Float32
from scipy.ndimage import binary_dilation, gaussian_filter1d
from torch import Tensor

from bidsapp.errors import DataError
from bidsapp.geometry import kernels

_log = logging.getLogger(__name__)
_LEAST = 0.01
_ROUNDS = 20
_ATTEMPTS = 40
_PATIENCE = 8
_SIGMA_VOXELS = 0.7
_BLOCK = 12
_MARGIN = 8
Box = tuple[slice, slice, slice]


def unfold(displacement: Float32[Tensor, "3 i j k"]) -> Float32[Tensor, "3 i j k"]:
    """Blur a displacement, in voxels of its grid, where it folds and close by, until nothing folds.

    The whole is looked through once; afterwards only what was blurred and what touches it can fold. Where
    nothing folds, the displacement is given back.

    Raises
    ------
    DataError
        If folds remain after all rounds.
    """
    folds = _folded(displacement)
    if not folds.any():
        return displacement
    displacement = displacement.clone()
    for _ in range(_ROUNDS):
        _log.debug("%d folded cells: blurring the displacement around them", int(folds.sum()))
        windows = list(_windows(folds))
        for window in windows:
            displacement[(slice(None), *window)] = _unfold_window(displacement[(slice(None), *window)])
        folds = _folded_near(displacement, windows)
        if not folds.any():
            return displacement
    raise DataError(
        f"a deformation without folds must exist, but {int(folds.sum())} cells still fold; the label map may "
        "be damaged or belong to another brain: look at it beside the T1w"
    )


def _folded(displacement: Float32[Tensor, "3 i j k"]) -> Bool[Tensor, "i j k"]:
    return kernels.smallest_jacobian(displacement) <= _LEAST


def _folded_near(displacement: Float32[Tensor, "3 i j k"], windows: list[Box]) -> Bool[Tensor, "i j k"]:
    """Look for folds in boxes and in the voxels that touch them.

    What lies at the border of a part does not see its neighbours: every part is taken two voxels larger, and
    its outermost voxels have no say but at the border of the grid.
    """
    shape = displacement.shape[1:]
    folds = torch.zeros(shape, dtype=torch.bool, device=displacement.device)
    for window in windows:
        reach = [slice(max(0, along.start - 2), along.stop + 2) for along in window]
        part = _folded(displacement[(slice(None), *reach)].contiguous())
        inner, there = [], []
        for along, size, whole in zip(reach, part.shape, shape, strict=True):
            first = int(along.start > 0)
            last = size - int(along.start + size < whole)
            inner.append(slice(first, last))
            there.append(slice(along.start + first, along.start + last))
        folds[tuple(there)] |= part[tuple(inner)]
    return folds


def _windows(folds: Bool[Tensor, "i j k"]) -> Iterator[Box]:
    """Give a box with room around it for every block of the grid that holds a fold."""
    for block in np.unique(folds.nonzero().cpu().numpy() // _BLOCK, axis=0):
        i, j, k = (slice(max(0, at * _BLOCK - _MARGIN), (at + 1) * _BLOCK + _MARGIN) for at in block)
        yield i, j, k


def _unfold_window(displacement: Float32[Tensor, "3 i j k"]) -> Float32[Tensor, "3 i j k"]:
    """Calm a part of a displacement; its border, which the next window shares, hardly moves.

    First at the folded voxels alone, and further around them only where that is not enough: folds lie in the
    smallest structures, whose few voxels a wide blur would move out of place.
    """
    calm = displacement.contiguous()
    i, j, k = (_blur(size).to(calm.device) for size in calm.shape[1:])
    for attempt in range(_ATTEMPTS):
        near = _folded(calm)
        if not near.any():
            break
        if attempt >= _PATIENCE:
            wide = binary_dilation(near.cpu().numpy(), iterations=attempt // _PATIENCE)
            near = torch.from_numpy(wide).to(calm.device)
        calm = calm + 0.5 * near * (kernels.separable(calm, (i, j, k)) - calm)
    return calm


@cache
def _blur(size: int) -> Float32[Tensor, "n n"]:
    """Give the matrix that blurs an axis of so many voxels, mirrored at its ends."""
    return torch.from_numpy(gaussian_filter1d(np.eye(size, dtype=np.float32), _SIGMA_VOXELS, axis=0))
