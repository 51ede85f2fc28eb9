"""Over-fitting the network to one patient: its weights are what is moved, not the velocity."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from bidsapp.registration.network.unet import VelocityNet
from bidsapp.registration.updates import run_updates

GRADIENT_NORM = 0.5
"""Gradients longer than this are shortened to it; the paper's value."""


@runtime_checkable
class Costs(Protocol):
    """Anything that says what a velocity costs, term by term."""

    def terms(self, velocity: Float[Tensor, "3 i j k"], turn: int) -> dict[str, Tensor]:
        """Give every term, weighted; `turn` counts 0, 1, 2, 3, 0 ..."""
        ...


def overfit(
    network: VelocityNet,
    seen: Float[Tensor, "c i j k"],
    costs: Costs,
    *,
    iterations: int,
    learning_rate: float,
    report: Callable[[dict[str, float]], None],
) -> Float[Tensor, "3 i j k"]:
    """Move the network's weights until the velocity it gives for one pair of images costs little.

    Parameters
    ----------
    network
        Where to begin: a general model, or an untrained network, which moves nothing. It is changed.
    seen
        Atlas and patient on the grid of the velocity, as `network.view` gives them.
    costs
        The objective, ours or the paper's.
    iterations
        Number of updates.
    learning_rate
        Of Adam.
    report
        Told, in the end, the terms before every update.

    Returns
    -------
    velocity
        In voxels of its grid, after the last update.

    References
    ----------
    Wielenberg et al. 2026, eq. (2), 1500 updates. doi:10.48550/arXiv.2602.12933
    """
    network.to(seen.device)
    optimiser = torch.optim.Adam(network.parameters(), lr=learning_rate)

    def update(turn: int) -> dict[str, Tensor]:
        optimiser.zero_grad()
        terms = costs.terms(predict_velocity(network, seen), turn)
        torch.autograd.backward(torch.stack(list(terms.values())).sum())
        torch.nn.utils.clip_grad_norm_(network.parameters(), GRADIENT_NORM)
        optimiser.step()
        return {name: term.detach() for name, term in terms.items()}

    for terms in run_updates(update, iterations):
        report(terms)
    with torch.no_grad():
        return predict_velocity(network, seen)


def predict_velocity(
    network: VelocityNet,
    seen: Float[Tensor, "c i j k"],
    *,
    saves_memory: bool = False,
    bfloat16: bool = False,
) -> Float[Tensor, "3 i j k"]:
    """Let the network see a pair of brains, in bfloat16 on CUDA; the velocity is in single precision.

    Parameters
    ----------
    network
        On the device of `seen`.
    seen
        Atlas and patient on the grid of the velocity.
    saves_memory
        Compute parts twice rather than keep them.
    bfloat16
        On a processor, too.
    """
    is_short = bfloat16 or seen.device.type == "cuda"
    with torch.autocast(seen.device.type, dtype=torch.bfloat16, enabled=is_short):
        velocity: Tensor = network(seen, saves_memory=saves_memory)
    return velocity
