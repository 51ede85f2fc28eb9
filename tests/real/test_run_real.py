"""run.py on one real scan with virtual tumours."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bidsapp.bids.save import load_table

ROOT = Path(__file__).resolve().parents[2]
SCANS = ROOT.parent / "shared" / "data" / "scans"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("end_to_end"),
    pytest.mark.skipif(not SCANS.is_dir(), reason="the real scans are not at hand (shared/data/scans)"),
]


def test_a_real_scan_with_tumours_is_aligned_well(tmp_path):
    bids, out = tmp_path / "bids", tmp_path / "out"
    for command in (
        ["-m", "bidsapp.demo", "implant-dataset", str(SCANS), str(bids), "--participant-label", "oasis1000"],
        ["run.py", str(bids), str(out), "participant", "-w", str(tmp_path / "work")],
    ):
        subprocess.run([sys.executable, *command], cwd=ROOT, env=os.environ, check=True, capture_output=True)
    (path,) = out.rglob("*_desc-registration_metrics.tsv")
    summary = load_table(path).iloc[0]
    assert summary["dice_affine_mean"] < 0.7
    assert summary["dice_mean"] >= 0.85
    assert summary["folded_fraction"] < 0.001
    (path,) = out.rglob("*_desc-lesions_metrics.tsv")
    lesions = load_table(path)
    truth = load_table(bids / "sourcedata" / "truth" / "lesions.tsv")
    assert len(lesions) == len(truth)
