"""Weights come back as they were, and what is damaged or foreign is refused in one sentence."""

from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch

from bidsapp.errors import DataError, MissingInputError
from bidsapp.registration.network.unet import VelocityNet
from bidsapp.registration.network.view import N_CHANNELS
from bidsapp.registration.network.weights import GeneralModel, Provenance, load_model, to_bytes

PROVENANCE = Provenance(
    spacing_mm=4.0, atlas="tiny", objective="paper", steps=7, app_version="0.1", data_licence="CC0"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "model.safetensors"
    file.write_bytes(to_bytes(GeneralModel(VelocityNet(seed=3), PROVENANCE)))
    return file


def test_a_model_comes_back_as_it_was(path: Path) -> None:
    model = load_model(path)
    assert model.provenance == PROVENANCE
    for read, written in zip(
        model.network.state_dict().values(), VelocityNet(seed=3).state_dict().values(), strict=True
    ):
        torch.testing.assert_close(read, written, rtol=0, atol=0)


def test_a_model_that_is_not_there_is_missing_input(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match=r"must be a file, got .* where there is none"):
        load_model(tmp_path / "nowhere.safetensors")


@pytest.mark.parametrize("n_bytes", [0, 5, 200, 100_000])
def test_a_truncated_model_is_refused(path: Path, n_bytes: int) -> None:
    path.write_bytes(path.read_bytes()[:n_bytes])
    with pytest.raises(DataError, match="damaged or something else"):
        load_model(path)


def test_any_other_file_is_refused(path: Path) -> None:
    path.write_bytes(b"PK\x03\x04" + bytes(5000))
    with pytest.raises(DataError, match="damaged or something else"):
        load_model(path)


def test_another_network_is_refused(path: Path) -> None:
    safetensors.torch.save_file({"layer.weight": torch.zeros(3)}, path)
    with pytest.raises(DataError, match="must be a metsatlas velocity network, version 1, got 'another"):
        load_model(path)


def test_a_network_of_other_layers_is_refused(path: Path) -> None:
    model = GeneralModel(VelocityNet(seed=0), PROVENANCE)
    model.network.to_velocity = torch.nn.Conv3d(32, 6, 3)
    path.write_bytes(to_bytes(model))
    with pytest.raises(DataError, match=r"to_velocity.bias is \(6,\) and should be \(3,\)"):
        load_model(path)


def test_a_model_tells_whom_it_learnt_from_and_one_that_does_not_can_still_be_read(path: Path) -> None:
    assert load_model(path).provenance.learnt_from is None
    told = replace(PROVENANCE, learnt_from=("oasis1000", "head-01_dseg"))
    path.write_bytes(to_bytes(GeneralModel(VelocityNet(seed=3), told)))
    assert load_model(path).provenance == told


def test_weights_that_are_not_finite_are_refused(path: Path) -> None:
    network = VelocityNet(seed=0)
    with torch.no_grad():
        network.to_velocity.weight[0, 0, 0, 0, 0] = float("nan")
    path.write_bytes(to_bytes(GeneralModel(network, PROVENANCE)))
    with pytest.raises(DataError, match=r"finite numbers, but to_velocity.weight does not"):
        load_model(path)


def test_a_damaged_provenance_is_refused(path: Path) -> None:
    weights = VelocityNet(seed=0).state_dict()
    for text in ("no json", '{"spacing_mm": 4.0}', '{"spacing_mm": "wide"}', "[1]"):
        kept = {"kind": "metsatlas velocity network, version 1", "provenance": text}
        safetensors.torch.save_file(weights, path, metadata=kept)
        with pytest.raises(DataError, match="its provenance is damaged"):
            load_model(path)


def test_a_model_tells_what_it_sees_and_is_built_for_it(path: Path) -> None:
    assert load_model(path).provenance.sees == "images"
    network = VelocityNet(seed=3, n_channels=N_CHANNELS["labels"])
    told = replace(PROVENANCE, sees="labels")
    path.write_bytes(to_bytes(GeneralModel(network, told)))
    model = load_model(path)
    assert model.provenance == told
    assert model.network(torch.zeros((N_CHANNELS["labels"], 4, 5, 6))).shape == (3, 4, 5, 6)
    path.write_bytes(to_bytes(GeneralModel(network, PROVENANCE)))
    with pytest.raises(DataError, match=r"down_fine.0.weight is \(32, 40, 3, 3, 3\) and should be \(32, 2,"):
        load_model(path)
    with pytest.raises(DataError, match="a network sees images or labels, got 'sounds'"):
        replace(PROVENANCE, sees="sounds")


def test_a_spacing_that_makes_no_grid_is_refused() -> None:
    with pytest.raises(DataError, match="a spacing between 0 and 100 mm"):
        Provenance(
            spacing_mm=0.0, atlas="tiny", objective="paper", steps=7, app_version="0.1", data_licence="CC0"
        )
