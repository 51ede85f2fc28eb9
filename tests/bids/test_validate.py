import json
import sys
from pathlib import Path

import numpy as np
import pytest

from bidsapp.bids import validate
from bidsapp.bids.validate import validate_dataset
from bidsapp.errors import MissingInputError, ValidationError


@pytest.fixture
def valid(dataset):
    """Give a dataset that keeps the standard."""
    dataset.write_volume("sub-01/anat/sub-01_T1w.nii.gz", np.ones((4, 5, 6), np.float32))
    return dataset


def pretend(tmp_path, monkeypatch, program):
    """Put another program in the validator's place."""
    path = tmp_path / validate.PROGRAM
    path.write_text(f"#!/bin/sh\n{program}\n", encoding="utf-8")
    path.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))


def test_a_valid_dataset_passes(valid):
    validate_dataset(valid.root)


def test_a_valid_derivative_dataset_passes(valid):
    folder = valid.describe("derivatives/seg")
    valid.write_volume(
        "derivatives/seg/sub-01/anat/sub-01_desc-aseg_dseg.nii.gz", np.ones((4, 5, 6), np.int16)
    )
    validate_dataset(folder)


def test_an_invalid_dataset_is_refused_with_file_reason_and_way_out(valid):
    valid.touch("sub-01/anat/sub-01_nonsense.nii.gz")
    with pytest.raises(
        ValidationError,
        match=r"(?s)/sub-01/anat/sub-01_nonsense.nii.gz: .*NOT_INCLUDED .*--skip-bids-validation",
    ):
        validate_dataset(valid.root)


def test_a_dataset_without_description_is_refused(valid):
    (valid.root / "dataset_description.json").unlink()
    with pytest.raises(ValidationError, match="MISSING_DATASET_DESCRIPTION"):
        validate_dataset(valid.root)


def test_only_the_first_five_errors_are_shown(valid):
    valid.touch(*(f"code{n}/x.nii.gz" for n in range(8)))
    with pytest.raises(ValidationError) as caught:
        validate_dataset(valid.root)
    words = str(caught.value)
    assert words.count("/code") == 5
    assert "/code0/x.nii.gz" in words
    assert "more. Mend them" in words


def test_links_to_nothing_are_no_errors(valid):
    valid.link_to_nothing("sub-01/anat/sub-01_T2w.nii.gz")
    validate_dataset(valid.root)


def test_a_missing_dataset_is_refused(tmp_path):
    with pytest.raises(MissingInputError, match="does not exist"):
        validate_dataset(tmp_path / "nowhere")


def test_a_missing_validator_is_named_with_the_way_out(valid, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingInputError, match=r"bids-validator-deno must be .*--skip-bids-validation"):
        validate_dataset(valid.root)


def test_a_validator_that_breaks_down_is_reported_in_words(valid, tmp_path, monkeypatch):
    pretend(tmp_path, monkeypatch, "echo cannot open database >&2; exit 1")
    with pytest.raises(ValidationError, match=r"status 1 \(cannot open database\).*--skip-bids-validation"):
        validate_dataset(valid.root)


def test_the_validator_gets_a_scratch_folder_that_vanishes(valid, tmp_path, monkeypatch):
    answer = json.dumps({"issues": {"issues": [], "codeMessages": {}}})
    pretend(tmp_path, monkeypatch, f"echo \"$DENO_DIR $*\" > {tmp_path}/seen; echo '{answer}'")
    validate_dataset(valid.root)
    cache, *arguments = (tmp_path / "seen").read_text(encoding="utf-8").split()
    assert not Path(cache).exists()
    assert arguments == ["--format", "json", "--ignoreWarnings", str(valid.root)]
