"""A dataset with one file of every kind passes the BIDS validator without an error or a warning."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bidsapp.bids.description import group_map_sidecar, image_sidecar, write_dataset_files
from bidsapp.bids.names import (
    Kind,
    LogKind,
    bids_uri,
    group_map_path,
    group_path,
    group_report_path,
    log_path,
    output_path,
)
from bidsapp.bids.save import (
    lesion_lookup,
    save_json,
    save_labels,
    save_structures,
    save_table,
    save_text,
    save_volume,
)
from bidsapp.bids.transforms import write_fixed_to_moving, write_moving_to_fixed
from bidsapp.geometry.space import Space
from bidsapp.images.volume import Volume

ATLAS = "MNI152NLin2009aSym"
SPACE = Space((4, 5, 6), np.diag([-1.0, 1.0, 1.0, 1.0]))
NATIVE = Space((5, 6, 4), np.array([[0.9, 0.1, 0, 3], [-0.1, 0.9, 0, 2], [0, 0, 1.5, 1], [0, 0, 0, 1.0]]))
RUN_ID = "20260213-120000_0b8f2f3e-7f0c-4a53-9b0a-2f1f6d1f3a11"
SCANS = [
    ("01", {"ses": "02", "ce": "gadolinium", "run": "1"}),
    ("01", {"ses": "02", "ce": "gadolinium", "run": "2"}),
    ("02", {}),
    ("a+b", {"acq": "mprage", "rec": "norm", "task": "rest", "echo": "1", "part": "mag"}),
]


def write_images(out, subject, entities, atlas):
    def path(kind):
        return output_path(out, subject, entities, kind, atlas)

    source = bids_uri("raw", Path("/data"), Path(f"/data/sub-{subject}/anat/sub-{subject}_T1w.nii.gz"))
    image = np.arange(120, dtype=np.float32).reshape(SPACE.shape)
    labels = (image % 35).astype(np.uint8)
    lesions = (image == 7).astype(np.uint8)
    native = np.ones(NATIVE.shape, bool)

    def described(kind, grid=SPACE):
        return path(kind), image_sidecar(kind, atlas, grid, [source])

    save_volume(Volume(image, SPACE), *described(Kind.WARPED_T1W))
    save_structures(Volume(labels, SPACE), *described(Kind.STRUCTURES))
    save_volume(Volume(lesions > 0, SPACE), *described(Kind.LESION_MASK))
    save_labels(Volume(lesions, SPACE), lesion_lookup([1]), *described(Kind.LESION_INSTANCES))
    save_volume(Volume(native, NATIVE), *described(Kind.NATIVE_LESION_MASK, NATIVE))
    save_volume(Volume(image, SPACE), *described(Kind.JACOBIAN))
    displacement = np.zeros((3, *SPACE.shape), np.float32)
    write_fixed_to_moving(np.eye(4), displacement, SPACE, path(Kind.FIXED_TO_MOVING), atlas)
    write_moving_to_fixed(np.eye(4), displacement, SPACE, path(Kind.MOVING_TO_FIXED), atlas)


def write_tables(out, subject, entities, atlas):
    table = pd.DataFrame({"lesion": [1], "volume_mm3": [1.5], "region": ["Thalamus"]})
    columns = dict.fromkeys(table.columns, "A column.")
    for kind in Kind:
        if kind.value.endswith(".tsv"):
            save_table(table, output_path(out, subject, entities, kind, atlas), columns)
    save_text("<!doctype html>", output_path(out, subject, entities, Kind.REPORT, atlas))
    save_json({"status": "ok"}, log_path(out, subject, entities, LogKind.STATUS, RUN_ID))
    save_json({"settings": {}}, log_path(out, subject, entities, LogKind.SETTINGS, RUN_ID))
    save_text("Traceback", log_path(out, subject, entities, LogKind.CRASH, RUN_ID))


def write_everything(bids_dir, out, atlas=ATLAS):
    write_dataset_files(bids_dir, out, {})
    for subject, entities in SCANS:
        write_images(out, subject, entities, atlas)
        write_tables(out, subject, entities, atlas)
    frequency = Volume(np.full(SPACE.shape, 0.5, np.float32), SPACE)
    save_volume(
        frequency, group_map_path(out, atlas, "frequency"), group_map_sidecar("How often.", atlas, SPACE)
    )
    save_table(pd.DataFrame({"n_lesions": [3]}), group_path(out, "regions"), {"n_lesions": "Lesions."})
    save_text("<!doctype html>", group_report_path(out))


def validator_issues(dataset):
    validator = Path(sys.executable).with_name("bids-validator-deno")
    finished = subprocess.run(
        [validator, dataset, "--format", "json"], capture_output=True, text=True, check=False
    )
    assert finished.stdout, finished.stderr
    result = json.loads(finished.stdout)
    found = result["issues"]["issues"]
    assert result["summary"]["totalFiles"] > 0
    return [
        (issue["severity"], issue["code"], issue.get("location"), issue.get("subCode")) for issue in found
    ]


@pytest.fixture(scope="module")
def bids_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bids") / "dataset"
    folder.mkdir()
    description = {
        "Name": "Virtual cohort",
        "Virtual": True,
        "BIDSVersion": "1.10.0",
        "DatasetDOI": "doi:10.18112/openneuro.ds000001.v1.0.0",
    }
    save_json(description, folder / "dataset_description.json")
    return folder


@pytest.mark.parametrize("atlas", [ATLAS, "OurClinic"])
@pytest.mark.parametrize("place", ["derivatives/metsatlas", "derivatives/metsatlas-0.1.0", "../out"])
def test_outputs_have_no_error_and_no_warning(bids_dir, place, atlas, monkeypatch):
    monkeypatch.setenv("METSATLAS_DOCKER_TAG", "metsatlas:0.1.0")
    out = (bids_dir / place).resolve()
    shutil.rmtree(out, ignore_errors=True)
    write_everything(bids_dir, out, atlas)
    assert validator_issues(out) == []


def test_the_validator_does_complain_about_a_missing_sidecar(bids_dir, tmp_path):
    write_everything(bids_dir, tmp_path)
    output_path(tmp_path, "02", {}, Kind.WARPED_T1W, ATLAS).with_name(
        f"sub-02_space-{ATLAS}_res-1_T1w.json"
    ).unlink()
    assert {severity for severity, *_ in validator_issues(tmp_path)} >= {"error"}


def test_outputs_inside_the_raw_dataset_do_not_disturb_it(bids_dir):
    subject = bids_dir / "sub-01" / "anat" / "sub-01_T1w.nii.gz"
    save_volume(Volume(np.ones(NATIVE.shape, np.float32), NATIVE), subject, {})
    shutil.rmtree(bids_dir / "derivatives", ignore_errors=True)
    before = validator_issues(bids_dir)
    write_everything(bids_dir, bids_dir / "derivatives" / "metsatlas")
    assert sorted(validator_issues(bids_dir), key=str) == sorted(before, key=str)
