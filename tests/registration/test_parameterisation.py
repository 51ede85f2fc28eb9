"""What is moved: a field or a network, from nothing or from a general model."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bidsapp.errors import MissingInputError, UsageError
from bidsapp.images.volume import Volume
from bidsapp.registration.deformable import Convergence, align_deformable
from bidsapp.registration.intensities import Intensities
from bidsapp.registration.network.unet import VelocityNet
from bidsapp.registration.network.view import N_CHANNELS
from bidsapp.registration.network.weights import GeneralModel, Provenance, load_model, to_bytes
from bidsapp.registration.parameterisation import Field
from bidsapp.registration.preparation import Brains
from bidsapp.settings import RegistrationSettings, RunSettings, Selection, Stage
from tests.registration.conftest import FIXED, phantom

STAGES = (
    Stage(grid_mm=16.0, labels_mm=4.0, smoothing_mm=16.0, step_mm=1.0, iterations=1),
    Stage(grid_mm=8.0, labels_mm=4.0, smoothing_mm=8.0, step_mm=1.0, iterations=8),
)
SETTINGS = RegistrationSettings(stages=STAGES, field_mm=4.0)


@pytest.fixture(scope="module")
def moving() -> Volume:
    points = FIXED.voxel_centres_mm() + np.array([3.0, -2.0, 1.0])
    return Volume(phantom(points).reshape(FIXED.shape), FIXED)


@pytest.fixture(scope="module")
def images(fixed: Volume, moving: Volume) -> Intensities:
    return Intensities(*(Volume(volume.data.astype(np.float32), FIXED) for volume in (fixed, moving)))


@pytest.fixture(scope="module", params=["images", "labels"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    network = VelocityNet(seed=3, n_channels=N_CHANNELS[request.param])
    with torch.no_grad():
        network.to_velocity.weight.zero_()
        network.to_velocity.bias.copy_(torch.tensor([0.2, 0.0, 0.0]))
    provenance = Provenance(8.0, "test", "overlap", 0, "0", "none", sees=request.param)
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    path.write_bytes(to_bytes(GeneralModel(network, provenance)))
    return path


@pytest.mark.parametrize("objective", ["overlap", "paper"])
def test_an_untrained_network_learns_to_lay_one_brain_over_another(fixed, moving, images, objective):
    history: list[Convergence] = []
    settings = replace(SETTINGS, stages=STAGES[1:], parameterisation="network", objective=objective)
    found = align_deformable(fixed, moving, np.eye(4), settings, images=images, on_update=history.append)
    first, last = (sum(history[number].terms.values()) for number in (0, -1))
    assert last < first
    assert np.abs(found.displacement).max() > 0.1


class Pulled:
    """Costs that rise evenly with a velocity."""

    def __init__(self, pull: torch.Tensor) -> None:
        self.pull = pull

    def terms(self, velocity: torch.Tensor, turn: int) -> dict[str, torch.Tensor]:  # noqa: ARG002
        return {"cost": (self.pull * velocity).sum().double()}


@pytest.mark.parametrize("strength", [1e-6, 1.0, 1e6])
def test_an_update_is_measured_by_how_steep_slopes_are_on_the_whole(fixed, strength):
    """Adam's first step, 1.5 root mean squares of the slopes in its divisor; hardly blurred."""
    stage = Stage(grid_mm=2.0, labels_mm=2.0, smoothing_mm=0.2, step_mm=1.0, iterations=1)
    pull = torch.randn((3, 4, 5, 6), generator=torch.Generator().manual_seed(5))
    field = Field(Brains(fixed, fixed, np.eye(4), None), (stage,), None, "cpu")
    grid, still = FIXED.with_spacing(2.0), torch.zeros((3, 4, 5, 6))
    moved = field.improve(still, grid, Pulled(strength * pull), stage, lambda _: None)
    slopes = pull / pull.square().mean().sqrt()
    torch.testing.assert_close(moved, -0.5 * slopes / (slopes.abs() + 1.5), rtol=1e-4, atol=1e-6)


