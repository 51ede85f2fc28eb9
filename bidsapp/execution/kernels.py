"""Compiled kernels that came with an image: lent to a run, so that no container compiles them again.

Numba compiles a kernel at its first call, keeps it in a folder, and refuses a folder it cannot write to; an
image is read-only. So the image keeps what was compiled when it was built, and each user gets a copy once.
"""

import hashlib
import shutil
import sys
import tempfile
from collections.abc import MutableMapping
from pathlib import Path

BAKED = Path(sys.prefix) / "share" / "metsatlas" / "kernels"
"""Made by the Dockerfile; elsewhere there is no such folder."""

_CPUINFO = Path("/proc/cpuinfo")
_FLAGS = frozenset({"avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe"})


def choose_processor(environment: MutableMapping[str, str]) -> None:
    """In an image, compile for the common ground of processors since 2013: its kernels serve most machines.

    A processor without it, or of another kind than x86-64, gets code for itself. The results are the same, as
    kernels neither fuse nor reorder sums.

    Parameters
    ----------
    environment
        ``os.environ``, before numba is imported; what is set already stays.
    """
    if BAKED.is_dir() and not {"NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES"} & set(environment) and _is_common():
        environment["NUMBA_CPU_NAME"] = "x86-64-v3"
        environment["NUMBA_CPU_FEATURES"] = ""


def _is_common() -> bool:
    """Tell whether this processor has all that x86-64-v3 asks for."""
    lines = _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines() if _CPUINFO.is_file() else []
    flags = next((line for line in lines if line.startswith("flags")), "")
    return set(flags.split()) >= _FLAGS


def kernel_cache(scratch: Path) -> Path:
    """Name the folder where numba keeps kernels; those of the image are in it already.

    Images that hold different kernels get folders of their own; the same image is copied only once.

    Parameters
    ----------
    scratch
        Exists and can be written.
    """
    if not BAKED.is_dir():
        return scratch / "numba"
    indices = sorted(BAKED.rglob("*.nbi"))
    digest = hashlib.sha256(b"".join(index.read_bytes() for index in indices)).hexdigest()[:12]
    lent = scratch / f"numba-{digest}"
    if not lent.is_dir():
        part = Path(tempfile.mkdtemp(dir=scratch))
        shutil.copytree(BAKED, part / "kernels", copy_function=shutil.copyfile)
        try:
            (part / "kernels").rename(lent)  # whole, or not at all
        except OSError:  # another run has just done the same
            if not lent.is_dir():
                raise
        shutil.rmtree(part)
    return lent
