"""Cubic B-splines: a smooth field between few grid points."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64
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
