"""One run of the app on a tiny virtual cohort, shared by all tests of what comes out."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from bidsapp.demo.cohort import CohortPlan, write_cohort
from bidsapp.geometry.space import Space
from bidsapp.images.nifti import read_labels, write_volume
from bidsapp.images.volume import Volume

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Run:
    """What a command did."""

    out: Path
    status: int
    stdout: str
    stderr: str


def run_app(bids: Path, out: Path, *arguments: str) -> Run:
    """Ring the door bell as a user does, in a process of its own."""
    finished = subprocess.run(
        [sys.executable, str(REPOSITORY / "run.py"), str(bids), str(out), *arguments],
        env={**os.environ, "TMPDIR": str(out.parent)},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    return Run(out, finished.returncode, finished.stdout, finished.stderr)


@pytest.fixture(scope="session")
def app() -> Callable[..., Run]:
    """Give the tests the door bell."""
    return run_app


def rename(folder: Path, before: str, after: str) -> None:
    """Change a part of the names of all files."""
    for path in sorted(folder.rglob(f"*{before}*")):
        if path.is_file():
            path.rename(path.with_name(path.name.replace(before, after)))


def cut_front(path: Path, n_slices: int) -> None:
    """Leave out the first sagittal slices of a mask: another grid, the same place in the world."""
    mask = read_labels(path)
    affine = mask.space.affine.copy()
    affine[:3, 3] = mask.space.voxel_to_world(np.array([[float(n_slices), 0.0, 0.0]]))[0]
    data = np.ascontiguousarray(mask.data[n_slices:])
    assert data.sum() == mask.data.sum(), "no lesion may lie in the slices left out"
    write_volume(Volume(data, Space((data.shape[0], data.shape[1], data.shape[2]), affine)), path)


def mask_of(bids: Path, session: str) -> Path:
    folder = bids / "derivatives" / "lesions" / "sub-virtual02" / f"ses-{session}" / "anat"
    return folder / f"sub-virtual02_ses-{session}_ce-gadolinium_label-lesion_mask.nii.gz"


@pytest.fixture(scope="session")
def bids(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two patients: one scan that is a second run; two sessions, a mask on its own grid, an empty mask."""
    folder = tmp_path_factory.mktemp("tiny") / "bids"
    write_cohort(folder, CohortPlan(n_subjects=2, seed=1))
    for patient in (folder, folder / "derivatives" / "segmentation", folder / "derivatives" / "lesions"):
        rename(patient / "sub-virtual01", "ce-gadolinium", "ce-gadolinium_run-2")
    cut_front(mask_of(folder, "01"), 2)
    mask = read_labels(mask_of(folder, "02"))
    write_volume(Volume(np.zeros_like(mask.data), mask.space), mask_of(folder, "02"))
    return folder


@pytest.fixture(scope="session")
def first(bids: Path) -> Run:
    """Both levels, two scans at a time."""
    return run_app(bids, bids.parent / "first", "participant", "group", "--sloppy", "--nprocs", "2")


@pytest.fixture(scope="session")
def second(bids: Path) -> Run:
    """One session again, one scan at a time, beside a participant without a label map."""
    copy = bids.parent / "second_bids"
    shutil.copytree(bids, copy)
    unlabelled = copy / "sub-unlabelled" / "ses-01" / "anat" / "sub-unlabelled_ses-01_T1w.nii.gz"
    unlabelled.parent.mkdir(parents=True)
    shutil.copy(bids / "sub-virtual01" / "anat" / "sub-virtual01_T1w.nii.gz", unlabelled)
    return run_app(
        copy,
        bids.parent / "second",
        "participant",
        *("--participant-label", "virtual02", "unlabelled"),
        *("--session-label", "01"),
        *("--sloppy", "--skip-bids-validation"),
    )
