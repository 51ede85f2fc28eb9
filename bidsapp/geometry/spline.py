"""Cubic B-splines: a smooth field between few grid points."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64
from scipy.ndimage import map_coordinates
from torch import Tensor

from bidsapp.geometry import kernels
from bidsapp.geometry.space import Space


@dataclass(frozen=True)
class SplineRefinement:
    """Evaluate a vector field on a finer grid as a cubic B-spline whose coefficients are its grid values.

    The result is smooth to the second derivative, never overshoots, and is exact for constant and, away from
    the border, for linear fields. Beyond the border the coefficients repeat.

    Parameters
    ----------
    weights
        Per axis, what each coarse index (columns) gives to each fine index (rows). The first also holds how
        many times longer a vector of coarse voxels is when told in fine ones.

    References
    ----------
    Unser 1999, IEEE Signal Processing Magazine 16:22-38 (eq. 3). doi:10.1109/79.799930
    """

    weights: tuple[Float[Tensor, "a i"], Float[Tensor, "b j"], Float[Tensor, "c k"]]

    def __call__(self, field: Float[Tensor, "3 i j k"]) -> Float[Tensor, "3 a b c"]:
        """Go from the coarse to the fine grid; differentiable."""
        return kernels.separable(field, self.weights)


def spline_refinement(coarse: Space, fine: Space, device: torch.device | str) -> SplineRefinement:
    """Prepare the way from a coarse grid of cubic voxels to a fine one with the same axes."""
    shift = coarse.inverse_affine @ fine.affine
    weights = [
        torch.from_numpy(_weights(shift[a, a] * np.arange(fine.shape[a]) + shift[a, 3], coarse.shape[a]))
        for a in range(3)
    ]
    weights[0] *= coarse.voxel_sizes_mm[0] / fine.voxel_sizes_mm[0]
    along_i, along_j, along_k = (matrix.float().to(device) for matrix in weights)
    return SplineRefinement((along_i, along_j, along_k))


def slopes_at(
    field: Float32[np.ndarray, "c i j k"], points: Float64[np.ndarray, "n 3"], step: float
) -> Float64[np.ndarray, "n c 3"]:
    """Differentiate the same spline at points of the coarse grid, in voxels, by central differences.

    Parameters
    ----------
    field
        Coefficients.
    points
        Voxel positions; beyond the border the coefficients repeat.
    step
        How far, in voxels, to either side.

    Examples
    --------
    >>> ramp = np.broadcast_to(np.arange(9.0)[:, None, None], (1, 9, 9, 9)).astype(np.float32)
    >>> slopes_at(ramp, np.array([[4.2, 4.0, 3.7]]), 0.5).round(6).tolist()
    [[[1.0, 0.0, 0.0]]]
    """
    slopes = np.empty((len(points), len(field), 3))
    for axis, ahead in enumerate(step * np.eye(3)):
        for channel, part in enumerate(field):
            there, back = (
                map_coordinates(part, at.T, order=3, prefilter=False, mode="nearest", output=np.float64)
                for at in (points + ahead, points - ahead)
            )
            slopes[:, channel, axis] = (there - back) / (2 * step)
    return slopes


def _weights(position: Float64[np.ndarray, " a"], size: int) -> Float64[np.ndarray, "a i"]:
    """Weights of the four coefficients around each position; those beyond the border fall to the last."""
    position = np.clip(position, 0, size - 1)
    lower = np.floor(position).astype(int)
    f = position - lower
    taps = np.stack([(1 - f) ** 3, 3 * f**3 - 6 * f**2 + 4, 1 + 3 * f + 3 * f**2 - 3 * f**3, f**3]) / 6
    matrix = np.zeros((position.size, size))
    for tap, share in enumerate(taps):
        np.add.at(matrix, (np.arange(position.size), np.clip(lower + tap - 1, 0, size - 1)), share)
    return matrix
