"""Over-fitting a stationary velocity to one patient, coarse to fine."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from bidsapp.geometry import kernels
from bidsapp.images.alignment import Alignment
from bidsapp.images.volume import Volume
from bidsapp.registration.flow import Flow
from bidsapp.registration.grids import coarsen, crop_to_labels, pad, pair_labels, refine
from bidsapp.registration.intensities import Intensities, pair_images
from bidsapp.registration.inversion import balance, invert, unfold
from bidsapp.registration.objective import Objective, label_cells
from bidsapp.registration.paper import PaperObjective, paper_objective
from bidsapp.settings import RegistrationSettings, Stage

_PER_MM = np.float32(1024)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Convergence:
    """One update of the velocity.

    Parameters
    ----------
    stage
        1 is the coarsest.
    iteration
        Counted over all stages, from 1.
    terms
        Weighted terms of the objective, by name.
    """

    stage: int
    iteration: int
    terms: dict[str, float]


def align_deformable(  # noqa: PLR0913 - two brains, where they lie, how and where to compute
    fixed: Volume,
    moving: Volume,
    start: Float64[np.ndarray, "4 4"],
    settings: RegistrationSettings,
    *,
    images: Intensities | None = None,
    device: str = "cpu",
    on_update: Callable[[Convergence], None] = lambda _: None,
) -> Alignment:
    """Over-fit a diffeomorphic deformation to one patient's label map.

    Parameters
    ----------
    fixed, moving
        SegAnat label maps; the moving one stays on its native grid.
    start
        Affine from the fixed to the moving world, millimetres; it is not changed.
    settings
        Stages and weights.
    images
        Template and native scan, to align what the labels leave open; None to go by the labels alone.
    device
        Where torch computes.
    on_update
        Told about every update.

    Returns
    -------
    alignment
        Both directions of one velocity; no fold in either.

    References
    ----------
    Wielenberg et al. 2026, eq. (2), with the label overlap in place of the distance maps' correlation.
    doi:10.48550/arXiv.2602.12933
    """
    box = crop_to_labels(fixed, settings.margin_mm)
    padded = pad(moving)
    grid = box.space.with_spacing(settings.stages[0].grid_mm)
    velocity = torch.zeros((3, *grid.shape), device=device)
    iteration = 0
    for number, stage in enumerate(settings.stages, start=1):
        finer = box.space.with_spacing(stage.grid_mm)
        velocity, grid = refine(velocity, grid, finer), finer
        flow = Flow(grid, box.space.with_spacing(stage.labels_mm), settings.squaring_steps, device)
        objective = _objective((box, padded), start, flow, stage, settings)
        if isinstance(objective, Objective) and images is not None and stage.image_weight > 0:
            found = flow(velocity)[0], grid
            objective = replace(objective, images=pair_images(images, box, stage.images_mm, start, found))

        def report(terms: dict[str, float], stage_number: int = number) -> None:
            nonlocal iteration
            iteration += 1
            on_update(Convergence(stage_number, iteration, terms))

        velocity = _descend(velocity, objective, stage, report)
    kept = Flow(grid, box.space.with_spacing(settings.field_mm), settings.squaring_steps, device)
    return _both_directions(velocity, kept, start)


def _objective(
    labels: tuple[Volume, Volume],
    start: Float64[np.ndarray, "4 4"],
    flow: Flow,
    stage: Stage,
    settings: RegistrationSettings,
) -> Objective | PaperObjective:
    """Prepare what a stage lowers, from the fixed labels in their box and the padded moving ones."""
    box, padded = labels
    if settings.objective == "paper":
        return paper_objective(
            box, padded, start, flow.fine, stage.labels_mm, lambda velocity: flow(velocity)[1], flow.device
        )
    seen = coarsen(box, stage.labels_mm), coarsen(padded, stage.labels_mm)
    pair = pair_labels(*seen, start, flow.fine, flow.device)
    return Objective(flow, pair, label_cells(box, flow.grid, flow.device), stage.image_weight, settings)


def _descend(
    start: Float[Tensor, "3 i j k"],
    objective: Objective | PaperObjective,
    stage: Stage,
    report: Callable[[dict[str, float]], None],
) -> Float[Tensor, "3 i j k"]:
    """Adam on a field whose Gaussian blur is added to the start: updates are smooth by construction."""
    weights = _gaussian(stage.smoothing_mm / stage.grid_mm, start.device)
    change = torch.zeros_like(start, requires_grad=True)
    optimiser = torch.optim.Adam([change], lr=stage.step_mm / stage.grid_mm, betas=(0.9, 0.99))
    for iteration in range(stage.iterations):
        optimiser.zero_grad()
        terms = objective.terms(start + kernels.smooth(change, weights), iteration % 2)
        torch.autograd.backward(torch.stack(list(terms.values())).sum())
        optimiser.step()
        report({name: term.item() for name, term in terms.items()})
    return start + kernels.smooth(change.detach(), weights)


def _gaussian(sigma_voxels: float, device: torch.device) -> Float[Tensor, " w"]:
    radius = max(1, int(np.ceil(3 * sigma_voxels)))
    offset = torch.arange(-radius, radius + 1, dtype=torch.float32, device=device)
    weights = torch.exp(-0.5 * (offset / sigma_voxels) ** 2)
    return weights / weights.sum()


def _both_directions(
    velocity: Float[Tensor, "3 i j k"], flow: Flow, affine: Float64[np.ndarray, "4 4"]
) -> Alignment:
    """Follow the velocity there and back, let nothing fold, and let the way back undo the way there.

    Displacements are rounded to a thousandth of a millimetre, which halves their files; after that, too,
    nothing folds.
    """
    there = unfold(flow(velocity)[1].cpu().numpy())
    back = unfold(balance(invert(there, start=flow(-velocity)[1].cpu().numpy())))
    to_world = flow.fine.affine[:3, :3]
    displacement, inverse = (
        np.rint(np.einsum("ab,bijk->aijk", to_world * _PER_MM, way)).astype(np.float32) / _PER_MM
        for way in (there, back)
    )
    return Alignment(affine, flow.fine, displacement, inverse)
