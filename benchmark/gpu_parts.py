"""What `benchmark.gpu` measures of our own: seconds and their parts, memory, agreement with the processor."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64

from benchmark.gpu_bytes import stage_bytes
from benchmark.peers.cases import Case, load_case
from benchmark.peers.common_grid import still, t1w_on_labels
from benchmark.peers.score import dice_mean
from benchmark.stopwatch import synchronise
from bidsapp.images.alignment import Alignment
from bidsapp.images.volume import Volume
from bidsapp.registration.affine import align_affine
from bidsapp.registration.deformable import Convergence, align_deformable
from bidsapp.registration.intensities import Intensities
from bidsapp.settings import RegistrationSettings

WHOLE_MM = 1000.0
"""A margin that takes in the whole grid of the fixed labels."""
MORE = 4
"""Times the updates of a second run: what it takes longer is updates and nothing else."""


@dataclass(frozen=True)
class Heads:
    """Two brains as arrays, ready to be aligned.

    Parameters
    ----------
    case
        Where they come from.
    images
        Both T1w, on the grids of the labels.
    """

    case: Case
    images: Intensities

    @property
    def labels(self) -> tuple[Volume, Volume]:
        """Fixed and moving labels."""
        return self.case.fixed.labels, self.case.moving.labels

    @cached_property
    def start(self) -> Float64[np.ndarray, "4 4"]:
        """The affine, found on the processor."""
        return align_affine(*self.labels)


@dataclass(frozen=True)
class Run:
    """One alignment and its seconds.

    Parameters
    ----------
    alignment
        Both directions.
    affine, updates, way_back
        Seconds: the affine step; from there to the last report of an update; from there to the final fields.
    """

    alignment: Alignment
    affine: float
    updates: float
    way_back: float

    @property
    def seconds(self) -> float:
        """From loaded arrays to final fields."""
        return self.affine + self.updates + self.way_back


def load_heads(name: str) -> Heads:
    """Read a case; its arrays are what every clock starts from."""
    case = load_case(name)
    return Heads(case, Intensities(t1w_on_labels(case.fixed), t1w_on_labels(case.moving)))


def align(heads: Heads, settings: RegistrationSettings, device: str) -> Run:
    """Align once, looking at the clock after the affine, the last update and the end."""
    synchronise()
    clock = [time.perf_counter()]
    start = align_affine(*heads.labels, device=device)
    synchronise()
    clock.append(time.perf_counter())
    heard = [clock[-1]]

    def hear(_: Convergence) -> None:
        heard[0] = time.perf_counter()

    alignment = align_deformable(
        *heads.labels, start, settings, images=heads.images, device=device, on_update=hear
    )
    synchronise()
    ended = time.perf_counter()
    return Run(alignment, clock[1] - clock[0], heard[0] - clock[1], ended - heard[0])


def measure_case(heads: Heads, settings: RegistrationSettings, device: str, repeats: int) -> dict[str, Any]:
    """Align once without counting, then some times: medians, memory, and the Dice of the last run."""
    align(heads, settings, device)
    reset_peak()
    runs = [align(heads, settings, device) for _ in range(repeats)]
    return {
        "case": heads.case.name,
        "n_runs": repeats,
        "seconds": _median([run.seconds for run in runs]),
        "seconds_min": round(min(run.seconds for run in runs), 4),
        "affine_seconds": _median([run.affine for run in runs]),
        "preparation_and_updates_seconds": _median([run.updates for run in runs]),
        "way_back_seconds": _median([run.way_back for run in runs]),
        "peak_gib": peak_gib(),
        "dsc_mean": dice_mean(heads.case, runs[-1].alignment),
    }


def measure_loop(
    heads: Heads, settings: RegistrationSettings, device: str, bandwidth: float, repeats: int
) -> dict[str, Any]:
    """Time the updates alone, against the bytes that they must move.

    Each stage is run with its own number of updates and with `MORE` times as many. Everything but the updates
    is the same in both, also what is done once for each stage, so that the difference is updates that are
    repeated, and nothing else.

    Parameters
    ----------
    heads, settings, device
        What is aligned, how, and where.
    bandwidth
        Bytes a second of a copy on the device, read and written.
    repeats
        Runs of each; the quickest counts.
    """
    stages = settings.stages
    longer = tuple(replace(stage, iterations=MORE * stage.iterations) for stage in stages)
    short, long = (
        min(align(heads, replace(settings, stages=each), device).updates for _ in range(repeats))
        for each in (stages, longer)
    )
    seconds = (long - short) / (MORE - 1)
    fixed, moving = heads.labels
    moved = [stage_bytes(fixed, moving, heads.images.moving, stage, settings) for stage in stages]
    floor = sum(each * stage.iterations for each, stage in zip(moved, stages, strict=True)) / bandwidth
    return {
        "case": heads.case.name,
        "n_updates": sum(stage.iterations for stage in stages),
        "bytes_per_update": moved,
        "bandwidth_gb_per_second": round(bandwidth / 1e9, 1),
        "loop_seconds": round(seconds, 5),
        "floor_seconds": round(floor, 5),
        "over_floor": round(seconds / floor, 3),
        "preparation_seconds": round(short - seconds, 5),
    }


def measure_whole_grid(heads: Heads, settings: RegistrationSettings, device: str) -> dict[str, Any]:
    """Align on the whole grid of the fixed labels, once, for its memory."""
    reset_peak()
    run = align(heads, replace(settings, margin_mm=WHOLE_MM), device)
    return {
        "case": heads.case.name,
        "grid": list(heads.labels[0].space.shape),
        "peak_gib": peak_gib(),
        "seconds": round(run.seconds, 4),
    }


def measure_agreement(
    heads: Heads, settings: RegistrationSettings, devices: tuple[str, str]
) -> dict[str, Any]:
    """Measure how far the displacements of two devices lie apart in the fixed brain, from the same affine."""
    one, other = (
        align_deformable(*heads.labels, heads.start, settings, images=heads.images, device=device)
        for device in devices
    )
    apart = apart_mm(heads, one, other)
    return {
        "case": heads.case.name,
        "mm_p99": round(float(np.percentile(apart, 99)), 5),
        "mm_max": round(float(apart.max()), 5),
    }


def apart_mm(heads: Heads, one: Alignment, other: Alignment) -> Float64[np.ndarray, " n"]:
    """Say how far two displacements lie apart at every voxel of the fixed brain."""
    away = np.sqrt(((one.displacement - other.displacement).astype(np.float64) ** 2).sum(axis=0))
    fixed = still(np.eye(4), one.space).resample(heads.labels[0], onto=one.space, interpolation="nearest")
    return np.asarray(away[fixed.data > 0])


def reset_peak() -> None:
    """Forget what torch held until now."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak_gib() -> float | None:
    """Most memory of the card that tensors took since it was forgotten; None without a card."""
    return round(torch.cuda.max_memory_allocated() / 2**30, 3) if torch.cuda.is_available() else None


def describe_card() -> Mapping[str, object]:
    """Name the card and what drives it."""
    return {
        "name": torch.cuda.get_device_name(),
        "memory_gib": round(torch.cuda.get_device_properties(0).total_memory / 2**30, 1),
        "cuda": torch.version.cuda,
    }


def _median(values: list[float]) -> float:
    return round(float(np.median(values)), 4)
