"""One tool on one case: prepare, run, weigh."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from benchmark.peers.cases import Case
from benchmark.peers.common_grid import cover, read_alignment, write_images, write_ours
from benchmark.peers.tools import Tool
from benchmark.running import run_or_complain
from bidsapp.bids.save import save_json
from bidsapp.geometry.space import Space
from bidsapp.images.alignment import Alignment
from bidsapp.registration.affine import align_affine

THREADS = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "MKL_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")
"""What tells every tool how many threads it may use."""


@dataclass(frozen=True)
class Prepared:
    """One case ready for all tools.

    Parameters
    ----------
    folder
        Holds the images; every tool's fields go there, too.
    grid
        The common grid.
    affine
        Fixed world to moving world: every tool's start.
    """

    folder: Path
    grid: Space
    affine: Float64[np.ndarray, "4 4"]


def find_affine(case: Case) -> Float64[np.ndarray, "4 4"]:
    """Find the affine that all tools start from."""
    return align_affine(case.fixed.labels, case.moving.labels)


def prepare(case: Case, affine: Float64[np.ndarray, "4 4"], folder: Path) -> Prepared:
    """Write the images of a case for all tools."""
    grid = cover(case.fixed.labels)
    write_images(case, affine, grid, folder)
    write_ours(case, affine, folder)
    return Prepared(folder, grid, affine)


def take_turn(tool: Tool, prepared: Prepared, threads: int) -> tuple[Alignment, dict[str, Any]]:
    """Run one tool; give what it found and what it cost.

    ``cpu_seconds`` and ``wall_seconds`` are those of the registration alone, ``process_*`` those of the
    program with imports, reading and writing, as the system counts them when it ends.

    Raises
    ------
    DataError
        If it fails.
    """
    folder = prepared.folder
    for name in ("run.json", "alignment.npz", "displacement.*", "inverse.*"):
        for stale in folder.glob(name):
            stale.unlink()
    save_json({**tool.options, "threads": threads}, folder / "options.json")
    limits = [f"{name}={threads}" for name in THREADS]
    ended = run_or_complain(["env", *limits, *tool.command(folder)], folder / f"{tool.name}.log")
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    cost = {
        "cpu_seconds": run["cpu_seconds"],
        "wall_seconds": run["wall_seconds"],
        "process_cpu_seconds": ended.cpu_seconds,
        "process_wall_seconds": ended.wall_seconds,
        "peak_gib": ended.peak_gib,
        "threads": threads,
        "versions": run["versions"],
    }
    return read_alignment(folder, prepared.affine, prepared.grid), cost
