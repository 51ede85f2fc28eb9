"""The options of the alignment and of the lesions, as settings."""

from pathlib import Path

import pytest

from bidsapp.arguments import build_parser
from bidsapp.errors import MissingInputError, UsageError
from bidsapp.requested import read_settings
from bidsapp.settings import RunSettings


def settings(folder: Path, *options: str) -> RunSettings:
    given = [str(folder), str(folder.parent / "out"), "participant", "-w", str(folder.parent / "w"), *options]
    return read_settings(build_parser().parse_args(given), {})


def test_without_options_a_field_is_moved_from_nothing_and_masks_are_used_where_they_are(tmp_path):
    plain = settings(tmp_path)
    assert (plain.parameterisation, plain.initial_model, plain.lesion_handling) == ("field", None, "auto")


def test_parameterisation_model_and_handling_arrive(tmp_path):
    model = tmp_path / "model.safetensors"
    model.touch()
    options = ["--parameterisation", "network", "--initial-model", str(model), "--lesion-handling", "none"]
    chosen = settings(tmp_path, *options)
    assert (chosen.parameterisation, chosen.lesion_handling) == ("network", "none")
    assert chosen.initial_model == model.resolve()
    assert settings(tmp_path, "--initial-model", "none").initial_model is None


def test_a_model_that_is_not_there_is_refused_before_any_scan(tmp_path):
    with pytest.raises(MissingInputError, match="the initial model must be a file or none"):
        settings(tmp_path, "--initial-model", str(tmp_path / "gone"))


def test_an_unknown_handling_is_refused(tmp_path):
    with pytest.raises(UsageError, match="--lesion-handling"):
        settings(tmp_path, "--lesion-handling", "guess")
