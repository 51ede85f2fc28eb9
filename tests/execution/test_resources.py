import os
from pathlib import Path

import pytest

from bidsapp.errors import OutputError
from bidsapp.execution import resources
from bidsapp.execution.resources import (
    available_cpus,
    make_scratch,
    prepare_environment,
    scratch_folder,
)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Sixteen processors and no quota; returns a folder to write quotas to."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))
    monkeypatch.setattr(resources, "_CGROUP_V2", tmp_path / "cpu.max")
    monkeypatch.setattr(resources, "_CGROUP_V1", tmp_path / "v1")
    return tmp_path


def test_the_least_of_affinity_quota_and_slurms_share_counts(machine: Path) -> None:
    assert available_cpus({}) == 16
    assert available_cpus({"SLURM_CPUS_PER_TASK": "6"}) == 6
    assert available_cpus({"SLURM_CPUS_PER_TASK": "60"}) == 16
    (machine / "cpu.max").write_text("250000 100000\n")
    assert available_cpus({"SLURM_CPUS_PER_TASK": "6"}) == 2


def test_a_quota_below_one_processor_still_gives_one(machine: Path) -> None:
    (machine / "cpu.max").write_text("50000 100000\n")
    assert available_cpus({}) == 1


def test_an_older_container_is_understood_too(machine: Path) -> None:
    (machine / "v1").mkdir()
    (machine / "v1" / "cpu.cfs_period_us").write_text("100000\n")
    (machine / "v1" / "cpu.cfs_quota_us").write_text("-1\n")
    assert available_cpus({}) == 16
    (machine / "v1" / "cpu.cfs_quota_us").write_text("400000\n")
    assert available_cpus({}) == 4


def test_an_unlimited_container_limits_nothing(machine: Path) -> None:
    (machine / "cpu.max").write_text("max 100000\n")
    assert available_cpus({}) == 16


def test_scratch_is_named_by_number_so_that_users_need_no_name(tmp_path: Path) -> None:
    assert scratch_folder({"TMPDIR": str(tmp_path)}) == tmp_path / f"metsatlas-{os.getuid()}"
    assert scratch_folder({}).parent == Path("/tmp")  # noqa: S108


def test_scratch_is_closed_to_others(tmp_path: Path) -> None:
    make_scratch(tmp_path / "scratch")
    make_scratch(tmp_path / "scratch")
    assert (tmp_path / "scratch").stat().st_mode & 0o777 == 0o700


def test_scratch_of_someone_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(OutputError, match="must be ours to write to, it belongs to user"):
        make_scratch(tmp_path)


def test_scratch_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"a folder we can make \(File exists\)"):
        make_scratch(tmp_path / "file")


def test_caches_go_to_the_work_folder_and_kernels_stay_for_the_next_run(tmp_path: Path) -> None:
    environment = {"TMPDIR": str(tmp_path), "MPLCONFIGDIR": "/mine"}
    prepare_environment(environment, work_dir=tmp_path / "work", n_threads=3)
    assert environment["OMP_NUM_THREADS"] == "3"
    assert environment["MPLCONFIGDIR"] == "/mine"
    assert environment["XDG_CACHE_HOME"] == str(tmp_path / "work" / "cache")
    assert environment["NUMBA_CACHE_DIR"] == str(scratch_folder(environment) / "numba")


def test_kernels_go_to_the_work_folder_when_there_is_no_scratch(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    environment = {"TMPDIR": str(tmp_path / "file")}
    prepare_environment(environment, work_dir=tmp_path / "work", n_threads=1)
    assert environment["NUMBA_CACHE_DIR"] == str(tmp_path / "work" / "numba")
