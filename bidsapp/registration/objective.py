"""The weighted sum that over-fitting lowers, each term kept by name."""

from dataclasses import dataclass, field
from functools import cached_property

from jaxtyping import Float, Float64, UInt8
from torch import Tensor

from bidsapp.geometry import kernels
from bidsapp.registration.flow import Flow
from bidsapp.registration.grids import N_LABELS, LabelPair
from bidsapp.registration.intensities import ImagePair
from bidsapp.registration.lesion_cells import LesionCells
from bidsapp.registration.lesion_continuation import Continuation
from bidsapp.registration.lesion_voxels import LesionVoxels
from bidsapp.registration.losses.curvature import mean_squared_curvature
from bidsapp.registration.losses.similarity import label_dissimilarity
from bidsapp.registration.losses.smoothness import mean_squared_gradient
from bidsapp.registration.losses.volume_preservation import uneven_growth
from bidsapp.settings import RegistrationSettings


@dataclass(frozen=True)
class Side:
    """What is seen of the alignment from one of the two brains: the one whose voxels are gone through.

    Parameters
    ----------
    pair
        The label maps to lay over each other.
    cell_labels
        Its label in the middle of each cell of the velocity's grid.
    images
        The intensities to lay over each other; None when only labels are known.
    lesions
        Cells of the lesions and their rings, which grow alike; None without lesions.
    left_out
        Lesions, whose labels are not compared, where their places depend on the displacement; None elsewhere.
    """

    pair: LabelPair
    cell_labels: UInt8[Tensor, "ci cj ck"]
    images: ImagePair | None = None
    lesions: LesionCells | None = None
    left_out: LesionVoxels | None = None

    @cached_property
    def corner_counts(self) -> Float64[Tensor, " n"]:
        """How many corners of cells every label has in one phase."""
        return 4 * kernels.count_labels(self.cell_labels, N_LABELS)


@dataclass(frozen=True)
class Objective:
    """What a velocity costs, seen from the atlas and from the patient in turn.

    Seen from one side alone, the voxels of that side find their labels and those of the other do not: what
    is gained there lies between the points that are looked at.

    Parameters
    ----------
    flow
        From the velocity to the displacement.
    sides
        The atlas's, which the velocity leads from, and the patient's, which its negative leads from.
    image_weight
        Of one minus the local correlation of the intensities.
    settings
        The other weights.
    continuation
        What is done to a change of the velocity before it is added: lesions move as what touches them.
    """

    flow: Flow
    sides: tuple[Side, Side]
    image_weight: float
    settings: RegistrationSettings
    continuation: Continuation = field(default_factory=Continuation)

    def terms(self, velocity: Float[Tensor, "3 i j k"], turn: int) -> dict[str, Float64[Tensor, ""]]:
        """Give every term, weighted, for a velocity in voxels of its grid.

        `turn` (0 to 3) chooses the side (atlas, patient, atlas, patient), and which half of all cell corners
        is looked at (the first in 0 and 1).
        """
        side, phase = self.sides[turn % 2], turn // 2
        coarse, there = self.flow(-velocity if turn % 2 else velocity)
        pair = side.pair if side.left_out is None else side.left_out.leave_out(side.pair, there)
        overlap, volume = kernels.label_votes(
            there, pair.to_grid, pair.fixed, pair.moving, pair.maps, N_LABELS, ease=1.0
        )
        moments = kernels.log_jacobian_moments(coarse, side.cell_labels, N_LABELS, phase)
        terms = {
            "dissimilarity": label_dissimilarity(overlap, volume, pair.fixed_volume, pair.present),
            "smoothness": self._smoothness(velocity),
            "volume_preservation": self.settings.volume_weight * uneven_growth(*moments, side.corner_counts),
        }
        if side.images is not None:
            terms["image_dissimilarity"] = self.image_weight * (1 - side.images.correlation(coarse))
        if side.lesions is not None:
            strayed = side.lesions.strayed(coarse, phase)
            terms["lesion_preservation"] = self.settings.lesion_weight * strayed
        return terms

    def _smoothness(self, velocity: Float[Tensor, "3 i j k"]) -> Float64[Tensor, ""]:
        slope = mean_squared_gradient(velocity)
        bend = mean_squared_curvature(velocity, self.flow.grid.voxel_sizes_mm[0])
        return self.settings.smoothness_weight * slope + self.settings.curvature_weight * bend
