"""Over-fitting a stationary velocity to one patient, coarse to fine."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64
from scipy.ndimage import binary_dilation, gaussian_filter
from torch import Tensor

from bidsapp.errors import DataError
from bidsapp.geometry import kernels
from bidsapp.geometry.displacement import folded
from bidsapp.geometry.space import Space
from bidsapp.geometry.velocity import exponentiate_voxels
from bidsapp.images.alignment import Alignment
from bidsapp.images.volume import Volume
from bidsapp.registration.grids import coarsen, crop_to_labels, pad, pair_labels, refine
from bidsapp.registration.objective import Objective, label_cells
from bidsapp.settings import RegistrationSettings, Stage

_log = logging.getLogger(__name__)
_UNFOLDING_ROUNDS = 40


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


def align_deformable(
    fixed: Volume,
    moving: Volume,
    start: Float64[np.ndarray, "4 4"],
    settings: RegistrationSettings,
    *,
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
        pair = pair_labels(
            coarsen(box, stage.labels_mm), coarsen(padded, stage.labels_mm), start, grid, device
        )
        objective = Objective(pair, label_cells(box, grid, device), settings)

        def report(terms: dict[str, float], stage_number: int = number) -> None:
            nonlocal iteration
            iteration += 1
            on_update(Convergence(stage_number, iteration, terms))

        velocity = _descend(velocity, objective, stage, report)
    return _both_directions(velocity, grid, start, settings)


def _descend(
    start: Float[Tensor, "3 i j k"],
    objective: Objective,
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
    velocity: Float[Tensor, "3 i j k"],
    grid: Space,
    affine: Float64[np.ndarray, "4 4"],
    settings: RegistrationSettings,
) -> Alignment:
    """Exponentiate both ways; where a fold remains, calm the velocity there and try again.

    Raises
    ------
    DataError
        If folds remain after all rounds.
    """
    n_folds = 0
    for attempt in range(_UNFOLDING_ROUNDS):
        displacement = _world_displacement(velocity, grid, settings)
        inverse = _world_displacement(-velocity, grid, settings)
        folds = folded(displacement, grid) | folded(inverse, grid)
        n_folds = int(folds.sum())
        if n_folds == 0:
            return Alignment(affine, grid, displacement, inverse)
        _log.debug("%d folded cells: smoothing the velocity around them", n_folds)
        velocity = _calm(velocity, folds, reach_voxels=1 + attempt // 8)
    raise DataError(
        f"a deformation without folds must exist, but {n_folds} cells still fold; the label map may be "
        "damaged or belong to another brain: look at it beside the T1w"
    )


def _world_displacement(
    velocity: Float[Tensor, "3 i j k"], grid: Space, settings: RegistrationSettings
) -> Float32[np.ndarray, "3 i j k"]:
    moved = exponentiate_voxels(velocity, squaring_steps=settings.squaring_steps).cpu().numpy()
    return np.einsum("ab,bijk->aijk", grid.affine[:3, :3], moved).astype(np.float32)


def _calm(
    velocity: Float[Tensor, "3 i j k"], folds: np.ndarray, *, reach_voxels: int
) -> Float[Tensor, "3 i j k"]:
    """Move the velocity a quarter of the way to its blur, where it folds and close by."""
    array = velocity.detach().cpu().numpy()
    blend = 0.25 * binary_dilation(folds, iterations=reach_voxels).astype(np.float32)
    blurred = np.stack([gaussian_filter(part, 1.0) for part in array])
    return torch.from_numpy(array + blend * (blurred - array)).to(velocity.device)
