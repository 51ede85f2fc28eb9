from pathlib import Path

import pytest

from bidsapp.execution import cluster
from bidsapp.execution.cluster import affordable_processes, available_memory_gib, memory_hint


@pytest.mark.parametrize(("free_gib", "expected"), [(100.0, 4), (10.0, 4), (9.9, 3), (0.5, 1)])
def test_no_more_processes_than_memory_is_enough_for(free_gib: float, expected: int) -> None:
    assert affordable_processes(4, free_gib) == expected


def test_a_scan_that_needs_less_memory_leaves_room_for_more_processes() -> None:
    assert affordable_processes(4, 6.0, low_memory=True) == 4
    assert affordable_processes(4, 5.9, low_memory=True) == 3


def test_too_little_memory_is_said_before_it_runs_out() -> None:
    assert memory_hint(2.5) == memory_hint(1.5, low_memory=True) == ""
    assert "2.5 GiB of memory, got 2.4 free: --low-mem needs 1.5" in memory_hint(2.4)
    assert memory_hint(1.4, low_memory=True).endswith("got 1.4 free: take a larger machine")


def test_the_lesser_of_free_memory_and_the_containers_limit_counts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(cluster, "_AVAILABLE", tmp_path / "meminfo")
    monkeypatch.setattr(cluster, "_LIMITS", (tmp_path / "memory.max",))
    (tmp_path / "meminfo").write_text("MemTotal: 33554432 kB\nMemAvailable: 16777216 kB\n")
    assert available_memory_gib() == 16
    (tmp_path / "memory.max").write_text("max\n")
    assert available_memory_gib() == 16
    (tmp_path / "memory.max").write_text(f"{4 * 2**30}\n")
    assert available_memory_gib() == 4
