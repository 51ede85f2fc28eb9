from pathlib import Path

import pytest

from bidsapp.execution import cluster
from bidsapp.execution.cluster import affordable_processes, available_memory_gib


@pytest.mark.parametrize(("free_gib", "expected"), [(100.0, 4), (8.0, 4), (7.9, 3), (0.5, 1)])
def test_no_more_processes_than_memory_is_enough_for(free_gib: float, expected: int) -> None:
    assert affordable_processes(4, available_gib=free_gib) == expected


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
