"""Over-fitting a stationary velocity to one patient, coarse to fine."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64
from torch import Tensor

from bidsapp.geometry import kernels
from bidsapp.images.alignment import Alignment
from bidsapp.images.volume import Volume
from bidsapp.registration.flow import Flow
from bidsapp.registration.grids import crop_to_labels, pad, refine
from bidsapp.registration.intensities import Intensities
from bidsapp.registration.inversion import unfold
from bidsapp.registration.lesion_levelling import level_lesions
from bidsapp.registration.parameterisation import choose_parameterisation
from bidsapp.registration.preparation import Brains, prepare_objective
from bidsapp.settings import RegistrationSettings

_PER_MM = 1024.0


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
        Template and native scan, to align what the labels leave open, and the lesions, which are kept as
        large as their surroundings are; None to go by the labels alone.
    device
        Where torch computes.
    on_update
        Told about every update.

    Returns
    -------
    alignment
        Both directions of one velocity; no fold in either.

    Raises
    ------
    UsageError
        If a network must see images and there are none.
    MissingInputError, DataError
        If the initial model cannot be used.

    References
    ----------
    Wielenberg et al. 2026, eq. (2), with the label overlap in place of the distance maps' correlation.
    doi:10.48550/arXiv.2602.12933
    """
    box = crop_to_labels(fixed, settings.margin_mm)
    brains = Brains(box, pad(moving), start, images, device)
    found = choose_parameterisation(settings, brains, device)
    grid = box.space.with_spacing(found.stages[0].grid_mm)
    velocity = found.first_velocity(grid)
    iteration = 0
    for number, stage in enumerate(found.stages, start=1):
        finer = box.space.with_spacing(stage.grid_mm)
        velocity, grid = refine(velocity, grid, finer), finer
        flow = Flow(grid, box.space.with_spacing(stage.labels_mm), settings.squaring_steps, device)
        objective = prepare_objective(brains, flow, velocity, stage, settings)

        def report(terms: dict[str, float], stage_number: int = number) -> None:
            nonlocal iteration
            iteration += 1
            on_update(Convergence(stage_number, iteration, terms))

        velocity = found.improve(velocity, grid, objective, stage, report)
    kept = Flow(grid, box.space.with_spacing(settings.field_mm), settings.squaring_steps, device)
    if settings.levels_lesions:
        velocity = level_lesions(velocity, kept, brains)
    return _both_directions(velocity, kept, start)


def _both_directions(
    velocity: Float[Tensor, "3 i j k"], flow: Flow, affine: Float64[np.ndarray, "4 4"]
) -> Alignment:
    """Follow the velocity there and back, let nothing fold, and let the way back undo the way there.

    Trilinear interpolation of a bent map errs to one side. Balanced, the way back is right on average, not
    at the voxels alone but also between them, and its largest error becomes smaller.

    Displacements are rounded to a thousandth of a millimetre, which halves their files; after that, too,
    nothing folds.
    """
    there = unfold(flow(velocity)[1])
    back = unfold(kernels.balance(kernels.invert(there, flow(-velocity)[1])))
    to_world = flow.fine.affine[:3, :3]
    return Alignment(affine, flow.fine, _in_world(there, to_world), _in_world(back, to_world))


def _in_world(
    way: Float32[Tensor, "3 i j k"], to_world: Float64[np.ndarray, "3 3"]
) -> Float32[np.ndarray, "3 i j k"]:
    """Turn voxels into rounded millimetres along the world's axes."""
    turn = torch.from_numpy(to_world * _PER_MM).float().to(way.device)
    parts = (turn @ way.flatten(1)).round_().div_(_PER_MM)
    rounded: np.ndarray = parts.reshape(way.shape).cpu().numpy()
    return rounded
