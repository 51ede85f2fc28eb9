"""Every method that aligns the scans with tumours, and its control: the same without tumours."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from benchmark.peers.cases import Brain, Case
from benchmark.peers.common_grid import still
from benchmark.peers.tools import ENVIRONMENT, Tool
from benchmark.peers.turns import find_affine, prepare, take_turn
from benchmark.tumours_scans import TumourScan
from bidsapp.aligning import find_start
from bidsapp.errors import MissingInputError
from bidsapp.geometry.space import Space
from bidsapp.images.alignment import Alignment
from bidsapp.images.nifti import write_volume
from bidsapp.images.volume import Volume
from bidsapp.lesions.handling import guide
from bidsapp.registration.deformable import align_deformable
from bidsapp.registration.intensities import Intensities
from bidsapp.settings import RunSettings, Selection

GREEDY: Mapping[str, object] = MappingProxyType({"metric": "NCC 2x2x2", "iterations": "100x50x10"})
ANTS: Mapping[str, object] = MappingProxyType({"transform": "SyNOnly"})


@dataclass(frozen=True, kw_only=True)
class Method:
    """One way to align a scan.

    Parameters
    ----------
    name
        In file names.
    words
        For readers.
    uses_mask
        Whether it is told where the tumours are.
    control
        What its control shares with others: the alignment of the scan without tumours is made once for each.
    choices
        Of our run settings; None for other programs.
    predicts_only
        Whether the general model's word is taken as it is: no update follows, and no lesion is levelled.
    family, options
        Of another program and what its driver reads.
    """

    name: str
    words: str
    uses_mask: bool
    control: str
    choices: Mapping[str, Any] | None = None
    predicts_only: bool = False
    family: str = ""
    options: Mapping[str, object] | None = None


def _ours(objective: str, handling: str, parameterisation: str = "field") -> Method:
    start = "" if parameterisation == "field" else "network-"
    end = "-none" if handling == "none" else ""
    return Method(
        name=f"{start}{objective}-{handling}",
        words=f"{parameterisation}, {'our' if objective == 'overlap' else 'paper'} objective, "
        + {
            "mask": "volume term and mask",
            "volume": "volume term, no mask: suspected lesions",
            "none": "no volume term",
        }[handling],
        uses_mask=handling == "mask",
        control=f"{start}{objective}{end}",
        choices={
            "objective": objective,
            "lesion_handling": handling,
            "parameterisation": parameterisation,
        },
    )


def _peer(family: str, words: str, options: Mapping[str, object], *, uses_mask: bool) -> Method:
    return Method(
        name=f"{family}{'-mask' if uses_mask else ''}",
        words=f"{words}{', mask' if uses_mask else ''}",
        uses_mask=uses_mask,
        control=family,
        family=family,
        options={**options, "moving_mask": uses_mask},
    )


AFFINE = Method(name="affine", words="affine step alone", uses_mask=False, control="affine", choices={})

METHODS: tuple[Method, ...] = (
    AFFINE,
    _ours("overlap", "mask"),
    _ours("overlap", "volume"),
    _peer("greedy", "greedy, NCC 2x2x2, 100x50x10", GREEDY, uses_mask=False),
    _peer("greedy", "greedy, NCC 2x2x2, 100x50x10", GREEDY, uses_mask=True),
    _peer("ants", "ANTs SyN, mutual information", ANTS, uses_mask=False),
    _peer("ants", "ANTs SyN, mutual information", ANTS, uses_mask=True),
    _ours("overlap", "none"),
    _ours("paper", "mask"),
    _ours("paper", "volume"),
    _ours("paper", "none"),
    _ours("overlap", "mask", "network"),
    _ours("overlap", "volume", "network"),
    _ours("overlap", "none", "network"),
    _ours("paper", "mask", "network"),
    _ours("paper", "volume", "network"),
    _ours("paper", "none", "network"),
)
"""In the order in which they take turns; the page has them in this order, too."""


def align_tumours(method: Method, scan: TumourScan, folder: Path) -> tuple[Alignment, float]:
    """Align the scan with tumours; give the alignment and its CPU-seconds."""
    implanted = scan.implanted
    mask = implanted.mask if method.uses_mask else None
    return _align(method, scan.case, Brain(implanted.t1w, implanted.labels, None), mask, folder)


def align_control(method: Method, scan: TumourScan, folder: Path) -> Alignment:
    """Align the scan without tumours by the same method."""
    return _align(method, scan.case, scan.healthy, None, folder)[0]


def _align(
    method: Method, case: Case, moving: Brain, mask: Volume | None, folder: Path
) -> tuple[Alignment, float]:
    if method.choices is None:
        return _align_peer(method, replace(case, moving=moving), case, mask, folder)
    started = time.process_time()
    fixed = case.fixed
    nowhere = Path()
    run = replace(
        RunSettings(selection=Selection(bids_dir=nowhere), output_dir=nowhere, work_dir=nowhere),
        **method.choices,
    )
    wanted = "auto" if mask is None and run.lesion_handling == "mask" else run.lesion_handling
    guided, affine = find_start(
        fixed.labels, moving.t1w, guide(moving.labels, mask, wanted), device=run.device
    )
    if method.name == AFFINE.name:
        return still(affine, Space((2, 2, 2), fixed.labels.space.affine)), time.process_time() - started
    images = Intensities(fixed.t1w, moving.t1w, guided.lesions)
    settings = run.registration
    if method.predicts_only:
        stages = tuple(replace(stage, iterations=0) for stage in settings.stages)
        settings = replace(settings, stages=stages, lesion_weight=0.0)
    alignment = align_deformable(
        fixed.labels, guided.labels, affine, settings, images=images, device=run.device
    )
    return alignment, time.process_time() - started


def _align_peer(
    method: Method, case: Case, healthy: Case, mask: Volume | None, folder: Path
) -> tuple[Alignment, float]:
    """Let another program take its turn, from the affine of the scan without tumours.

    Raises
    ------
    MissingInputError
        If it is not installed.
    """
    if not ENVIRONMENT.is_dir():
        raise MissingInputError(f"the other tools must be installed in {ENVIRONMENT.name}/: run make peers")
    prepared = prepare(case, find_affine(healthy), folder)
    if mask is not None:
        elsewhere = Volume((mask.data == 0).astype("uint8"), mask.space)
        start = still(prepared.affine, prepared.grid)
        seen = start.resample(elsewhere, onto=prepared.grid, interpolation="nearest")
        write_volume(seen, folder / "moving_mask.nii")
    options = {**(method.options or {}), "moving_mask": mask is not None}
    tool = Tool(name=method.name, family=method.family, words="", options=options, drive="T1w")  # type: ignore[arg-type]
    alignment, cost = take_turn(tool, prepared, 1)
    return alignment, float(cost["process_cpu_seconds"])
