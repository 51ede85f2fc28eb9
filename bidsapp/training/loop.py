"""The loop that trains: two heads a step, a check now and then, a checkpoint that survives anything."""

import logging
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from bidsapp.errors import DataError
from bidsapp.geometry.space import Space
from bidsapp.registration.network.overfit import GRADIENT_NORM, predict_velocity
from bidsapp.registration.network.unet import VelocityNet
from bidsapp.registration.network.view import N_CHANNELS
from bidsapp.training.checkpoint import TrainingState, load_checkpoint, save_checkpoint
from bidsapp.training.objective import GeneralObjective
from bidsapp.training.outputs import save_curves
from bidsapp.training.plan import TrainingPlan
from bidsapp.training.scans import Sight, TrainingScan, see_changed, see_plain

logger = logging.getLogger(__name__)

_PER_STEP = 2
_MEMORY = 0.998  # of the average, a step: it reaches back about 500 of them
_ORDER = 1  # keeps the random numbers of the order apart from those of the steps


@dataclass(frozen=True)
class Lesson:
    """What is taught, and with what.

    Parameters
    ----------
    atlas
        On `grid`.
    grid
        Cubic voxels in the atlas's world.
    training
        Heads to learn from, two at least.
    validation
        Heads to be judged by; may be empty.
    """

    atlas: Sight
    grid: Space
    training: Sequence[TrainingScan]
    validation: Sequence[TrainingScan]

    @property
    def names(self) -> list[str]:
        """Every head, in order."""
        return [scan.name for scan in (*self.training, *self.validation)]


def train(lesson: Lesson, plan: TrainingPlan, folder: Path, device: str) -> tuple[VelocityNet, TrainingState]:
    """Train a network, or go on where it stopped.

    Parameters
    ----------
    lesson
        Atlas and heads.
    plan
        Every choice.
    folder
        Where checkpoints and curves are written.
    device
        Where torch computes; on CUDA the network computes in bfloat16, the losses in single precision.

    Returns
    -------
    network, state
        After the last step; the network with the running average of its weights.

    Raises
    ------
    UsageError, DataError
        If the folder's checkpoint belongs to another run, or is damaged.
    DataError
        If the network's velocities are no longer finite.
    """
    state = load_checkpoint(plan, lesson.names, folder)
    network = VelocityNet(seed=plan.random_seed, n_channels=N_CHANNELS[plan.sees])
    if state.step:
        network.load_state_dict(state.network)
        logger.info("going on after step %d", state.step)
    average = deepcopy(network)
    if state.step:
        average.load_state_dict(state.average)
    network.to(device)
    average.to(device)
    optimiser = torch.optim.Adam(network.parameters(), lr=plan.learning_rate)
    if state.step:
        optimiser.load_state_dict(state.optimiser)
    objective = GeneralObjective(lesson.atlas.to(device), plan.objective)
    judged = [see_plain(scan, lesson.grid).to(device) for scan in lesson.validation]
    if not state.step:
        state.validation.append(_check(average, objective, judged, plan, 0))
    with _progress(plan.steps, state.step) as bar:
        for step in range(state.step, plan.steps):
            heads = [head.to(device) for head in _heads_of_step(lesson, plan, step)]
            terms = _update(network, optimiser, objective, heads, plan)
            state.step = step + 1
            _remember(average, network, state.step)
            state.history.append({"step": state.step, **terms})
            bar.set_postfix(loss=f"{sum(terms.values()):.4f}", refresh=False)
            bar.update()
            if state.step % plan.check_every == 0 or state.step == plan.steps:
                state.validation.append(_check(average, objective, judged, plan, state.step))
                _keep(state, network, average, optimiser)
                save_checkpoint(state, plan, lesson.names, folder)
                save_curves(state, folder)
    return average, state


def _remember(average: VelocityNet, network: VelocityNet, step: int) -> None:
    """Keep a running average of the weights: it overlaps better than any single step's, which still tremble.

    References
    ----------
    Polyak and Juditsky 1992, SIAM Journal on Control and Optimization 30. doi:10.1137/0330046
    """
    share = max(1 - _MEMORY, 9 / (9 + step))
    with torch.no_grad():
        for mean, newest in zip(average.parameters(), network.parameters(), strict=True):
            mean.lerp_(newest, share)


def _heads_of_step(lesson: Lesson, plan: TrainingPlan, step: int) -> list[Sight]:
    """Give the two heads of a step, changed at random: seed and step decide everything."""
    n = len(lesson.training)
    per_epoch = n // _PER_STEP
    epoch, place = divmod(step, per_epoch)
    order = np.random.default_rng([plan.random_seed, _ORDER, epoch]).permutation(n)
    rng = np.random.default_rng([plan.random_seed, 0, step])
    chosen = order[_PER_STEP * place : _PER_STEP * (place + 1)]
    return [see_changed(lesson.training[number], lesson.grid, plan, rng) for number in chosen]


def _update(
    network: VelocityNet,
    optimiser: torch.optim.Optimizer,
    objective: GeneralObjective,
    heads: Sequence[Sight],
    plan: TrainingPlan,
) -> dict[str, float]:
    optimiser.zero_grad()
    velocities = [
        predict_velocity(
            network,
            _pair(objective.atlas, head, plan),
            saves_memory=plan.saves_memory,
            bfloat16=plan.bfloat16,
        )
        for head in heads
    ]
    if not all(velocity.isfinite().all() for velocity in velocities):
        raise DataError(
            "the network must give finite velocities, but its training diverged: train again in another "
            "folder with a smaller --learning-rate"
        )
    terms = objective.terms(velocities, heads)
    torch.autograd.backward(torch.stack(list(terms.values())).sum())
    length = torch.nn.utils.clip_grad_norm_(network.parameters(), GRADIENT_NORM)
    if length.isfinite():
        optimiser.step()
    else:
        logger.warning("an update is left out: its gradient is not finite")
    return {name: term.item() for name, term in terms.items()}


def _pair(atlas: Sight, head: Sight, plan: TrainingPlan) -> Float[Tensor, "c i j k"]:
    return torch.cat([atlas.shown(plan.sees), head.shown(plan.sees)])


def _check(
    network: VelocityNet,
    objective: GeneralObjective,
    judged: Sequence[Sight],
    plan: TrainingPlan,
    step: int,
) -> dict[str, float]:
    """Judge the network by heads it never learns from, as they are."""
    with torch.no_grad():
        scores = [
            objective.validation_dice(predict_velocity(network, _pair(objective.atlas, head, plan)), head)
            for head in judged
        ]
    dice = float(np.mean(scores)) if scores else math.nan
    logger.info("step %d: mean overlap of unseen heads %.4f", step, dice)
    return {"step": step, "dice": dice}


def _keep(
    state: TrainingState, network: VelocityNet, average: VelocityNet, optimiser: torch.optim.Optimizer
) -> None:
    state.network, state.average = (
        {name: weight.detach().cpu() for name, weight in each.state_dict().items()}
        for each in (network, average)
    )
    state.optimiser = optimiser.state_dict()


@contextmanager
def _progress(total: int, done: int) -> Iterator[tqdm]:
    with (
        logging_redirect_tqdm(),
        tqdm(total=total, initial=done, unit="step", file=sys.stderr, disable=not sys.stderr.isatty()) as bar,
    ):
        yield bar
