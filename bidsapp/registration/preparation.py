"""What one stage of the over-fitting lowers, made ready from everything that is known about both brains."""

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Float64, UInt8
from torch import Tensor

from bidsapp.errors import UsageError
from bidsapp.images.volume import Volume
from bidsapp.registration.flow import Flow
from bidsapp.registration.grids import cell_grid, coarsen, labels_along, lay_on, leave_out_far, pair_labels
from bidsapp.registration.intensities import ImageLevel, Intensities
from bidsapp.registration.lesion_cells import find_lesion_cells
from bidsapp.registration.lesion_continuation import Continuation, continue_into_lesions
from bidsapp.registration.lesion_voxels import find_lesion_voxels, leave_out_lesions
from bidsapp.registration.objective import Objective, Side
from bidsapp.registration.paper import PaperObjective, paper_objective
from bidsapp.settings import RegistrationSettings, Stage

_BESIDE_MM = 1 / 256
"""Eased votes have no slope on a voxel: where both maps lie on one grid, one is read this far beside it."""


@dataclass(frozen=True)
class Brains:
    """Two brains and how they lie to each other.

    Parameters
    ----------
    box
        The fixed labels, cut to the brain and a margin.
    padded
        The moving labels on their native grid, surrounded by background.
    start
        Affine from the fixed to the moving world, millimetres.
    images
        Template and scan, and the lesions; None where labels are all there is.
    device
        Where torch computes.
    """

    box: Volume
    padded: Volume
    start: Float64[np.ndarray, "4 4"]
    images: Intensities | None
    device: str = "cpu"
    _levels: dict[float, ImageLevel] = field(default_factory=dict, init=False)

    @cached_property
    def compared(self) -> Volume:
        """The fixed labels without the background far from the brain."""
        return leave_out_far(self.box)

    @cached_property
    def laid(self) -> Volume:
        """The moving labels on the grid of the box, after the affine step."""
        return lay_on(self.padded, self.start, self.box.space, self.device)

    @cached_property
    def laid_compared(self) -> Volume:
        """The same without the background far from the brain, and without lesions."""
        far = leave_out_far(self.laid)
        if self.lesions is None:
            return far
        return leave_out_lesions(far, self.lesions, self.start, self.device)

    @property
    def lesions(self) -> Volume | None:
        """The native mask; None if it is empty or unknown."""
        mask = None if self.images is None else self.images.lesions
        return mask if mask is not None and mask.data.any() else None

    def level(self, spacing_mm: float) -> ImageLevel | None:
        """Give both images at one spacing, which stages share; None where labels are all there is."""
        if self.images is not None and spacing_mm not in self._levels:
            labels = self.box, self.laid
            self._levels[spacing_mm] = ImageLevel(self.images, labels, self.start, spacing_mm, self.device)
        return self._levels.get(spacing_mm)

    def shown(self, sees: str) -> tuple[Volume, Volume]:
        """Give a network what it sees of both brains.

        Parameters
        ----------
        sees
            "images": template and scan; "labels": the labels of both.

        Raises
        ------
        UsageError
            If it must see images and there are none.
        """
        if sees == "labels":
            return self.box, self.padded
        if self.images is None:
            raise UsageError(
                "a network must see template and scan, got label maps alone: give the images, or leave the "
                "parameterisation at field and the initial model at none"
            )
        return self.images.fixed, self.images.moving


def prepare_objective(
    brains: Brains,
    flow: Flow,
    velocity: Float[Tensor, "3 i j k"],
    stage: Stage,
    settings: RegistrationSettings,
) -> Objective | PaperObjective:
    """Prepare the objective of one stage.

    Parameters
    ----------
    brains
        What is laid over each other.
    flow
        From the velocity's grid to that of the labels.
    velocity
        Found so far: it says which voxels of the atlas lie in a lesion.
    stage
        Spacings and the weight of the images.
    settings
        Which objective, and the other weights.
    """
    if settings.objective == "paper":
        paper = paper_objective(
            *(brains.box, brains.padded, brains.start, flow.fine, stage.labels_mm),
            lambda velocity: flow(velocity)[1],
            flow.device,
        )
        return paper if settings.volume_weight else replace(paper, volume_weight=0.0)
    sides = _from_atlas(brains, flow, velocity, stage), _from_patient(brains, flow, stage)
    continuation = Continuation()
    if brains.lesions is not None:
        found = flow(velocity)[0], flow.grid
        continuation = continue_into_lesions(brains.lesions, brains.box, brains.start, found)
    return Objective(flow, sides, stage.image_weight, settings, continuation)


def _from_atlas(brains: Brains, flow: Flow, velocity: Float[Tensor, "3 i j k"], stage: Stage) -> Side:
    """Look from the atlas's voxels at the patient's native grids."""
    labels = coarsen(brains.compared, stage.labels_mm), coarsen(brains.padded, stage.labels_mm)
    side = Side(
        pair_labels(*labels, brains.start, flow.fine, flow.device),
        _label_cells(brains.box, flow),
    )
    found = flow(velocity)[0], flow.grid
    level = brains.level(stage.images_mm) if stage.image_weight > 0 else None
    if level is not None:
        side = replace(side, images=level.from_atlas(found))
    if brains.lesions is not None:
        side = replace(
            side,
            lesions=find_lesion_cells(brains.lesions, brains.box, brains.start, found),
            left_out=find_lesion_voxels(brains.lesions, labels[1].space, flow.device),
        )
    return side


def _from_patient(brains: Brains, flow: Flow, stage: Stage) -> Side:
    """Look from the patient, as the affine step lays it, at the atlas; the patient's lesions keep still."""
    labels = coarsen(brains.laid_compared, stage.labels_mm), coarsen(brains.box, stage.labels_mm)
    beside = np.eye(4)
    beside[:3, 3] = _BESIDE_MM
    side = Side(
        pair_labels(*labels, beside, flow.fine, flow.device),
        _label_cells(brains.laid, flow),
    )
    level = brains.level(stage.images_mm) if stage.image_weight > 0 else None
    if level is not None:
        side = replace(side, images=level.from_patient(flow.grid))
    if brains.lesions is not None:
        still = torch.zeros((3, *flow.grid.shape), device=flow.device), flow.grid
        side = replace(side, lesions=find_lesion_cells(brains.lesions, brains.laid, brains.start, still))
    return side


def _label_cells(labels: Volume, flow: Flow) -> UInt8[Tensor, "ci cj ck"]:
    """Read the label in the middle of each cell between eight points of the velocity's grid."""
    return torch.from_numpy(labels_along(labels, cell_grid(flow.grid))).to(flow.device)
