"""Several runs on one output folder, killed runs, runs that find everything done."""

import json
import random
import subprocess
import time
from pathlib import Path

import pytest

from benchmark.faults import is_at_work
from tests.execution.conftest import StubbedApp, write_scans

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("side_by_side")]


def ended(run: subprocess.Popen[str]) -> list[str]:
    """Wait for a run that ends well and return its lines."""
    said, _ = run.communicate(timeout=300)
    assert run.returncode == 0, said
    return said.splitlines()


def contents(out: Path) -> dict[str, bytes]:
    """Every file but the logs, which hold times, by path."""
    files = (path for path in out.rglob("*") if path.is_file())
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in files
        if "log" not in path.parts and "logs" not in path.parts
    }


@pytest.fixture(scope="module")
def serial(stubbed: StubbedApp, scans: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What one run writes that does one scan after the other."""
    out = tmp_path_factory.mktemp("serial") / "out"
    assert ended(stubbed(scans, out))[-1] == "metsatlas finished: 6 ok, 0 failed, 0 skipped; exit 0"
    written = contents(out)
    assert len(written) > 60
    return written


@pytest.mark.parametrize("options", [("--shard 1/2", "--shard 2/2"), ("", "")], ids=["shards", "the same"])
def test_two_runs_at_a_time_write_what_one_run_writes(
    stubbed: StubbedApp, scans: Path, serial: dict[str, bytes], tmp_path: Path, options: tuple[str, str]
) -> None:
    runs = [stubbed(scans, tmp_path / "out", *option.split(), seconds=1.0) for option in options]
    for run in runs:
        ended(run)
    assert contents(tmp_path / "out") == serial
    statuses = [json.loads(path.read_text()) for path in (tmp_path / "out").rglob("*_status.json")]
    assert [status["status"] for status in statuses] == ["done"] * 6  # no scan was worked on twice
    assert list((tmp_path / "out").rglob("*.lock*")) == []


def test_after_kills_at_random_moments_a_rerun_has_lost_nothing(
    stubbed: StubbedApp, scans: Path, serial: dict[str, bytes], tmp_path: Path
) -> None:
    out, moments = tmp_path / "out", random.Random(7)  # noqa: S311 - moments, not secrets
    for _ in range(3):
        before = {path for path in out.rglob("*_status.json") if '"done"' in path.read_text()}
        run = stubbed(scans, out, seconds=2.0)
        while not is_at_work(run, out) and run.poll() is None:
            time.sleep(0.02)
        time.sleep(moments.uniform(0.0, 4.0))
        run.kill()
        run.communicate(timeout=60)
        assert all('"done"' in path.read_text() for path in before)  # what was done stays done
    ended(stubbed(scans, out))
    assert contents(out) == serial  # nothing lost, nothing half-written, nothing temporary
    assert list(out.rglob("*.lock*")) == []


def test_what_is_done_is_skipped_with_a_line_until_something_changes(
    stubbed: StubbedApp, tmp_path: Path
) -> None:
    bids, out = write_scans(tmp_path / "bids", ["01", "02"]), tmp_path / "out"
    ended(stubbed(bids, out))
    (bids / "sub-02" / "anat" / "sub-02_T1w.nii.gz").write_text("another head")
    lines = ended(stubbed(bids, out, "-v"))
    assert "sub-01 skipped, up to date: same inputs, settings and version (--force repeats)" in lines
    assert "sub-02 is worked on: its results are from other inputs" in lines
    assert lines[-1] == "metsatlas finished: 2 ok (1 up to date before), 0 failed, 0 skipped; exit 0"


def test_a_worker_that_is_killed_costs_its_subject_which_the_last_line_names(
    stubbed: StubbedApp, tmp_path: Path
) -> None:
    bids = write_scans(tmp_path / "bids", ["01", "02", "03", "killed"])
    run = stubbed(bids, tmp_path / "out", "--nprocs", "2")
    said, _ = run.communicate(timeout=300)
    assert run.returncode == 1
    assert said.splitlines()[-1] == "metsatlas finished: 3 ok, 1 failed (sub-killed), 0 skipped; exit 1"
