"""What is moved so that the objective falls: the velocity, or the weights of a network that gives it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from bidsapp.geometry import kernels
from bidsapp.geometry.space import Space
from bidsapp.registration.lesion_continuation import Continuation
from bidsapp.registration.network.overfit import Costs, overfit
from bidsapp.registration.network.start import predicted_start
from bidsapp.registration.network.unet import VelocityNet
from bidsapp.registration.network.view import see
from bidsapp.registration.network.weights import GeneralModel, load_model
from bidsapp.registration.objective import Objective
from bidsapp.registration.preparation import Brains
from bidsapp.registration.updates import run_updates
from bidsapp.settings import RegistrationSettings, Stage

LEARNING_RATE = 1e-3
"""Of the network's weights; the paper tuned its own and does not tell it."""
_FLOOR = 1.5
"""Added to Adam's divisor, in root mean squares of the slopes: where they are small, so are the steps."""
_NONE = 1e-20
"""Root mean square of slopes that are none."""

Report = Callable[[dict[str, float]], None]


@runtime_checkable
class Parameterisation(Protocol):
    """How a velocity is found, stage by stage."""

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Coarse to fine."""
        ...

    def first_velocity(self, grid: Space) -> Float[Tensor, "3 i j k"]:
        """Give what the first stage begins with, in voxels of its grid."""
        ...

    def improve(
        self, velocity: Float[Tensor, "3 i j k"], grid: Space, costs: Costs, stage: Stage, report: Report
    ) -> Float[Tensor, "3 i j k"]:
        """Go through the updates of one stage; `report` hears, in the end, the terms before each."""
        ...


@dataclass(frozen=True)
class Field:
    """The velocity itself is moved, by Adam on a field whose Gaussian blur is added to the start.

    Parameters
    ----------
    brains
        What is laid over each other.
    stages
        Coarse to fine.
    model
        Whose prediction is the start; None to start from nothing.
    device
        Where torch computes.
    """

    brains: Brains
    stages: tuple[Stage, ...]
    model: GeneralModel | None
    device: str

    def first_velocity(self, grid: Space) -> Float[Tensor, "3 i j k"]:
        """Give nothing, or what the model predicts."""
        if self.model is None:
            return torch.zeros((3, *grid.shape), device=self.device)
        shown = self.brains.shown(self.model.provenance.sees)
        return predicted_start(self.model, shown, self.brains.start, grid, self.device)

    def improve(
        self,
        velocity: Float[Tensor, "3 i j k"],
        grid: Space,  # noqa: ARG002 - a network needs it to see
        costs: Costs,
        stage: Stage,
        report: Report,
    ) -> Float[Tensor, "3 i j k"]:
        """Add a blurred change to the velocity: updates are smooth by construction.

        Slopes are measured by their root mean square over the grid. Adam alone would stretch the smallest
        to full steps, and with them whatever rounding left in them: results on two kinds of processor would
        part by a fifth with every update.

        In lesions the change is that of the tissue around them, for those objectives that know of lesions.
        """
        weights = _gaussian(stage.smoothing_mm / stage.grid_mm, velocity.device)
        change = torch.zeros_like(velocity, requires_grad=True)
        continued = costs.continuation if isinstance(costs, Objective) else Continuation()
        on_card = velocity.is_cuda
        optimiser = torch.optim.Adam(
            [change],
            lr=stage.step_mm / stage.grid_mm,
            betas=(0.9, 0.95),
            eps=_FLOOR,
            fused=on_card,
            capturable=on_card,
        )

        def update(turn: int) -> dict[str, Tensor]:
            terms = costs.terms(velocity + kernels.smooth(continued(change), weights), turn)
            (slopes,) = torch.autograd.grad(torch.stack(list(terms.values())).sum(), change)
            change.grad = slopes / _root_mean_square(slopes)
            optimiser.step()
            return {name: term.detach() for name, term in terms.items()}

        # the paper's objective picks voxels by flags, whose number the host must know
        is_replayed = isinstance(costs, Objective) and kernels.never_waits(velocity)
        for terms in run_updates(update, stage.iterations, velocity.device if is_replayed else None):
            report(terms)
        return velocity + kernels.smooth(continued(change.detach()), weights)


@dataclass(frozen=True)
class Network:
    """The weights of a network are moved, whose output the velocity is.

    Parameters
    ----------
    brains
        What is laid over each other, and what the network sees.
    stages
        One as a rule; with several the weights go on from stage to stage.
    network
        Where to begin; it is changed.
    sees
        "images" or "labels".
    device
        Where torch computes.

    References
    ----------
    Wielenberg et al. 2026, section 2.4. doi:10.48550/arXiv.2602.12933
    """

    brains: Brains
    stages: tuple[Stage, ...]
    network: VelocityNet
    sees: str
    device: str

    def first_velocity(self, grid: Space) -> Float[Tensor, "3 i j k"]:
        """Ask the network."""
        with torch.no_grad():
            return self.network.to(self.device)(self._see(grid)).float()

    def improve(
        self,
        velocity: Float[Tensor, "3 i j k"],  # noqa: ARG002 - the network gives it
        grid: Space,
        costs: Costs,
        stage: Stage,
        report: Report,
    ) -> Float[Tensor, "3 i j k"]:
        """Over-fit the network."""
        return overfit(
            self.network,
            self._see(grid),
            costs,
            iterations=stage.iterations,
            learning_rate=LEARNING_RATE,
            report=report,
        )

    def _see(self, grid: Space) -> Float[Tensor, "c i j k"]:
        return see(self.sees, self.brains.shown(self.sees), self.brains.start, grid, self.device)


def choose_parameterisation(settings: RegistrationSettings, brains: Brains, device: str) -> Parameterisation:
    """Make ready what the settings ask for.

    A network works at the spacing it was trained at; of a field's stages those coarser than the model's
    spacing are left out, since its prediction stands in for them.

    Raises
    ------
    MissingInputError
        If there is no initial model where one is named.
    DataError
        If it is damaged or something else.
    """
    model = load_model(settings.initial_model) if settings.initial_model else None
    stages = settings.stages
    if settings.parameterisation == "network":
        network = model.network if model else VelocityNet(seed=settings.random_seed)
        if model:
            stages = tuple(replace(stage, grid_mm=model.provenance.spacing_mm) for stage in stages)
        return Network(brains, stages, network, model.provenance.sees if model else "images", device)
    if model:
        fine = tuple(stage for stage in stages if stage.grid_mm <= model.provenance.spacing_mm)
        stages = fine or stages[-1:]
    return Field(brains, stages, model, device)


def _root_mean_square(slopes: Float[Tensor, "3 i j k"]) -> Float[Tensor, ""]:
    """Size of slopes on the whole; summed row by row first, which any number of threads does alike."""
    squares = slopes.square().sum(dim=(2, 3)).sum()
    return (squares / slopes.numel()).sqrt().clamp(min=_NONE)


def _gaussian(sigma_voxels: float, device: torch.device) -> Float[Tensor, " w"]:
    radius = max(1, int(np.ceil(3 * sigma_voxels)))
    offset = torch.arange(-radius, radius + 1, dtype=torch.float32, device=device)
    weights = torch.exp(-0.5 * (offset / sigma_voxels) ** 2)
    return weights / weights.sum()
