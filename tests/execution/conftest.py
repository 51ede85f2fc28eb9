"""A dataset of scans that a stub works on, and the app with that stub."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
StubbedApp = Callable[..., subprocess.Popen[str]]


def write_scans(folder: Path, labels: list[str]) -> Path:
    """Write a dataset in which every scan is a few bytes of text."""
    for label in labels:
        scan = folder / f"sub-{label}" / "anat" / f"sub-{label}_T1w.nii.gz"
        scan.parent.mkdir(parents=True)
        scan.write_text(f"the head of {label}", encoding="utf-8")
    description = {"Name": "scans of text", "BIDSVersion": "1.10.0", "License": "CC0"}
    (folder / "dataset_description.json").write_text(json.dumps(description), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six scans."""
    return write_scans(tmp_path_factory.mktemp("scans") / "bids", [f"0{number}" for number in range(1, 7)])


@pytest.fixture(scope="session")
def stubbed(tmp_path_factory: pytest.TempPathFactory) -> StubbedApp:
    """Start the app with a stub for the work on a scan."""
    scratch = tmp_path_factory.mktemp("scratch")

    def start(bids: Path, out: Path, *options: str, seconds: float = 0.0) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "benchmark.stubbed", str(bids), str(out), "participant"]
        environment = {
            **os.environ,
            "TMPDIR": str(scratch),
            "METSATLAS_STUB_SECONDS": str(seconds),
            "PYTHONPATH": str(REPOSITORY),
        }
        return subprocess.Popen(
            [*command, "--skip-bids-validation", "--device", "cpu", "--omp-nthreads", "1", *options],
            env=environment,
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return start
