"""The weighted sum that over-fitting lowers, each term kept by name."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Float64, UInt8
from torch import Tensor

from bidsapp.geometry import kernels
from bidsapp.geometry.space import Space
from bidsapp.images.volume import Volume
from bidsapp.registration.flow import Flow
from bidsapp.registration.grids import N_LABELS, LabelPair
from bidsapp.registration.intensities import ImagePair
from bidsapp.registration.lesion_cells import LesionCells
from bidsapp.registration.lesion_cores import LesionCores
from bidsapp.registration.losses.curvature import mean_squared_curvature
from bidsapp.registration.losses.similarity import label_dissimilarity
from bidsapp.registration.losses.smoothness import mean_squared_gradient
from bidsapp.registration.losses.volume_preservation import uneven_growth
from bidsapp.settings import RegistrationSettings


@dataclass(frozen=True)
class Objective:
    """What a velocity costs.

    Parameters
    ----------
    flow
        From the velocity to the displacement.
    pair
        The label maps to lay over each other.
    cell_labels
        The fixed label in the middle of each cell of the velocity's grid.
    image_weight
        Of one minus the local correlation of the intensities.
    settings
        The other weights.
    images
        The intensities to lay over each other; None when only labels are known.
    lesions
        Cells of the lesions and their rings, which grow alike; None without lesions.
    cores
        What lies deep in lesions, whose labels are not compared; None if nothing does.
    """

    flow: Flow
    pair: LabelPair
    cell_labels: UInt8[Tensor, "ci cj ck"]
    image_weight: float
    settings: RegistrationSettings
    images: ImagePair | None = None
    lesions: LesionCells | None = None
    cores: LesionCores | None = None

    def terms(self, velocity: Float[Tensor, "3 i j k"], phase: int) -> dict[str, Float64[Tensor, ""]]:
        """Give every term, weighted, for a velocity in voxels of its grid.

        `phase` (0 or 1) chooses which half of all cell corners is looked at.
        """
        coarse, there = self.flow(velocity)
        pair = self.pair if self.cores is None else self.cores.leave_out(self.pair, there)
        overlap, volume = kernels.label_votes(
            there, pair.to_grid, pair.fixed, pair.moving, pair.maps, N_LABELS
        )
        return {
            "dissimilarity": label_dissimilarity(overlap, volume, pair.fixed_volume, pair.present),
            **self._image_dissimilarity(coarse),
            "smoothness": self._smoothness(velocity),
            "volume_preservation": self.settings.volume_weight * self._uneven_growth(coarse, phase),
            **self._strayed_lesions(coarse, phase),
        }

    def _image_dissimilarity(self, there: Float[Tensor, "3 i j k"]) -> dict[str, Float64[Tensor, ""]]:
        if self.images is None:
            return {}
        return {"image_dissimilarity": self.image_weight * (1 - self.images.correlation(there))}

    def _smoothness(self, velocity: Float[Tensor, "3 i j k"]) -> Float64[Tensor, ""]:
        slope = mean_squared_gradient(velocity)
        bend = mean_squared_curvature(velocity, self.flow.grid.voxel_sizes_mm[0])
        return self.settings.smoothness_weight * slope + self.settings.curvature_weight * bend

    def _uneven_growth(self, displacement: Float[Tensor, "3 i j k"], phase: int) -> Float64[Tensor, ""]:
        moments = kernels.log_jacobian_moments(displacement, self.cell_labels, N_LABELS, phase)
        return uneven_growth(*moments, self._corner_counts)

    @cached_property
    def _corner_counts(self) -> Float64[Tensor, " n"]:
        return 4 * kernels.count_labels(self.cell_labels, N_LABELS)

    def _strayed_lesions(
        self, displacement: Float[Tensor, "3 i j k"], phase: int
    ) -> dict[str, Float64[Tensor, ""]]:
        if self.lesions is None:
            return {}
        strayed = self.lesions.strayed(displacement, phase)
        return {"lesion_preservation": self.settings.lesion_weight * strayed}


def label_cells(labels: Volume, grid: Space, device: torch.device | str) -> UInt8[Tensor, "ci cj ck"]:
    """Read the label in the middle of each cell between eight grid points."""
    cells = tuple(size - 1 for size in grid.shape)
    middle = np.indices(cells, dtype=np.float64).reshape(3, -1).T + 0.5
    index = np.rint(labels.space.world_to_voxel(grid.voxel_to_world(middle))).astype(np.int64)
    index = np.clip(index, 0, np.array(labels.space.shape) - 1)
    return torch.from_numpy(labels.data[tuple(index.T)].reshape(cells).astype(np.uint8)).to(device)
