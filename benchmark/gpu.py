"""python -m benchmark.gpu: the presets on a CUDA card: seconds, memory, floor, agreement, others beside them.

The JSON is written after each part: a run that was cut short keeps what it has, and says so.
"""

import argparse
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numba
import numpy as np
import torch

from benchmark.cases import CaseSkippedError
from benchmark.gpu_others import measure_fireants, measure_published_network
from benchmark.gpu_page import PAGE, write_page
from benchmark.gpu_parts import (
    Heads,
    describe_card,
    load_heads,
    measure_agreement,
    measure_case,
    measure_loop,
    measure_whole_grid,
)
from benchmark.measure import RESULTS
from benchmark.peers.cases import PAIRS
from benchmark.peers.tools import ENVIRONMENT
from benchmark.provenance import describe_provenance
from benchmark.stopwatch import measure_bandwidth
from bidsapp.bids.save import save_json
from bidsapp.errors import MetsAtlasError
from bidsapp.execution.device import settle_device
from bidsapp.execution.resources import available_cpus
from bidsapp.settings import PRESETS, RegistrationSettings

SCANS = ("sub-oasis1000", "sub-oasis1010", "sub-oasis1036")
"""Scans to the atlas that stand for all of them: first, middle and last."""
CASES = (*PAIRS, *SCANS)
DEFAULT = "default"
OTHERS = tuple(preset for preset in PRESETS if preset != DEFAULT)
NAME = "gpu.json"

logger = logging.getLogger("benchmark")


@dataclass(frozen=True)
class Bench:
    """What is measured, and how thoroughly.

    Parameters
    ----------
    heads
        Cases: pairs first, the last one is a scan to the atlas.
    device
        Where torch computes; what it is compared with is the processor.
    options
        As the command line gives them.
    settings
        Of each preset.
    """

    heads: Sequence[Heads]
    device: str
    options: argparse.Namespace
    settings: Mapping[str, RegistrationSettings] = field(
        default_factory=lambda: {name: RegistrationSettings.preset(name) for name in PRESETS}
    )

    def presets(self, names: Sequence[str], repeats: int) -> dict[str, Any]:
        """Measure presets on every case."""
        return {
            name: [measure_case(each, self.settings[name], self.device, repeats) for each in self.heads]
            for name in names
        }

    def loops(self) -> dict[str, Any]:
        """Hold the updates of the default preset against their floor, on the first case and the last."""
        bandwidth, repeats = measure_bandwidth(self.device), self.options.loop_repeats
        ends = self.heads[:: max(1, len(self.heads) - 1)]
        rows = [measure_loop(each, self.settings[DEFAULT], self.device, bandwidth, repeats) for each in ends]
        return {DEFAULT: rows}

    def agreement(self) -> dict[str, Any]:
        """Compare every preset with the processor, on the last case."""
        devices = self.device, "cpu"
        return {
            name: measure_agreement(self.heads[-1], settings, devices)
            for name, settings in self.settings.items()
        }

    def fireants(self) -> Mapping[str, Any]:
        """Let FireANTs take its turns."""
        options, pairs = self.options, [each for each in self.heads if each.case.name in PAIRS]
        with tempfile.TemporaryDirectory() as work:
            return measure_fireants(
                pairs, self.device, options.peers_python, Path(work), torch.get_num_threads()
            )

    def network(self) -> dict[str, Any]:
        """Time the published network."""
        steps = self.options.network_steps
        return measure_published_network(self.heads[-1], self.device, steps=steps, warm_up=3)

    def parts(self) -> dict[str, Callable[[], Mapping[str, Any]]]:
        """List all parts in their order: what matters most comes first."""
        options, settings = self.options, self.settings[DEFAULT]
        return {
            "presets": partial(self.presets, (DEFAULT,), options.repeats),
            "whole_grid": partial(measure_whole_grid, self.heads[-1], settings, self.device),
            "loops": self.loops,
            "published_network": self.network,
            "agreement": self.agreement,
            "fireants": self.fireants,
            "other_presets": partial(self.presets, OTHERS, options.other_repeats),
        }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure part by part, keep the result after each, and return the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    options = _parser().parse_args(arguments)
    try:
        _check_card()
        provenance = describe_provenance("python -m benchmark.gpu", commit=options.commit)
        torch.set_num_threads(min(available_cpus(os.environ), numba.config.NUMBA_NUM_THREADS))
        bench = Bench([load_heads(name) for name in options.cases], settle_device("cuda").name, options)
        known = {"provenance": provenance, "card": describe_card()}
        found = measure_parts(bench, known, options.results / NAME)
        if options.results.resolve() == RESULTS and not found["sloppy"]:
            write_page(options.results, PAGE)
    except CaseSkippedError as reason:
        logger.warning("skipped, %s", reason)
    except MetsAtlasError as error:
        logger.error("%s", error)  # noqa: TRY400 (one clear line, no traceback)
        return error.exit_status
    return 0


