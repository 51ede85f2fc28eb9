"""Run a command as a user would, and weigh it: seconds, processor seconds, memory."""

import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bidsapp.errors import DataError

ROOT = Path(__file__).resolve().parents[1]
"""The repository."""

OURS = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "VIRTUAL_ENV",
    "PYTHONPATH", "PYTHONHOME", "MAKEFLAGS", "MFLAGS", "MAKELEVEL", "NUMBA_CACHE_DIR", "MPLCONFIGDIR",
)  # fmt: skip
"""Variables of the shell or `make` around us that would change what is measured."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended.

    Parameters
    ----------
    exit_status
        Below 0: ended by that signal.
    wall_seconds
        From start to end.
    cpu_seconds
        Of the command and everything it started, on all processors together.
    peak_gib
        Most memory that one of its processes held at a time.
    """

    exit_status: int
    wall_seconds: float
    cpu_seconds: float
    peak_gib: float


def run_measured(command: Sequence[str], log: Path, *, folder: Path = ROOT) -> Ended:
    """Run a command to its end; what it prints goes to a file.

    Parameters
    ----------
    command
        Program and arguments.
    log
        Where to write what it prints.
    folder
        Where it runs.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=folder, stdout=file, stderr=subprocess.STDOUT, env=plain_environment(os.environ)
        )
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return Ended(
        exit_status=process.returncode,
        wall_seconds=round(time.monotonic() - started, 1),
        cpu_seconds=round(usage.ru_utime + usage.ru_stime, 1),
        peak_gib=round(usage.ru_maxrss / 2**20, 2),
    )


def run_or_complain(command: Sequence[str], log: Path, *, expected: int = 0, folder: Path = ROOT) -> Ended:
    """Run a command that must end with the status expected.

    Raises
    ------
    DataError
        If it ends with another one.
    """
    ended = run_measured(command, log, folder=folder)
    if ended.exit_status != expected:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["nothing"]
        raise DataError(
            f"the command must end with status {expected}, got {ended.exit_status}: {' '.join(command)}; it "
            f"said last: {lines[-1]} (all of it: {log}, kept with --work)"
        )
    return ended


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Let processes that are started meanwhile compute with one thread; ours keeps what it has."""
    before = dict(os.environ)
    os.environ |= dict.fromkeys(("NUMBA_NUM_THREADS", "OMP_NUM_THREADS"), "1")
    try:
        yield
    finally:
        os.environ.clear()
        os.environ |= before


def plain_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Drop what a virtual environment, `make` or a shell around us has set.

    A virtual environment's programs leave the search path, too.
    """
    kept = {name: value for name, value in environment.items() if name not in OURS}
    inside = environment.get("VIRTUAL_ENV")
    if inside:
        folders = kept.get("PATH", "").split(os.pathsep)
        kept["PATH"] = os.pathsep.join(each for each in folders if each != str(Path(inside) / "bin"))
    return kept
