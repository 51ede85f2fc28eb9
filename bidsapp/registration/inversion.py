"""The last touches on a displacement: no fold, and an inverse that undoes it."""

import logging
from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float32
from scipy.ndimage import binary_dilation, correlate1d, gaussian_filter

from bidsapp.errors import DataError
from bidsapp.geometry import kernels
from bidsapp.geometry.displacement import folded
from bidsapp.geometry.space import Space

_log = logging.getLogger(__name__)
_SHARE = np.array([1, -2, 1], dtype=np.float32) / 12
_LEAST = 0.01
_ROUNDS = 20
_ATTEMPTS = 40
_PATIENCE = 8
_SIGMA_VOXELS = 0.7
_BLOCK = 12
_SLAB_VOXELS = 1_000_000


def invert(
    displacement: Float32[np.ndarray, "3 i j k"], *, start: Float32[np.ndarray, "3 i j k"]
) -> Float32[np.ndarray, "3 i j k"]:
    """Find the displacement that leads back, at every voxel, by Newton steps from a first guess.

    Parameters
    ----------
    displacement, start
        In voxels of their common grid.
    """
    inverse = np.empty_like(displacement)
    _, ni, nj, nk = displacement.shape
    thickness = max(1, _SLAB_VOXELS // (nj * nk))
    for first in range(0, ni, thickness):
        part = start[:, first : first + thickness]
        voxels = np.indices(part.shape[1:], dtype=np.float64).reshape(3, -1).T
        voxels[:, 0] += first
        found = kernels.invert_at(displacement, voxels, voxels + part.reshape(3, -1).T)
        inverse[:, first : first + thickness] = (found - voxels).T.reshape(part.shape)
    return inverse


def balance(displacement: Float32[np.ndarray, "3 i j k"]) -> Float32[np.ndarray, "3 i j k"]:
    """Let trilinear interpolation be right on average: not at the voxels alone, but also between them.

    Of a bent map it errs to one side, by a twelfth of the second differences on average. Taking that from
    the voxels shares the error, and the largest one becomes smaller.
    """
    balanced: np.ndarray = displacement.copy()
    for axis in (1, 2, 3):
        balanced -= correlate1d(displacement, _SHARE, axis=axis, mode="nearest")
    return balanced


def unfold(displacement: Float32[np.ndarray, "3 i j k"]) -> Float32[np.ndarray, "3 i j k"]:
    """Blur a displacement, in voxels of its grid, where it folds and close by, until nothing folds.

    Raises
    ------
    DataError
        If folds remain after all rounds.
    """
    displacement, n_folds = displacement.copy(), 0
    for _ in range(_ROUNDS):
        folds = _folded(displacement)
        n_folds = int(folds.sum())
        if n_folds == 0:
            return displacement
        _log.debug("%d folded cells: blurring the displacement around them", n_folds)
        for window in _windows(folds):
            _unfold_window(displacement[(slice(None), *window)])
    raise DataError(
        f"a deformation without folds must exist, but {n_folds} cells still fold; the label map may "
        "be damaged or belong to another brain: look at it beside the T1w"
    )


def _folded(displacement: Float32[np.ndarray, "3 i j k"]) -> Bool[np.ndarray, "i j k"]:
    _, ni, nj, nk = displacement.shape
    return folded(displacement, Space((ni, nj, nk), np.eye(4)), at_most=_LEAST)


def _windows(folds: Bool[np.ndarray, "i j k"]) -> Iterator[tuple[slice, slice, slice]]:
    """Give a box with room around it for every block of the grid that holds a fold."""
    for block in np.unique(np.argwhere(folds) // _BLOCK, axis=0):
        i, j, k = (slice(max(0, (at - 1) * _BLOCK), (at + 2) * _BLOCK) for at in block)
        yield i, j, k


def _unfold_window(displacement: Float32[np.ndarray, "3 i j k"]) -> None:
    """Calm a part of a displacement in place; its border, which the next window shares, hardly moves.

    First at the folded voxels alone, and further around them only where that is not enough: folds lie in the
    smallest structures, whose few voxels a wide blur would move out of place.
    """
    for attempt in range(_ATTEMPTS):
        near = _folded(displacement)
        if not near.any():
            return
        if attempt >= _PATIENCE:
            near = binary_dilation(near, iterations=attempt // _PATIENCE)
        for part in displacement:
            part[near] += 0.5 * (gaussian_filter(part, _SIGMA_VOXELS)[near] - part[near])
