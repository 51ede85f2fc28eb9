"""Who computes: compiled code where it can be loaded, else plain torch, said once.

Each way in gives a module with the same functions; a choice is made at the first call and then kept.
"""

# ruff: noqa: PLC0415 - numba and triton take a second to import and may be missing; nobody pays who needs neither
import ctypes
import logging
import subprocess
from functools import cache
from types import ModuleType

from bidsapp.geometry.kernels import reference, reference_points

_log = logging.getLogger(__name__)
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Names of the C library (malloc.h, M_TRIM_THRESHOLD and M_MMAP_THRESHOLD)."""
_KEPT_BYTES = 2**31 - 1
"""How much may lie free before some is given back."""
_LARGEST_BYTES = 2**27
"""Larger arrays are given back at once: a few whole fields, which would leave gaps behind."""
# What a broken installation raises on import: numba beside a numpy it does not know, a missing or foreign
# library, a folder that numba can neither use nor replace for its cache, no C compiler for triton.
_BROKEN = (ImportError, OSError, RuntimeError, SystemError, subprocess.CalledProcessError)


@cache
def on_cpu() -> ModuleType:
    """Single precision on the CPU: numba, or plain torch with a warning."""
    try:
        from bidsapp.geometry.kernels.compiled import operations
    except _BROKEN as error:
        _log.warning(
            "numba cannot be loaded (%s), so alignments are computed by plain torch: the same result to well "
            "below 0.05 mm, but some 10 to 50 times slower. To mend it: pip install --force-reinstall numba, "
            "in the version that constraints.txt names",
            error,
        )
        return reference
    _keep_memory()
    return operations


def _keep_memory() -> None:
    """Have the C library hold on to memory that arrays gave back, for the next ones.

    A kernel makes arrays of 10 to 100 MB. Given back to the system each time, they come again page by page,
    which takes an eighth of an alignment's time. Where the C library has no such choice, nothing changes.
    """
    try:
        choose = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # not glibc
        return
    choose(_TRIM_THRESHOLD, _KEPT_BYTES)
    choose(_MMAP_THRESHOLD, _LARGEST_BYTES)


@cache
def on_gpu() -> ModuleType:
    """Single precision on a CUDA card: Triton, or plain torch with a warning."""
    try:
        from triton.runtime import driver

        from bidsapp.geometry.kernels.gpu import operations

        driver.active.get_current_device()  # what starts kernels is compiled here
    except _BROKEN as error:
        _log.warning(
            "triton cannot be loaded (%s), so alignments are computed by plain torch on the GPU: the same "
            "result, slower. To mend it: pip install triton, in the version that this torch asks for, and "
            "have a C compiler (gcc) and Python's headers",
            error,
        )
        return reference
    return operations


@cache
def at_points() -> ModuleType:
    """Fields read at single points: numba, or plain torch."""
    if on_cpu() is reference:
        return reference_points
    from bidsapp.geometry.kernels.compiled import sampling

    return sampling


@cache
def of_fields() -> ModuleType:
    """Growth and folds of whole fields: numba, or plain numpy."""
    if on_cpu() is reference:
        return reference_points
    from bidsapp.geometry.kernels.compiled import growth

    return growth
