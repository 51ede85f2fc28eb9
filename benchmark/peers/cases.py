"""Which brains are laid over which: every labelled scan to the embedded atlas, and pairs of scans."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType

import numpy as np

from benchmark.cases import SCANS, CaseSkippedError
from bidsapp.atlas.builtin import load_builtin
from bidsapp.atlas.schemes import to_seganat
from bidsapp.errors import UsageError
from bidsapp.images.nifti import read_labels, read_volume
from bidsapp.images.volume import Volume

PAIRS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "oas1": ("sub-oasis1000", "sub-oasis1001"),
        "oas2": ("sub-oasis1002", "sub-oasis1006"),
        "oas3": ("sub-oasis1004", "sub-oasis1007"),
    }
)
"""Moving and fixed scan of each pair."""

RACE = "oas1"
"""The pair on which seconds at equal Dice are compared."""

FIRST_PARCEL = 100
"""From here on the Neuromorphometrics codes are cortical parcels."""


@dataclass(frozen=True)
class Brain:
    """One side of a case.

    Parameters
    ----------
    t1w
        Intensities on their native grid.
    labels
        SegAnat indices on their native grid.
    parcels
        Neuromorphometrics codes of the cortical parcels, 0 elsewhere, on the grid of `labels`; None for the
        atlas, which has others.
    """

    t1w: Volume
    labels: Volume
    parcels: Volume | None


@dataclass(frozen=True)
class Case:
    """A moving brain that is laid over a fixed one."""

    name: str
    fixed: Brain
    moving: Brain

    def without(self, structures: tuple[int, ...]) -> "Case":
        """Give the same case with some structures turned into background on both sides."""
        sides = [
            replace(brain, labels=leave_out(brain.labels, structures)) for brain in (self.fixed, self.moving)
        ]
        return Case(self.name, *sides)


def case_names() -> tuple[str, ...]:
    """List the pairs, then every scan with manual labels.

    Raises
    ------
    CaseSkippedError
        If there are no scans.
    """
    if not SCANS.is_dir():
        raise CaseSkippedError(f"no scans at {Path('..') / SCANS.relative_to(SCANS.parents[2])}")
    return (*PAIRS, *sorted(path.name for path in _manual().glob("sub-oasis*")))


def load_case(name: str) -> Case:
    """Read both brains of a case.

    Parameters
    ----------
    name
        A pair of `PAIRS`, or a scan, which is laid over the embedded atlas.

    Raises
    ------
    CaseSkippedError
        If there are no scans.
    UsageError
        If there is no such case.
    """
    known = case_names()
    if name not in known:
        raise UsageError(f"a case must be one of {', '.join(known)}, got {name}")
    if name in PAIRS:
        moving, fixed = PAIRS[name]
        return Case(name, _scan(fixed), _scan(moving))
    return Case(name, _atlas(), _scan(name))


def leave_out(labels: Volume, structures: tuple[int, ...]) -> Volume:
    """Turn structures into background.

    Examples
    --------
    >>> from bidsapp.geometry.space import Space
    >>> line = Volume(np.array([[[1, 2, 3]]], dtype=np.uint8), Space((1, 1, 3), np.eye(4)))
    >>> leave_out(line, (2,)).data.tolist()
    [[[1, 0, 3]]]
    """
    return Volume(np.where(np.isin(labels.data, structures), 0, labels.data).astype(np.uint8), labels.space)


@cache
def _atlas() -> Brain:
    pack = load_builtin()
    return Brain(pack.template, pack.labels, None)


def _scan(name: str) -> Brain:
    manual = read_labels(_manual() / name / "anat" / f"{name}_desc-neuromorphometrics_dseg.nii.gz")
    parcels = np.where(manual.data >= FIRST_PARCEL, manual.data, 0).astype(np.uint8)
    return Brain(
        t1w=read_volume(SCANS / name / "anat" / f"{name}_T1w.nii.gz"),
        labels=to_seganat(manual, "neuromorphometrics").labels,
        parcels=Volume(parcels, manual.space),
    )


def _manual() -> Path:
    return SCANS / "derivatives" / "manual"
