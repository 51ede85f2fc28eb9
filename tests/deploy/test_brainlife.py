"""What brainlife gives is laid out as BIDS, the app runs on it, and the website gets its product.json."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from bidsapp.bids.find import find_scans
from bidsapp.settings import Selection
from tests.end_to_end.conftest import bids  # noqa: F401 - a fixture
from tests.execution.conftest import REPOSITORY

FOLDER = REPOSITORY / "deploy" / "brainlife"


@pytest.fixture
def shim() -> ModuleType:
    spec = importlib.util.spec_from_file_location("shim", FOLDER / "shim.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def given(folder: Path, *names: str) -> dict[str, object]:
    """Write input files and return the config.json that names them."""
    (folder / "in").mkdir()
    for name in names:
        (folder / "in" / f"{name}.nii.gz").write_text(name)
    files = {name: f"in/{name}.nii.gz" for name in names}
    return {**files, "_inputs": [{"id": "t1", "meta": {"subject": "CC_110-7"}}]}


def test_all_three_inputs_are_found_by_the_app(
    shim: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert shim.build_dataset(given(tmp_path, "t1", "parc", "mask"), tmp_path / "bids") == "CC1107"
    (scan,) = find_scans(Selection(bids_dir=tmp_path / "bids"), "CC1107")
    assert scan.labels is not None
    assert scan.lesion_mask is not None
    assert [path.resolve().read_text() for path in (scan.t1w, scan.labels, scan.lesion_mask)] == [
        "t1",
        "parc",
        "mask",
    ]


def test_a_mask_may_be_missing_and_a_subject_without_name_gets_one(
    shim: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = given(tmp_path, "t1", "parc")
    del config["_inputs"]
    assert shim.build_dataset(config, tmp_path / "bids") == "brainlife"
    assert find_scans(Selection(bids_dir=tmp_path / "bids"), "brainlife")[0].lesion_mask is None


def run_main(folder: Path, config: dict[str, object]) -> tuple[int, dict[str, list[dict[str, str]]]]:
    """Run ``main`` as brainlife does; give its status and the product."""
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    environment = {
        **os.environ,
        "METSATLAS_PYTHON": sys.executable,
        "PYTHONPATH": str(REPOSITORY),
        "TMPDIR": str(folder),
    }
    ended = subprocess.run(
        [FOLDER / "main"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    product = json.loads((folder / "product.json").read_text(encoding="utf-8"))
    return ended.returncode, product


def test_what_cannot_be_used_is_said_on_the_website(tmp_path: Path) -> None:
    status, product = run_main(tmp_path, given(tmp_path, "t1", "parc"))
    assert status == 65
    assert product["brainlife"] == [{"type": "error", "msg": "the app ended with status 65: see the log"}]


@pytest.mark.slow
def test_a_virtual_patient_gets_a_page_and_a_message(bids: Path, tmp_path: Path) -> None:  # noqa: F811
    find = "sub-virtual01/anat/sub-virtual01_ce-gadolinium_run-2"
    config: dict[str, object] = {
        "t1": str(bids / f"{find}_T1w.nii.gz"),
        "parc": str(next((bids / "derivatives" / "segmentation").glob(f"{find}*_dseg.nii.gz"))),
        "mask": str(next((bids / "derivatives" / "lesions").glob(f"{find}*_mask.nii.gz"))),
        "sloppy": True,
    }
    status, product = run_main(tmp_path, config)
    assert status == 0
    assert product["brainlife"][0]["msg"].startswith("mean Dice 0.")
    kinds = [message["type"] for message in product["brainlife"]]
    assert kinds[0] == "info"
    assert kinds.count("image/jpeg") > 3
    assert (tmp_path / "html" / "index.html").is_file()
    assert len(list((tmp_path / "output").glob("sub-brainlife/anat/*_xfm.h5"))) == 2
