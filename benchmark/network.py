"""python -m benchmark.network: the paper's table, for the network and the field, then its page.

Each result of one method on one scan is kept, so that a run that was stopped goes on where it was.
"""

import argparse
import hashlib
import logging
import shutil
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from benchmark.cases import CaseSkippedError
from benchmark.measure import RESULTS
from benchmark.network_methods import plan_methods
from benchmark.network_page import PAGE, write_page
from benchmark.network_scores import score_patient, score_scan
from benchmark.network_summary import sum_up
from benchmark.provenance import describe_provenance
from benchmark.running import ROOT, one_thread_each
from benchmark.summary import load_json
from benchmark.tumours import choose
from benchmark.tumours_methods import Method, align_control, align_tumours
from benchmark.tumours_scans import load_tumour_scan, scan_names
from bidsapp.bids.save import save_json
from bidsapp.errors import MetsAtlasError, UsageError
from bidsapp.execution.device import settle_device
from bidsapp.registration.network.weights import load_model

WORK = ROOT / ".cache" / "network"

logger = logging.getLogger("benchmark")


@dataclass(frozen=True)
class Turns:
    """Which methods are measured, and where their rows are kept.

    Parameters
    ----------
    methods
        In the order of the table.
    device
        Where torch computes.
    folder
        Of the kind of device and of the settings: a row of another one is no row of this run.
    model
        Names the general model; "" without one.
    commit
        Of the code.
    """

    methods: tuple[Method, ...]
    device: str
    folder: Path
    model: str
    commit: str

    def path(self, scan: str, method: Method) -> Path:
        """Name the file of a row; rows that need the general model are kept apart for each model."""
        needs_model = (method.choices or {}).get("initial_model") is not None
        return self.folder / (self.model if needs_model else "no-model") / scan / f"{method.name}.json"

    def due(self, scan: str) -> list[Method]:
        """List the methods whose row is not there yet."""
        return [method for method in self.methods if not self.path(scan, method).is_file()]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is not measured yet, sum up, and return the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    options = _parser().parse_args(arguments)
    try:
        _run(options)
    except CaseSkippedError as reason:
        logger.warning("skipped, %s", reason)
    except MetsAtlasError as error:
        logger.error("%s", error)  # noqa: TRY400 (one clear line, no traceback)
        return error.exit_status
    return 0


def measure_all(turns: Turns, scans: Sequence[str], n_processes: int) -> None:
    """Measure every scan, in this process or several at a time, each with one thread."""
    due = [scan for scan in scans if turns.due(scan)]
    if n_processes == 1:
        for scan in due:
            measure(turns, scan)
        return
    with one_thread_each(), ProcessPoolExecutor(n_processes, get_context("spawn")) as pool:
        started = {pool.submit(measure, turns, scan): scan for scan in due}
        for ended in as_completed(started):
            ended.result()
            logger.info("%s: all methods measured", started[ended])


def measure(turns: Turns, name: str) -> None:
    """Let every method align one scan, without and with tumours, as far as its row is not there yet.

    Before, field and network align it coarsely: loading compiled code is no part of a measured time.
    """
    torch.set_num_threads(1)
    scan, scratch = load_tumour_scan(name), turns.folder / "scratch" / name
    for method in plan_methods(None, turns.device, sloppy=True):
        align_control(method, scan, scratch)
    for method in turns.due(name):
        clock = [_now()]
        control = align_control(method, scan, scratch)
        clock.append(_now())
        alignment, _ = align_tumours(method, scan, scratch)
        clock.append(_now())
        healthy, patients = (_seconds(*pair) for pair in pairwise(clock))
        row = {
            "scan": name,
            "method": method.name,
            "commit": turns.commit,
            "healthy": {**score_scan(scan.case, control), **healthy},
            "patients": {**score_patient(scan, alignment, control), **patients},
        }
        save_json(row, turns.path(name, method))
        logger.info("%s, %s: %.1f s", name, method.name, healthy["wall_seconds"])
    shutil.rmtree(scratch, ignore_errors=True)


