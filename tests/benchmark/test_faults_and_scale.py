"""Short versions of what is measured at length: kills, large cohorts."""

import json
from pathlib import Path

import pytest

from benchmark import dispatch, faults

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("side_by_side")]


def test_two_kills_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "N_SUBJECTS", 3)
    assert faults.main(["--kills", "2", "--results", str(tmp_path)]) == 0
    result = json.loads((tmp_path / "faults.json").read_text())
    assert result["kill9"] == {"n_kills": 2, "lost": 0, "half_written": 0, "undone": 0}
    assert result["sloppy"] is True  # too few kills to be published


def test_what_is_lost_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "_finish", lambda _, out: spoil(out))
    counts = faults.kill_and_rerun(tmp_path, 0)
    assert counts == {"n_kills": 0, "lost": 2, "half_written": 1, "undone": 0}


def spoil(out: Path) -> None:
    out.mkdir()
    if out.name == "undisturbed":
        (out / "a.tsv").write_text("whole")
        (out / "b.tsv").write_text("whole")
    else:
        (out / "a.tsv").write_text("wh")
        (out / ".0123456789ab_b.tsv").write_text("who")


def test_a_small_cohort_is_given_out_quickly(tmp_path: Path) -> None:
    assert dispatch.main(["--subjects", "30", "--tree", "100", "--results", str(tmp_path)]) == 0
    result = json.loads((tmp_path / "scale.json").read_text())
    assert result["index"]["seconds"] < 2
    assert result["dispatch"]["ms_per_subject"] < 1000  # the machine may be busy; the published figure is not
    assert result["dispatch"]["parent_mib_late"] > 50
    assert result["sloppy"] is True
