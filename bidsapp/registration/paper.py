"""The paper's objective: correlation of distance maps, smooth displacement, growth like the surroundings."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, UInt8
from torch import Tensor

from bidsapp.geometry import kernels
from bidsapp.geometry.resample import sample_at
from bidsapp.geometry.space import Space
from bidsapp.images.distance_map import depth_and_index
from bidsapp.images.volume import Volume
from bidsapp.registration.grids import N_LABELS, LabelPair, coarsen, pair_labels
from bidsapp.registration.losses.correlation import negative_correlation
from bidsapp.registration.losses.growth_ratio import jacobian_determinants, strayed_growth
from bidsapp.registration.losses.smoothness import mean_squared_gradient

SIMILARITY_WEIGHT = 0.098
"""Lambda 1 of eq. (1) and (2)."""
SMOOTHNESS_WEIGHT = 0.01
"""Lambda 2, for a gradient in mm per mm: published nowhere, so it is our choice."""
PAIR_WEIGHT = 0.045
"""Lambda 3 of eq. (1)."""
VOLUME_WEIGHT = 0.098
"""Lambda 4 of eq. (2)."""
INDEX_WEIGHT = 1.0
"""Gamma: what one step of the label's number adds to the distance map."""
DEEPEST_MM = 10.0
"""Where depth is clipped, d_max: published nowhere, so it is our choice."""


@dataclass(frozen=True)
class PaperObjective:
    """What a velocity costs, after Wielenberg et al. 2026, eq. (2).

    Parameters
    ----------
    pair
        The label maps and how they lie to each other and to the displacement's grid.
    fixed_map
        Distance map of the atlas at the fixed voxels.
    moving_map
        Distance map of the patient on the native grid.
    counted
        Fixed voxels whose label the patient has, too.
    point_labels
        The atlas label nearest to each point of the displacement's grid.
    follow
        From a velocity to its displacement, in voxels of a grid that may be finer than the velocity's.
    volume_weight
        Lambda 4; 0 for the ablation without that term.
    """

    pair: LabelPair
    fixed_map: Float[Tensor, "fi fj fk"]
    moving_map: Float[Tensor, "mi mj mk"]
    counted: Bool[Tensor, "fi fj fk"]
    point_labels: UInt8[Tensor, "i j k"]
    follow: Callable[[Tensor], Tensor]
    volume_weight: float = VOLUME_WEIGHT

    def terms(
        self,
        velocity: Float[Tensor, "3 i j k"],
        turn: int,  # noqa: ARG002 - every voxel counts in every turn
    ) -> dict[str, Float64[Tensor, ""]]:
        """Give every term, weighted, for a velocity in voxels of its grid."""
        there = self.follow(velocity)
        growth = strayed_growth(jacobian_determinants(there), self.point_labels, N_LABELS)
        return {
            "dissimilarity": SIMILARITY_WEIGHT
            * negative_correlation(self.fixed_map, self._warped_map(there), self.counted),
            "smoothness": SMOOTHNESS_WEIGHT * mean_squared_gradient(there),
            "volume_preservation": self.volume_weight * growth,
        }

    def _warped_map(self, displacement: Float[Tensor, "3 i j k"]) -> Float[Tensor, "fi fj fk"]:
        """Sample the patient's distance map once, linearly, where the displacement sends the fixed voxels.

        Beyond its grid lies background as deep as depth is counted.
        """
        i, j, k = self.fixed_map.shape
        above = kernels.sample_image(
            displacement, self.pair.to_grid, self.moving_map - 1, self.pair.maps, (i, j, k)
        )
        return above + 1


def paper_objective(  # noqa: PLR0913, PLR0917 - two maps, where they lie, how they are compared
    fixed: Volume,
    moving: Volume,
    affine: Float64[np.ndarray, "4 4"],
    grid: Space,
    labels_mm: float,
    follow: Callable[[Tensor], Tensor],
    device: torch.device | str,
) -> PaperObjective:
    """Prepare the paper's objective for one stage.

    Parameters
    ----------
    fixed, moving
        SegAnat label maps: the atlas's, cut to its box, and the patient's, padded with background.
    affine
        Fixed world to moving world, millimetres.
    grid
        Of the displacement.
    labels_mm
        Spacing at which the maps are compared; depths are measured on the full grids before.
    follow
        From a velocity to its displacement, in voxels of `grid`.
    device
        Where torch computes.
    """
    pair = pair_labels(coarsen(fixed, labels_mm), moving, affine, grid, device)
    at_points = fixed.space.world_to_voxel(grid.voxel_centres_mm())
    point_labels = sample_at(fixed.data, at_points, "nearest").reshape(grid.shape).astype(np.uint8)
    return PaperObjective(
        pair=pair,
        fixed_map=torch.from_numpy(coarsen(distance_map(fixed), labels_mm).data).to(device),
        moving_map=torch.from_numpy(distance_map(moving).data).to(device),
        counted=torch.isin(pair.fixed, torch.unique(pair.moving)),
        point_labels=torch.from_numpy(point_labels).to(device),
        follow=follow,
    )


def distance_map(labels: Volume) -> Volume:
    """Give D of eq. (4) with the constants above, on the grid of the labels."""
    return depth_and_index(labels, deepest_mm=DEEPEST_MM, index_weight=INDEX_WEIGHT)