def measure_parts(bench: Bench, known: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Measure every part and write what there is after each.

    Parameters
    ----------
    bench
        What is measured.
    known
        What stands in the result besides.
    path
        Of the JSON.
    """
    parts: dict[str, Any] = {}
    result: dict[str, Any] = {}
    planned = bench.parts()
    for name, measure in planned.items():
        started = time.monotonic()
        parts[name] = measure()
        logger.info("%s: %.0f s", name, time.monotonic() - started)
        has_all_cases = {each.case.name for each in bench.heads} == set(CASES)
        missing = [part for part in planned if part not in parts]
        result = assemble(parts) | {"sloppy": not has_all_cases, "missing": missing, **known}
        save_json(result, path)
    return result


def assemble(parts: Mapping[str, Any]) -> dict[str, Any]:
    """Put the parts that are there together, and derive the figures that are published.

    Parameters
    ----------
    parts
        Name to what was measured, as in `Bench.parts`.
    """
    presets = {**parts.get("presets", {}), **parts.get("other_presets", {})}
    rows = presets.get(DEFAULT, [])
    names = ", ".join(row["case"] for row in rows)
    figures: dict[str, Any] = {}
    if rows:
        seconds = float(np.median([row["seconds"] for row in rows]))
        figures["seconds_median"] = _figure(seconds, len(rows))
        if "published_network" in parts:
            ratio = parts["published_network"]["seconds_extrapolated"] / seconds
            figures["speedup_vs_network"] = _figure(ratio, 1)
    if "loops" in parts:
        floors = [row["over_floor"] for row in parts["loops"][DEFAULT]]
        figures["over_floor"] = _figure(max(floors), len(floors))
    if "whole_grid" in parts:
        figures["peak_gib"] = _figure(parts["whole_grid"]["peak_gib"], 1)
    if "agreement" in parts:
        apart = [row["mm_p99"] for row in parts["agreement"].values()]
        figures["agreement_mm_p99"] = _figure(max(apart), len(apart))
    kept = {name: part for name, part in parts.items() if not name.endswith("presets")}
    return {
        "case": "gpu",
        "data": f"OASIS scans with manual labels on one CUDA card: {names}",
        "presets": presets,
        **kept,
        "figures": figures,
    }


def _check_card() -> None:
    if not torch.cuda.is_available():
        raise CaseSkippedError("no CUDA card on this machine")


def _figure(value: float | None, n: int) -> dict[str, Any]:
    return {"value": None if value is None else round(value, 4), "n": n}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmark.gpu", description=__doc__)
    add, usual = parser.add_argument, ENVIRONMENT / "bin" / "python"
    add("--cases", nargs="+", default=CASES, metavar="CASE", help=f"default: {', '.join(CASES)}")
    add("--repeats", type=int, default=5, metavar="N", help="counted runs of the default preset (5)")
    add("--other-repeats", type=int, default=1, metavar="N", help="of the other presets (1)")
    add("--loop-repeats", type=int, default=3, metavar="N", help="to time the updates alone (3)")
    add("--network-steps", type=int, default=20, metavar="N", help="timed, of the published network (20)")
    add("--peers-python", type=Path, default=usual, metavar="PATH", help="interpreter that has FireANTs")
    add("--commit", metavar="HASH", help="of the code, where there is no git")
    add("--results", type=Path, default=RESULTS, metavar="FOLDER")
    return parser


if __name__ == "__main__":
    sys.exit(main())
