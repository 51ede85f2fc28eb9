"""python -m benchmark.tumours: tumours of known size and place through every method, then the page.

Each result of one method on one scan is kept, so that a run that was stopped goes on where it was.
"""

import argparse
import logging
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmark.cases import CaseSkippedError
from benchmark.measure import RESULTS
from benchmark.provenance import describe_provenance
from benchmark.running import ROOT
from benchmark.summary import load_json
from benchmark.tumours_methods import METHODS, Method, align_control, align_tumours
from benchmark.tumours_page import write_page
from benchmark.tumours_scans import load_tumour_scan, scan_names
from benchmark.tumours_scores import score_healthy, score_tumours
from benchmark.tumours_summary import sum_up
from bidsapp.bids.save import save_json
from bidsapp.errors import MetsAtlasError, UsageError
from bidsapp.images.alignment import Alignment

WORK = ROOT / ".cache" / "tumours"

logger = logging.getLogger("benchmark")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is not measured yet, sum up, and return the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    options = _parser().parse_args(arguments)
    torch.set_num_threads(1)
    try:
        provenance = describe_provenance("python -m benchmark.tumours")
        methods = choose(options.methods)
        for scan in scan_names()[: options.scans]:
            _measure(scan, methods, options.work, str(provenance["commit"]))
        found = sum_up(read_rows(options.work))
        save_json({"case": "tumour", "provenance": provenance, **found}, options.results / "tumour.json")
        if options.results.resolve() == RESULTS:
            write_page(options.results)
    except CaseSkippedError as reason:
        logger.warning("skipped, %s", reason)
    except MetsAtlasError as error:
        logger.error("%s", error)  # noqa: TRY400 (one clear line, no traceback)
        return error.exit_status
    return 0


def choose(names: Sequence[str], methods: tuple[Method, ...] = METHODS) -> tuple[Method, ...]:
    """Look methods up by name; none means all.

    Raises
    ------
    UsageError
        If there is no such method.
    """
    known = {method.name: method for method in methods}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"a method must be one of {', '.join(known)}, got {unknown[0]}")
    return tuple(known[name] for name in names) or methods


def read_rows(work: Path) -> list[Mapping[str, Any]]:
    """Read what was measured, one row a method and scan, methods in their order."""
    paths = [work / scan / f"{method.name}.json" for method in METHODS for scan in scan_names()]
    return [load_json(path) for path in paths if path.is_file()]


def _measure(name: str, methods: Sequence[Method], work: Path, commit: str) -> None:
    """Let every method align a scan, as far as its result is not there yet."""
    due = [method for method in methods if not (work / name / f"{method.name}.json").is_file()]
    if not due:
        return
    scan, folder = load_tumour_scan(name), work / name / "scratch"
    controls: dict[str, Alignment] = {}
    for method in due:
        if method.control not in controls:
            controls = {method.control: align_control(method, scan, folder)}
        control = controls[method.control]
        alignment, cpu_seconds = align_tumours(method, scan, folder)
        row = {
            "scan": name,
            "method": method.name,
            "commit": commit,
            **score_healthy(scan, alignment, control),
            "cpu_seconds": round(cpu_seconds, 1),
            "tumours": score_tumours(scan, alignment, control),
        }
        logger.info("%s, %s: %.1f CPU-s", name, method.name, cpu_seconds)
        save_json(row, work / name / f"{method.name}.json")
    shutil.rmtree(folder, ignore_errors=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmark.tumours", description=__doc__)
    parser.add_argument("--scans", type=int, metavar="N", help="the first N scans; default: all")
    parser.add_argument("--methods", nargs="+", default=(), metavar="METHOD", help="default: all")
    parser.add_argument("--work", type=Path, default=WORK, metavar="FOLDER", help="results of single turns")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER")
    return parser


if __name__ == "__main__":
    sys.exit(main())
