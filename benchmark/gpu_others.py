"""What `benchmark.gpu` measures beside ours: the published network, and FireANTs on the same card."""

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmark.gpu_parts import Heads, peak_gib, reset_peak
from benchmark.peers.score import dice_mean
from benchmark.peers.tools import TOOLS
from benchmark.peers.turns import find_affine, prepare, take_turn
from benchmark.stopwatch import synchronise
from bidsapp.errors import DataError
from bidsapp.geometry.velocity import exponentiate_voxels
from bidsapp.registration.grids import pad
from bidsapp.registration.network.overfit import overfit
from bidsapp.registration.network.unet import FILTERS, VelocityNet
from bidsapp.registration.network.view import see
from bidsapp.registration.paper import paper_objective
from bidsapp.registration.parameterisation import LEARNING_RATE

PAPER_UPDATES = 1500
PAPER_SQUARINGS = 7


def measure_published_network(
    heads: Heads, device: str, *, steps: int, warm_up: int, spacing_mm: float = 1.0
) -> dict[str, Any]:
    """Over-fit the published network with the published objective on the whole grid of the template.

    Distance maps and the sampling of both images are made before the clock starts. The time of the prediction
    that ends an over-fit is measured by itself and taken off.

    Parameters
    ----------
    heads
        Template and scan.
    device
        Where torch computes.
    steps, warm_up
        Updates that are timed, and those before.
    spacing_mm
        Of velocity, images and labels.

    References
    ----------
    Wielenberg et al. 2026, section 2 and eq. (2). doi:10.48550/arXiv.2602.12933
    """
    (fixed, moving), grid = heads.labels, heads.labels[0].space.with_spacing(spacing_mm)

    def follow(velocity: Tensor) -> Tensor:
        return exponentiate_voxels(velocity, squaring_steps=PAPER_SQUARINGS)

    costs = paper_objective(fixed, pad(moving), heads.start, grid, spacing_mm, follow, device)
    seen = see("images", (heads.images.fixed, heads.images.moving), heads.start, grid, device)
    run = partial(
        overfit, VelocityNet(seed=0), seen, costs, learning_rate=LEARNING_RATE, report=lambda _: None
    )
    reset_peak()
    run(iterations=warm_up)
    seconds = _seconds(partial(run, iterations=steps)) - _seconds(partial(run, iterations=0))
    return {
        "case": heads.case.name,
        "filters": list(FILTERS),
        "grid": list(grid.shape),
        "precision": "bfloat16 in the network" if torch.device(device).type == "cuda" else "float32",
        "n_updates_measured": steps,
        "n_updates_before": warm_up,
        "seconds_per_update": round(seconds / steps, 5),
        "n_updates_extrapolated_to": PAPER_UPDATES,
        "seconds_extrapolated": round(PAPER_UPDATES * seconds / steps, 2),
        "peak_gib": peak_gib(),
    }


def measure_fireants(
    heads: Sequence[Heads], device: str, python: Path, work: Path, threads: int
) -> Mapping[str, Any]:
    """Let FireANTs take its turn on every case, from the same affine, once without counting; or say why not.

    Parameters
    ----------
    heads
        Cases.
    device
        Where torch computes, there too.
    python
        Interpreter that has it.
    work
        Folder for images and logs.
    threads
        It may use.
    """
    known = next(tool for tool in TOOLS if tool.family == "fireants")
    options = {**known.options, "device": device, "warm_ups": 1}
    tool = replace(known, options=options, python=python)
    rows: list[dict[str, Any]] = []
    for each in heads:
        prepared = prepare(each.case, find_affine(each.case), work / each.case.name)
        try:
            alignment, cost = take_turn(tool, prepared, threads)
        except DataError as error:
            return {"skipped": f"FireANTs did not run: {error}", "rows": rows}
        rows.append(
            {
                "case": each.case.name,
                "seconds": cost["wall_seconds"],
                "dsc_mean": dice_mean(each.case, alignment),
                "versions": cost["versions"],
            }
        )
        shutil.rmtree(prepared.folder)
    return {"setting": tool.words, "drive": tool.drive, "rows": rows}


def _seconds(call: partial[Tensor]) -> float:
    synchronise()
    started = time.perf_counter()
    call()
    synchronise()
    return time.perf_counter() - started
