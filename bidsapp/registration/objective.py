"""The weighted sum that over-fitting lowers, each term kept by name."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64, UInt8
from torch import Tensor

from bidsapp.geometry import kernels
from bidsapp.geometry.space import Space
from bidsapp.geometry.velocity import exponentiate_voxels
from bidsapp.images.volume import Volume
from bidsapp.registration.grids import N_LABELS, LabelPair
from bidsapp.registration.losses.similarity import label_dissimilarity
from bidsapp.registration.losses.smoothness import mean_squared_gradient
from bidsapp.registration.losses.volume_preservation import uneven_growth
from bidsapp.settings import RegistrationSettings


@dataclass(frozen=True)
class Objective:
    """What a velocity costs.

    Parameters
    ----------
    pair
        The label maps to lay over each other.
    cell_labels
        The fixed label in the middle of each cell of the velocity's grid.
    settings
        Weights.
    """

    pair: LabelPair
    cell_labels: UInt8[Tensor, "ci cj ck"]
    settings: RegistrationSettings

    def terms(self, velocity: Float[Tensor, "3 i j k"], phase: int) -> dict[str, Float64[Tensor, ""]]:
        """Give every term, weighted, for a velocity in voxels of its grid.

        Volume is preserved on both ways, to the patient and back: what is gentle one way can fold the other.
        `phase` (0 or 1) chooses which half of all cell corners is looked at.
        """
        steps = self.settings.squaring_steps
        there = exponentiate_voxels(velocity, squaring_steps=steps)
        back = exponentiate_voxels(-velocity, squaring_steps=steps)
        overlap, volume = kernels.label_votes(
            there, self.pair.to_grid, self.pair.fixed, self.pair.moving, self.pair.maps, N_LABELS
        )
        growth = torch.stack([self._uneven_growth(way, phase) for way in (there, back)]).mean()
        return {
            "dissimilarity": label_dissimilarity(overlap, volume, self.pair.fixed_volume, self.pair.present),
            "smoothness": self.settings.smoothness_weight * mean_squared_gradient(velocity),
            "volume_preservation": self.settings.volume_weight * growth,
        }

    def _uneven_growth(self, displacement: Float[Tensor, "3 i j k"], phase: int) -> Float64[Tensor, ""]:
        moments = kernels.log_jacobian_moments(displacement, self.cell_labels, N_LABELS, phase)
        counts = 4.0 * torch.bincount(self.cell_labels.flatten(), minlength=N_LABELS).double()
        return uneven_growth(*moments, counts)


def label_cells(labels: Volume, grid: Space, device: str) -> UInt8[Tensor, "ci cj ck"]:
    """Read the label in the middle of each cell between eight grid points."""
    cells = tuple(size - 1 for size in grid.shape)
    middle = np.indices(cells, dtype=np.float64).reshape(3, -1).T + 0.5
    index = np.rint(labels.space.world_to_voxel(grid.voxel_to_world(middle))).astype(np.int64)
    index = np.clip(index, 0, np.array(labels.space.shape) - 1)
    return torch.from_numpy(labels.data[tuple(index.T)].reshape(cells).astype(np.uint8)).to(device)
