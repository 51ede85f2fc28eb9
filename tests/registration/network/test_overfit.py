"""Over-fitting the network: any objective drives it, and it goes where the objective leads."""

from functools import partial

import numpy as np
import pytest
import torch

from bidsapp.geometry.velocity import exponentiate_voxels
from bidsapp.images.volume import Volume
from bidsapp.registration.grids import pad
from bidsapp.registration.network.overfit import overfit
from bidsapp.registration.network.unet import VelocityNet
from bidsapp.registration.network.view import see
from bidsapp.registration.paper import paper_objective
from tests.registration.conftest import FIXED, phantom


class Towards:
    """A cost that is lowest at one constant velocity."""

    def __init__(self, target: float) -> None:
        self.target = target
        self.turns: list[int] = []

    def terms(self, velocity: torch.Tensor, turn: int) -> dict[str, torch.Tensor]:
        self.turns.append(turn)
        return {"distance": (velocity - self.target).square().mean().double()}


def test_the_velocity_goes_where_its_cost_is_lowest_and_every_update_is_told() -> None:
    images = torch.rand((2, 8, 9, 10), generator=torch.Generator().manual_seed(0))
    costs, told = Towards(0.5), list[dict[str, float]]()
    velocity = overfit(
        VelocityNet(seed=0), images, costs, iterations=25, learning_rate=1e-3, report=told.append
    )
    assert len(told) == 25
    assert costs.turns[:5] == [0, 1, 2, 3, 0]
    assert told[0]["distance"] == pytest.approx(0.25, abs=0.02)
    assert (velocity - 0.5).square().mean() < 0.1 * 0.25
    assert not velocity.requires_grad


def test_the_papers_objective_lays_a_shifted_brain_back(fixed: Volume) -> None:
    moving = Volume(phantom(FIXED.voxel_centres_mm() + np.array([4.0, 0, 0])).reshape(FIXED.shape), FIXED)
    grid = FIXED.with_spacing(8.0)
    objective = paper_objective(
        fixed, pad(moving), np.eye(4), grid, 4.0, partial(exponentiate_voxels, squaring_steps=6), "cpu"
    )
    images = [Volume(one.data.astype(np.float32), FIXED) for one in (fixed, moving)]
    told = list[dict[str, float]]()
    velocity = overfit(
        VelocityNet(seed=0),
        see("images", (images[0], images[1]), np.eye(4), grid, "cpu"),
        objective,
        iterations=30,
        learning_rate=1e-3,
        report=told.append,
    )
    assert told[-1]["dissimilarity"] < told[0]["dissimilarity"] - 0.005
    inner = velocity[:, 4:-4, 4:-4, 4:-4].mean(dim=(1, 2, 3))
    assert inner[0] < -0.2  # half a voxel of 8 mm is the whole way
