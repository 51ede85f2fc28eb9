"""Cases that end well are kept; cases that do not leave the old result alone."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmark import measure, provenance
from benchmark.cases import Bench, CaseSkippedError
from benchmark.outcomes import complaints, describe, sum_up
from benchmark.running import one_thread_each, plain_environment, run_measured, run_or_complain
from bidsapp.errors import DataError, MissingInputError


def fail(bench: Bench) -> dict[str, object]:
    raise DataError("it must work, got nothing")


def skip(bench: Bench) -> dict[str, object]:
    raise CaseSkippedError("no scans here")


def work(bench: Bench) -> dict[str, object]:
    assert not any(bench.folder.iterdir())
    return {"answer": 42}


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an old result of every case, and cases that end in every way."""
    monkeypatch.setattr(measure, "CASES", {"bad": fail, "absent": skip, "good": work})
    for name in ("bad", "absent", "good"):
        (tmp_path / f"{name}.json").write_text('{"old": true}', encoding="utf-8")
    return tmp_path


def test_a_case_that_ends_well_is_kept_with_its_provenance(old: Path) -> None:
    assert measure.main(["good", "--results", str(old)]) == 0
    result = json.loads((old / "good.json").read_text(encoding="utf-8"))
    assert result["answer"] == 42
    assert result["provenance"]["command"] == "python -m benchmark.measure good"
    assert result["provenance"].keys() >= {"commit", "date", "machine", "versions", "n_runs"}


def test_a_case_that_fails_leaves_its_old_result_and_the_others_are_measured(old: Path) -> None:
    assert measure.main(["--results", str(old)]) == 65
    assert json.loads((old / "bad.json").read_text(encoding="utf-8")) == {"old": True}
    assert json.loads((old / "good.json").read_text(encoding="utf-8"))["answer"] == 42


def test_a_case_without_its_data_is_skipped(old: Path) -> None:
    assert measure.main(["absent", "--results", str(old)]) == 0
    assert json.loads((old / "absent.json").read_text(encoding="utf-8")) == {"old": True}


@pytest.mark.parametrize("arguments", [["unknown"], ["good", "--sloppy"]])
def test_a_command_line_that_cannot_be_meant_is_refused(old: Path, arguments: list[str]) -> None:
    assert measure.main(arguments) == 64


def test_what_was_said_of_each_scan_is_read_from_the_newest_log(tmp_path: Path) -> None:
    logs = tmp_path / "out" / "logs"
    logs.mkdir(parents=True)
    line = "2026-01-01 00:00:00,000 ERROR bidsapp.cli: {}\n"
    (logs / "metsatlas_20260101-000000_a.log").write_text(line.format("sub-x: old"), encoding="utf-8")
    (logs / "metsatlas_20260102-000000_a.log").write_text(
        "2026-01-02 00:00:00,000 INFO bidsapp.cli: sub-y: fine\n"
        + line.format(f"sub-z_ce-gadolinium: must be: {tmp_path}/bids/sub-z"),
        encoding="utf-8",
    )
    assert complaints(tmp_path / "out") == {"sub-z_ce-gadolinium": "must be: bids/sub-z"}


def test_a_run_is_weighed_and_its_words_are_kept(tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    ended = run_measured([sys.executable, "-c", "print('hello'); raise SystemExit(3)"], log)
    assert ended.exit_status == 3
    assert log.read_text(encoding="utf-8") == "hello\n"
    assert ended.wall_seconds >= 0
    assert ended.peak_gib > 0


def test_an_unexpected_status_is_refused_with_the_last_words(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"status 0, got 3: .* it said last: hello"):
        run_or_complain([sys.executable, "-c", "print('hello'); raise SystemExit(3)"], tmp_path / "run.log")


def test_settings_of_the_shell_around_do_not_change_what_is_measured() -> None:
    found = plain_environment(
        {
            "PATH": os.pathsep.join(["/venv/bin", "/usr/bin"]),
            "VIRTUAL_ENV": "/venv",
            "OMP_NUM_THREADS": "1",
            "HOME": "/home",
        }
    )
    assert found == {"PATH": "/usr/bin", "HOME": "/home"}


def test_a_machine_without_git_and_without_the_app_installed_is_described(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_git(*_: str) -> str:
        raise MissingInputError("git is not here")

    monkeypatch.setattr(provenance, "_git", no_git)
    monkeypatch.setattr(provenance, "PACKAGES", ("numpy", "no-such-package"))
    told = provenance.describe_provenance("python -m benchmark.gpu", commit="0123abcd")
    assert (told["commit"], told["uncommitted_changes"]) == ("0123abcd", False)
    assert set(told["versions"]) == {"numpy", "python"}
    with pytest.raises(MissingInputError, match="git is not here"):
        provenance.describe_provenance("python -m benchmark.gpu")


def test_numbers_are_summed_up_and_missing_ones_left_out() -> None:
    found = describe(np.array([1.0, 2.0, np.nan, 6.0]))
    assert found == {
        "n": 3,
        "mean": 3.0,
        "sd": pytest.approx(7**0.5, rel=1e-5),
        "min": 1.0,
        "median": 2.0,
        "p90": pytest.approx(5.2),
        "max": 6.0,
    }
    assert describe(np.array([np.nan])) == {"n": 0}


def test_only_numeric_columns_are_summed_up() -> None:
    assert list(sum_up([{"scan": "sub-a", "dice_mean": 0.9}])) == ["dice_mean"]


def test_children_have_one_thread_and_what_was_set_before_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    with one_thread_each():
        assert [os.environ[name] for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")] == ["1", "1"]
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "NUMBA_NUM_THREADS" not in os.environ
