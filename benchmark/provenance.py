"""Where a result comes from: commit, date, machine, versions, command."""

import os
import platform
import subprocess
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmark.running import ROOT
from bidsapp.errors import MissingInputError
from bidsapp.execution.device import settle_device
from bidsapp.execution.resources import available_cpus

PACKAGES = ("metsatlas", "numpy", "scipy", "numba", "torch", "nibabel", "pandas")
MEASURED = ("bidsapp", "run.py", "pyproject.toml", "constraints.txt", "version", "benchmark/*.py")
"""What a result depends on; results, texts and figures are not among it."""


def describe_provenance(command: str, n_runs: int = 1, *, commit: str | None = None) -> dict[str, object]:
    """Describe the state of code and machine at this moment.

    Parameters
    ----------
    command
        What repeats the measurement.
    n_runs
        How often it was measured.
    commit
        Of the code, from who brought it to a machine without git; None to ask git.
    """
    return {
        "command": command,
        "commit": commit or _git("rev-parse", "HEAD"),
        "uncommitted_changes": not commit and bool(_git("status", "--porcelain", "--", *MEASURED)),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": describe_machine(),
        "n_runs": n_runs,
        "versions": _versions() | {"python": platform.python_version()},
    }


def _versions() -> dict[str, str]:
    """Read the versions of the packages that are installed as such; code that was copied here has none."""
    found = {}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def describe_machine() -> dict[str, object]:
    """Describe the machine; ``class`` is the short form that stands beside each figure."""
    n_cpus = available_cpus(os.environ)
    memory_gib = round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30)
    cpu = _cpu_model(Path("/proc/cpuinfo"))
    device = settle_device("auto").name
    return {
        "class": f"{n_cpus} x {cpu}, {memory_gib} GiB, {'GPU' if device != 'cpu' else 'no GPU'}",
        "cpu": cpu,
        "n_cpus": n_cpus,
        "memory_gib": memory_gib,
        "device": device,
        "system": platform.system(),
    }


def _cpu_model(path: Path) -> str:
    """Read the processor's name where Linux tells it."""
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return " ".join(value.split())
    return platform.machine()


def _git(*arguments: str) -> str:
    """Ask git about the repository."""
    asked = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    if asked.returncode:
        raise MissingInputError(
            f"a result names its commit, but git says: {asked.stderr.strip()}. Measure in a clone of the "
            "repository"
        )
    return asked.stdout.strip()
