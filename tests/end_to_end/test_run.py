"""run.py on a tiny cohort: what it writes, that it writes the same twice, and that the answers are right."""

import gzip
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bidsapp.bids.save import load_table

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("end_to_end")]

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "output_files.txt"
RUN_ID = r"\d{8}-\d{6}_[0-9a-f-]{36}"


def files_of(out: Path) -> list[str]:
    """All files, with the run's own number replaced by a word."""
    paths = (path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    return sorted(re.sub(RUN_ID, "RUN", path) for path in paths)


def lesions_of(out: Path, name: str) -> pd.DataFrame:
    (path,) = out.rglob(f"{name}_desc-lesions_metrics.tsv")
    return load_table(path)


def test_the_run_ends_well_and_says_so(first):
    assert first.status == 0, first.stderr
    assert first.stderr.splitlines()[-1] == "metsatlas finished: 3 ok, 0 failed, 0 skipped, group ok; exit 0"
    assert "Traceback" not in first.stderr
    assert "Warning" not in first.stderr


def test_exactly_the_promised_files_are_written(first):
    assert files_of(first.out) == GOLDEN.read_text(encoding="utf-8").splitlines()


def test_no_file_is_half_written(first):
    for path in first.out.rglob("*"):
        if path.is_file():
            assert path.stat().st_size > 0, path
        if path.suffix == ".gz":
            with gzip.open(path) as stream:
                while stream.read(1 << 20):
                    pass


def test_the_outputs_are_valid_bids(first):
    command = [str(Path(sys.executable).parent / "bids-validator-deno"), "--format", "json", str(first.out)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    issues = json.loads(answer.stdout)["issues"]["issues"]
    assert [issue for issue in issues if issue["severity"] == "error"] == []


@pytest.mark.parametrize("table", ["lesions", "registration", "structures", "convergence"])
def test_one_scan_at_a_time_gives_the_same_bytes_as_two(first, second, table):
    name = Path("sub-virtual02/ses-01/anat", f"sub-virtual02_ses-01_ce-gadolinium_desc-{table}_metrics.tsv")
    assert (second.out / name).read_bytes() == (first.out / name).read_bytes()


def test_lesions_are_found_where_the_truth_has_them(first, bids):
    truth = load_table(bids / "sourcedata" / "truth" / "lesions.tsv")
    errors_mm = []
    for subject, session, name in (
        ("virtual01", None, "sub-virtual01_ce-gadolinium_run-2"),
        ("virtual02", "ses-01", "sub-virtual02_ses-01_ce-gadolinium"),
    ):
        wanted = truth[truth["participant_id"] == f"sub-{subject}"]
        if session:
            wanted = wanted[wanted["session_id"] == session]
        found = lesions_of(first.out, name)
        assert len(found) == len(wanted)
        for _, lesion in found.iterrows():
            native = wanted[["x_mm", "y_mm", "z_mm"]] - list(
                lesion[["native_x_mm", "native_y_mm", "native_z_mm"]]
            )
            nearest = np.linalg.norm(native.to_numpy(float), axis=1).argmin()
            true_mm = wanted[["atlas_x_mm", "atlas_y_mm", "atlas_z_mm"]].iloc[nearest].to_numpy(float)
            here_mm = lesion[["atlas_x_mm", "atlas_y_mm", "atlas_z_mm"]].to_numpy(float)
            errors_mm.append(float(np.linalg.norm(here_mm - true_mm)))
    assert np.median(errors_mm) < 2.0  # twice the voxel: the run is sloppy
    assert max(errors_mm) < 6.0


def test_the_alignment_is_good_and_folds_nothing(first):
    for path in first.out.rglob("*_desc-registration_metrics.tsv"):
        summary = load_table(path).iloc[0]
        assert summary["dice_mean"] > summary["dice_affine_mean"] + 0.05
        assert summary["dice_mean"] > 0.8
        assert summary["folded_fraction"] == 0


def test_an_empty_mask_is_a_patient_without_lesions(first):
    assert len(lesions_of(first.out, "sub-virtual02_ses-02_ce-gadolinium")) == 0
    page = first.out / "sub-virtual02_ses-02_ce-gadolinium.html"
    assert "is empty: no lesion counted" in page.read_text(encoding="utf-8")


def test_a_mask_on_a_grid_of_its_own_is_placed_by_its_header(first):
    page = first.out / "sub-virtual02_ses-01_ce-gadolinium.html"
    assert "has another grid than the T1w" in page.read_text(encoding="utf-8")


def test_a_participant_without_label_map_costs_nobody_else_the_run(second):
    assert second.status == 1
    line = next(line for line in second.stderr.splitlines() if line.startswith("sub-unlabelled_ses-01: "))
    assert "must have an anatomical label map" in line
    assert "give the result with -d NAME=FOLDER" in line
    assert (
        second.stderr.splitlines()[-1]
        == "metsatlas finished: 1 ok, 1 failed (sub-unlabelled_ses-01), 0 skipped; exit 1"
    )
    left = [path.name for path in second.out.rglob("*unlabelled*") if path.is_file()]
    assert left == ["sub-unlabelled_ses-01.html"]
    assert "Traceback" not in second.stderr
