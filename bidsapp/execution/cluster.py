"""Cluster: which processes a run has, on this machine or behind a scheduler."""

import os
from dataclasses import dataclass
from pathlib import Path

MEMORY_PER_SCAN_GIB = 2.5
"""What one scan needs at its peak: 1.9 by default; 2.6 for a brain that fills the grid of the atlas."""

LOW_MEMORY_PER_SCAN_GIB = 1.5
"""The same with --low-mem."""

_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
_AVAILABLE = Path("/proc/meminfo")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Where items are worked on.

    Parameters
    ----------
    folder
        Where worker processes of this machine may write.
    n_processes
        Worker processes of this machine.
    n_gpus
        The first so many CUDA devices get one worker process each, which sees no other; 0: none is used.
    scheduler
        Address, or path of the file, of a Dask scheduler that runs already. Its workers do the work then,
        and the other choices do not count.
    """

    folder: Path
    n_processes: int = 1
    n_gpus: int = 0
    scheduler: str | None = None

    @property
    def is_this_process(self) -> bool:
        """Whether no other process takes part."""
        return self.n_processes == 1 and not self.scheduler


def affordable_processes(asked: int, available_gib: float, *, low_memory: bool = False) -> int:
    """Count the processes that memory is enough for, at least one.

    Examples
    --------
    >>> affordable_processes(8, 7.9), affordable_processes(8, 7.9, low_memory=True)
    (3, 5)
    """
    return max(1, min(asked, int(available_gib / _per_scan_gib(low_memory=low_memory))))


def memory_hint(available_gib: float, *, low_memory: bool = False) -> str:
    """Say what to do if memory may not be enough for one scan; empty if it is.

    Examples
    --------
    >>> memory_hint(1.8)
    'a scan can need 2.5 GiB of memory, got 1.8 free: --low-mem needs 1.5, or take a larger machine'
    >>> memory_hint(1.8, low_memory=True)
    ''
    """
    needed_gib = _per_scan_gib(low_memory=low_memory)
    if available_gib >= needed_gib:
        return ""
    way_out = "" if low_memory else f"--low-mem needs {LOW_MEMORY_PER_SCAN_GIB}, or "
    found = f"a scan can need {needed_gib} GiB of memory, got {available_gib:.1f} free"
    return f"{found}: {way_out}take a larger machine"


def _per_scan_gib(*, low_memory: bool) -> float:
    return LOW_MEMORY_PER_SCAN_GIB if low_memory else MEMORY_PER_SCAN_GIB


def available_memory_gib() -> float:
    """Read how much memory we may still use: the machine's free part or the container's limit, the lesser."""
    limits = [_free_bytes()]
    for path in _LIMITS:
        text = path.read_text(encoding="ascii").strip() if path.is_file() else ""
        if text.isdecimal():
            limits.append(int(text))
    return min(limits) / 2**30


def _free_bytes() -> int:
    """Read what Linux says can be had without swapping; elsewhere, all there is."""
    if _AVAILABLE.is_file():
        for line in _AVAILABLE.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
