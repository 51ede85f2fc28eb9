"""What this machine lends us: processors, a place for caches."""

import os
import sys
from collections.abc import Mapping, MutableMapping
from pathlib import Path

from bidsapp.errors import OutputError
from bidsapp.execution.kernels import choose_processor, kernel_cache

_CGROUP_V2 = Path("/sys/fs/cgroup/cpu.max")
_CGROUP_V1 = Path("/sys/fs/cgroup/cpu")
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
_CACHES = {
    "MPLCONFIGDIR": "matplotlib",
    "XDG_CACHE_HOME": "cache",
    "TORCHINDUCTOR_CACHE_DIR": "inductor",
    "TRITON_CACHE_DIR": "triton",
    "DENO_DIR": "deno",
}


def available_cpus(environment: Mapping[str, str]) -> int:
    """Count the processors we may use: affinity, the container's quota and SLURM's share, the least of them.

    Parameters
    ----------
    environment
        ``os.environ``; ``SLURM_CPUS_PER_TASK`` is read from it.

    Returns
    -------
    n_cpus
        At least 1.
    """
    limits = [float(len(os.sched_getaffinity(0))), *_cgroup_quota()]
    slurm = environment.get("SLURM_CPUS_PER_TASK", "")
    if slurm.isdigit():
        limits.append(float(slurm))
    return max(1, int(min(limits)))


def _cgroup_quota() -> list[float]:
    """Read the processors' share of this container, of either version; none when there is no limit."""
    try:
        if _CGROUP_V2.is_file():
            quota, period = _CGROUP_V2.read_text().split()
        else:
            quota = (_CGROUP_V1 / "cpu.cfs_quota_us").read_text().strip()
            period = (_CGROUP_V1 / "cpu.cfs_period_us").read_text().strip()
        return [int(quota) / int(period)] if int(quota) > 0 else []
    except (OSError, ValueError):  # no such file, or "max": nothing is limited
        return []


def scratch_folder(environment: Mapping[str, str]) -> Path:
    """Name the default work folder: the same for all runs of one user, and no other user's.

    Examples
    --------
    >>> scratch_folder({"TMPDIR": "/scratch"}).parent.as_posix()
    '/scratch'
    """
    return Path(environment.get("TMPDIR") or "/tmp") / f"metsatlas-{os.getuid()}"  # noqa: S108 - owner is checked


def make_scratch(folder: Path) -> None:
    """Make a folder that only we can write to, or check that it is ours.

    Raises
    ------
    OutputError
        If it cannot be made, is not ours, or nothing can be written there.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        is_ours = folder.stat().st_uid == os.getuid()
    except OSError as error:
        raise OutputError(
            f"the work folder {folder} must be a folder we can make ({error.strerror}): "
            "name another one with --work-dir"
        ) from error
    if not is_ours or not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(
            f"the work folder {folder} must be ours to write to, it belongs to user "
            f"{folder.stat().st_uid}: name another one with --work-dir"
        )


def prepare_environment(environment: MutableMapping[str, str], *, work_dir: Path, n_threads: int) -> None:
    """Set threads and cache folders for the libraries that are imported later; what is set already stays.

    Compiled kernels are kept in the user's scratch folder, so that the next run, whatever its work folder,
    need not compile them again.

    Parameters
    ----------
    environment
        ``os.environ``; worker processes inherit it.
    work_dir
        Exists and can be written.
    n_threads
        For every library that computes in parallel.
    """
    # Numba refuses another number of threads once it has started them.
    settable = [name for name in _THREADS if name != "NUMBA_NUM_THREADS" or "numba" not in sys.modules]
    for name in settable:
        environment[name] = str(n_threads)
    for name, folder in _CACHES.items():
        environment.setdefault(name, str(work_dir / folder))
    kernels = scratch_folder(environment)
    try:
        make_scratch(kernels)
    except OutputError:  # /tmp may be read-only; then the kernels go where everything else goes
        kernels = work_dir
    if "numba" not in sys.modules:
        choose_processor(environment)
    if "NUMBA_CACHE_DIR" not in environment:
        environment["NUMBA_CACHE_DIR"] = str(kernel_cache(kernels))
