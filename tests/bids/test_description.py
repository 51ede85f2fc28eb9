"""The derivative dataset describes itself, the same way from every run."""

import json
import logging
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from bidsapp.bids.description import (
    app_version,
    group_map_sidecar,
    image_sidecar,
    is_virtual,
    read_description,
    write_dataset_files,
)
from bidsapp.bids.names import Kind
from bidsapp.errors import DataError
from bidsapp.geometry.space import Space


@pytest.fixture
def raw(tmp_path):
    def make(**description):
        bids_dir = tmp_path / "data"
        bids_dir.mkdir(exist_ok=True)
        text = json.dumps({"Name": "Metastases", "BIDSVersion": "1.10.0", **description})
        (bids_dir / "dataset_description.json").write_text(text)
        return bids_dir

    return make


def described(output_dir):
    return json.loads((output_dir / "dataset_description.json").read_text())


def test_the_description_names_app_input_and_source(raw, monkeypatch):
    monkeypatch.delenv("METSATLAS_DOCKER_TAG", raising=False)
    bids_dir = raw(DatasetDOI="doi:10.1/x", License="CC0")
    output_dir = bids_dir / "derivatives" / "metsatlas"
    write_dataset_files(bids_dir, output_dir, {"fs": bids_dir / "derivatives" / "fs"})
    description = described(output_dir)
    assert description["DatasetType"] == "derivative"
    assert description["GeneratedBy"] == [{"Name": "metsatlas", "Version": app_version()}]
    assert description["DatasetLinks"] == {"raw": "../..", "fs": "../fs"}
    assert description["SourceDatasets"] == [{"DOI": "doi:10.1/x"}]
    assert description["License"] == "CC0"
    assert len(description["Authors"]) == 2
    assert "Virtual" not in description


def test_bidsignore_is_the_one_that_was_validated(raw, tmp_path):
    write_dataset_files(raw(), tmp_path / "out", {})
    lines = (tmp_path / "out" / ".bidsignore").read_text().splitlines()
    assert lines == ["*.html", "logs", "figures", "log", "group", "*_xfm.*", "*_metrics.*"]
    assert (tmp_path / "out" / "README.md").stat().st_size > 150
    assert "Wielenberg" in (tmp_path / "out" / "logs" / "CITATION.md").read_text()


@pytest.mark.parametrize(
    ("marker", "container"),
    [(None, "docker"), ("APPTAINER_CONTAINER", "apptainer"), ("SINGULARITY_CONTAINER", "apptainer")],
)
def test_a_container_is_named_by_its_tag(raw, tmp_path, monkeypatch, marker, container):
    for variable in ("APPTAINER_CONTAINER", "SINGULARITY_CONTAINER"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("METSATLAS_DOCKER_TAG", "metsatlas:0.1.0")
    if marker:
        monkeypatch.setenv(marker, "/image.sif")
    write_dataset_files(raw(), tmp_path / "out", {})
    assert described(tmp_path / "out")["GeneratedBy"][0]["Container"] == {
        "Type": container,
        "Tag": "metsatlas:0.1.0",
        "URI": "docker://metsatlas:0.1.0",
    }


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        ({}, False),
        ({"Name": "Virtual cohort"}, True),
        ({"Virtual": True}, True),
        ({"Name": "Virtual reality in fMRI", "Virtual": False}, False),
    ],
)
def test_the_virtual_mark_is_carried_through(raw, tmp_path, description, expected):
    bids_dir = raw(**description)
    assert is_virtual(bids_dir) is expected
    write_dataset_files(bids_dir, tmp_path / "out", {})
    assert described(tmp_path / "out").get("Virtual", False) is expected
    assert described(tmp_path / "out")["Name"].startswith("VIRTUAL") is expected
    assert ("these patients do not exist" in (tmp_path / "out" / "README.md").read_text()) is expected


def test_the_mark_survives_from_derivative_to_derivative(raw, tmp_path):
    write_dataset_files(raw(Virtual=True), tmp_path / "out", {})
    assert is_virtual(tmp_path / "out")


def test_entries_that_are_no_text_are_not_carried_over(raw, tmp_path):
    write_dataset_files(raw(Name=["a"], License={}, DatasetDOI=["doi"]), tmp_path / "out", {})
    description = described(tmp_path / "out")
    assert description["Name"] == "MetsAtlas derivatives of an unnamed dataset"
    assert description["License"] == "As the input dataset"
    assert "SourceDatasets" not in description


def test_images_are_described_and_tables_are_not():
    space = Space((4, 5, 6), np.diag([-1.0, 1.5, 2.0, 1.0]))
    sidecar = image_sidecar(Kind.WARPED_T1W, "MNI152NLin2009aSym", space, ["bids:raw:sub-01_T1w.nii.gz"])
    assert sidecar["SkullStripped"] is False
    assert sidecar["Resolution"] == "Grid of the atlas, 1 x 1.5 x 2 mm"
    assert str(sidecar["SpatialReference"]).startswith("https://")
    assert sidecar["Sources"] == ["bids:raw:sub-01_T1w.nii.gz"]
    native = image_sidecar(Kind.NATIVE_LESION_MASK, "Clinic", space, [])
    assert (native["Type"], native["SpatialReference"]) == ("Lesion", "orig")
    assert "Resolution" not in native
    assert group_map_sidecar("How often.", "Clinic", space)["SpatialReference"] == "tpl-Clinic"
    with pytest.raises(DataError, match="only images have an image sidecar, got LESION_METRICS"):
        image_sidecar(Kind.LESION_METRICS, "Clinic", space, [])


def test_a_second_run_writes_nothing_again(raw, tmp_path):
    files = ["dataset_description.json", ".bidsignore", "README.md", "logs/CITATION.md"]
    bids_dir = raw()
    write_dataset_files(bids_dir, tmp_path / "out", {})
    before = [(tmp_path / "out" / name).stat().st_ino for name in files]
    write_dataset_files(bids_dir, tmp_path / "out", {})
    assert [(tmp_path / "out" / name).stat().st_ino for name in files] == before


def test_many_runs_at_once_leave_whole_files_and_nothing_else(raw, tmp_path):
    bids_dir = raw()

    def run(_):
        write_dataset_files(bids_dir, tmp_path / "out", {})
        return described(tmp_path / "out")["Name"]

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(run, range(40))) == {"MetsAtlas derivatives of Metastases"}
    names = {path.name for path in (tmp_path / "out").rglob("*")}
    assert names == {"dataset_description.json", ".bidsignore", "README.md", "logs", "CITATION.md"}


def test_a_dataset_without_a_description_is_named_in_the_log(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        assert read_description(tmp_path) == {}
    assert "dataset_description.json is missing" in caplog.text


@pytest.mark.parametrize(
    ("content", "text"), [("{", "must be a JSON file"), ("[1]", "must hold a JSON object, got list")]
)
def test_a_broken_description_is_refused(tmp_path, content, text):
    (tmp_path / "dataset_description.json").write_text(content)
    with pytest.raises(DataError, match=text):
        write_dataset_files(tmp_path, tmp_path / "out", {})
