"""A model's prediction keeps its millimetres on whatever grid it is wanted."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bidsapp.images.volume import Volume
from bidsapp.registration.network.start import predicted_start
from bidsapp.registration.network.unet import VelocityNet
from bidsapp.registration.network.view import N_CHANNELS
from bidsapp.registration.network.weights import GeneralModel, Provenance
from tests.registration.conftest import FIXED

PROVENANCE = Provenance(
    spacing_mm=8.0, atlas="tiny", objective="paper", steps=1, app_version="0.1", data_licence="CC0"
)


@pytest.mark.parametrize("sees", ["images", "labels"])
@pytest.mark.parametrize("spacing_mm", [4.0, 8.0, 12.0])
def test_the_prediction_moves_as_many_millimetres_on_every_grid(
    fixed: Volume, spacing_mm: float, sees: str
) -> None:
    model = GeneralModel(VelocityNet(seed=0, n_channels=N_CHANNELS[sees]), replace(PROVENANCE, sees=sees))
    torch.nn.init.constant_(model.network.to_velocity.get_parameter("bias"), 0.5)
    torch.nn.init.zeros_(model.network.to_velocity.weight)
    pair = (fixed if sees == "labels" else Volume(fixed.data.astype(np.float32), FIXED),) * 2
    grid = FIXED.with_spacing(spacing_mm)
    velocity = predicted_start(model, pair, np.eye(4), grid, "cpu")
    assert velocity.shape == (3, *grid.shape)
    assert not velocity.requires_grad
    np.testing.assert_allclose(velocity.numpy() * spacing_mm, 0.5 * 8.0, rtol=1e-5)
