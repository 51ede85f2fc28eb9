"""From a velocity on its grid to the displacement that is compared, saved and checked."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from bidsapp.geometry.space import Space
from bidsapp.geometry.spline import SplineRefinement, spline_refinement
from bidsapp.geometry.velocity import exponentiate_voxels


@dataclass(frozen=True)
class Flow:
    """Follow a velocity by scaling and squaring on its own grid, then read the result on a finer one.

    Between the points of the velocity's grid the displacement is a cubic B-spline: smooth, so that trilinear
    interpolation on the finer grid hardly errs and the inverse undoes it.

    Parameters
    ----------
    grid
        Of the velocity.
    fine
        Of the displacement.
    squaring_steps
        N of scaling and squaring.
    device
        Where torch computes.
    """

    grid: Space
    fine: Space
    squaring_steps: int
    device: torch.device | str
    refinement: SplineRefinement = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "refinement", spline_refinement(self.grid, self.fine, self.device))

    def __call__(
        self, velocity: Float[Tensor, "3 i j k"]
    ) -> tuple[Float[Tensor, "3 i j k"], Float[Tensor, "3 a b c"]]:
        """Give the displacement on both grids, each in voxels of its own."""
        coarse = exponentiate_voxels(velocity, squaring_steps=self.squaring_steps)
        return coarse, self.refinement(coarse)