def test_any_number_of_threads_measures_slopes_alike(fixed):
    stage = Stage(grid_mm=2.0, labels_mm=2.0, smoothing_mm=0.2, step_mm=1.0, iterations=1)
    field = Field(Brains(fixed, fixed, np.eye(4), None), (stage,), None, "cpu")
    threads = torch.get_num_threads()
    for seed in range(8):
        pull = torch.randn((3, 60, 70, 50), generator=torch.Generator().manual_seed(seed))
        moved = []
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            moved.append(field.improve(torch.zeros_like(pull), FIXED, Pulled(pull), stage, lambda _: None))
        torch.set_num_threads(threads)
        assert torch.equal(moved[0], moved[1])
        assert torch.equal(moved[0], moved[2])


def test_where_nothing_pulls_nothing_moves(fixed):
    stage = Stage(grid_mm=2.0, labels_mm=2.0, smoothing_mm=2.0, step_mm=1.0, iterations=2)
    still = torch.zeros((3, 4, 5, 6))
    field = Field(Brains(fixed, fixed, np.eye(4), None), (stage,), None, "cpu")
    assert torch.equal(field.improve(still, FIXED, Pulled(still), stage, lambda _: None), still)


def test_a_field_begins_with_what_the_model_says_and_leaves_coarser_stages_out(fixed, moving, images, model):
    history: list[Convergence] = []
    stages = (STAGES[0], replace(STAGES[1], iterations=0))
    settings = replace(SETTINGS, stages=stages, initial_model=model)
    found = align_deformable(fixed, moving, np.eye(4), settings, images=images, on_update=history.append)
    middle = found.fixed_to_moving(np.zeros((1, 3)))[0]
    assert not history
    assert middle == pytest.approx([0.2 * 8.0, 0.0, 0.0], abs=0.05)


def test_a_network_works_at_the_spacing_it_was_trained_at(fixed, moving, images, model):
    settings = replace(
        SETTINGS, stages=(replace(STAGES[0], iterations=0),), parameterisation="network", initial_model=model
    )
    found = align_deformable(fixed, moving, np.eye(4), settings, images=images)
    assert found.fixed_to_moving(np.zeros((1, 3)))[0] == pytest.approx([1.6, 0.0, 0.0], abs=0.05)


def test_a_model_that_sees_labels_does_without_images(fixed, moving, model):
    settings = replace(SETTINGS, stages=(replace(STAGES[1], iterations=0),), initial_model=model)
    if load_model(model).provenance.sees == "images":
        with pytest.raises(UsageError, match="must see template and scan"):
            align_deformable(fixed, moving, np.eye(4), settings)
    else:
        found = align_deformable(fixed, moving, np.eye(4), settings)
        assert found.fixed_to_moving(np.zeros((1, 3)))[0] == pytest.approx([1.6, 0.0, 0.0], abs=0.05)


def test_a_network_cannot_do_without_images(fixed, moving):
    with pytest.raises(UsageError, match="must see template and scan"):
        align_deformable(fixed, moving, np.eye(4), replace(SETTINGS, parameterisation="network"))


def test_an_initial_model_that_is_not_there_is_refused(fixed, moving, images, tmp_path):
    settings = replace(SETTINGS, initial_model=tmp_path / "none.safetensors")
    with pytest.raises(MissingInputError, match="the initial model must be a file"):
        align_deformable(fixed, moving, np.eye(4), settings, images=images)


def test_the_run_says_what_the_registration_is_told():
    run = RunSettings(
        selection=Selection(bids_dir=Path()), output_dir=Path(), work_dir=Path(), parameterisation="network"
    )
    assert len(run.registration.stages) == 1
    assert run.registration.parameterisation == "network"
    assert replace(run, lesion_handling="none").registration.volume_weight == 0
    assert replace(run, random_seed=5).registration.random_seed == 5