def find_unseen(scans: Sequence[str], model: Path | None, told: Sequence[str]) -> list[str]:
    """List the scans of participants that the general model never saw.

    Parameters
    ----------
    scans
        Participants with "sub-".
    model
        File of the model; None: there is nothing to have seen.
    told
        Participants it never saw, where its file does not tell.

    Raises
    ------
    UsageError
        If the file tells and something else is told, or neither tells.
    """
    if model is None:
        return []
    learnt = load_model(model).provenance.learnt_from
    if (learnt is None) == (not told):
        raise UsageError(
            "either the model's file or --unseen must tell which participants it never saw, got "
            f"{'neither' if learnt is None else 'both'}: {'name them' if learnt is None else 'leave it out'}"
        )
    labels = {scan: scan.removeprefix("sub-") for scan in scans}
    if learnt is None:
        named = {label.removeprefix("sub-") for label in told}
        return [scan for scan, label in labels.items() if label in named]
    return [scan for scan, label in labels.items() if label not in learnt]


def _run(options: argparse.Namespace) -> None:
    names = scan_names()
    scans = names[: options.scans]
    unseen = find_unseen(names, options.model, options.unseen)
    chosen = ["--model", options.model.name] if options.model else []
    command = ["python -m benchmark.network", *chosen, "--device", options.device]
    provenance = describe_provenance(" ".join(command), commit=options.commit)
    device = settle_device(options.device)
    planned = plan_methods(options.model, device.name, sloppy=options.sloppy)
    model = _describe_model(options.model)
    folder = options.work / ("sloppy" if options.sloppy else "full") / device.name.partition(":")[0]
    turns = Turns(
        methods=choose(options.methods, planned),
        device=device.name,
        folder=folder,
        model=model["sha256"] if model else "",
        commit=str(provenance["commit"]),
    )
    measure_all(turns, scans, options.nprocs)
    rows = read_rows(turns, names)
    found = sum_up(compared(rows) or rows, planned, unseen)
    is_whole = bool(compared(rows)) and bool(found["unseen"])
    result = {"case": "network", "sloppy": options.sloppy or not is_whole, "provenance": provenance}
    result |= {"device": device.words, "model": model, **found}
    is_published = options.results.resolve() == RESULTS
    if result["sloppy"] and is_published:
        raise UsageError(
            "a scan with all methods, or one that the general model never saw, is missing: go on with all "
            "methods and a model, or name another folder with --results"
        )
    save_json(result, options.results / "network.json")
    if is_published:
        write_page(options.results, PAGE)


def read_rows(turns: Turns, scans: Sequence[str]) -> list[Mapping[str, Any]]:
    """Read what was measured, one row a method and scan, methods in their order."""
    paths = [turns.path(scan, method) for method in turns.methods for scan in scans]
    return [load_json(path) for path in paths if path.is_file()]


def compared(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Keep the rows of scans that every method aligned: only there can methods be compared."""
    n_methods, turns = len(plan_methods(Path(), "cpu")), Counter(row["scan"] for row in rows)
    return [row for row in rows if turns[row["scan"]] == n_methods]


def _describe_model(path: Path | None) -> dict[str, Any] | None:
    if path is None:
        return None
    return {**asdict(load_model(path).provenance), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def _now() -> tuple[float, float]:
    return time.process_time(), time.monotonic()


def _seconds(before: tuple[float, float], after: tuple[float, float]) -> dict[str, float]:
    cpu, wall = (round(there - here, 2) for here, there in zip(before, after, strict=True))
    return {"cpu_seconds": cpu, "wall_seconds": wall}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmark.network", description=__doc__)
    add = parser.add_argument
    add("--model", type=Path, metavar="FILE", help="the general model; default: what needs none")
    add(
        "--unseen",
        nargs="+",
        default=(),
        metavar="LABEL",
        help="whom the model never saw, if it does not tell",
    )
    add("--device", default="cpu", metavar="DEVICE", help="cpu (default), cuda or auto")
    add("--scans", type=int, metavar="N", help="the first N scans; default: all")
    add("--methods", nargs="+", default=(), metavar="METHOD", help="default: all")
    add("--nprocs", type=int, default=1, metavar="N", help="scans at a time (default 1)")
    add("--sloppy", action="store_true", help="coarse: only to try this out")
    add("--commit", metavar="HASH", help="of the code, where there is no git")
    add("--work", type=Path, default=WORK, metavar="FOLDER", help="results of single turns")
    add("--results", type=Path, default=RESULTS, metavar="FOLDER")
    return parser


if __name__ == "__main__":
    sys.exit(main())
