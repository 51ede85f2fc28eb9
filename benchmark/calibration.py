"""python -m benchmark.calibration: how often the group's tests and intervals are right."""

import argparse
import hashlib
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmark.calibration_page import draw_false_findings, write_tables
from benchmark.calibration_parts import PARTS, Part
from benchmark.figures import save_svg
from benchmark.measure import RESULTS
from benchmark.provenance import describe_provenance
from benchmark.readme import fill
from benchmark.running import ROOT
from benchmark.summary import load_json
from bidsapp.bids.save import save_json, save_text
from bidsapp.errors import MetsAtlasError

NAME = "calibration"
MARKERS = ("<!-- calibration:start -->", "<!-- calibration:end -->")
SOURCES = ("bidsapp/statistics/*.py", "benchmark/calibration_parts.py", "benchmark/simulation.py")

logger = logging.getLogger("benchmark")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is not measured yet, put all parts together, and return the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    options = _parser().parse_args(arguments)
    folder = options.results / NAME
    try:
        sources = fingerprint(ROOT)
        parts = {part.name: measured(part, folder, options, sources) for part in PARTS}
        provenance = describe_provenance("python -m benchmark.calibration")
        result = {
            "case": NAME,
            "data": f"simulated cohorts, {options.cohorts} per null scenario",
            "seed": options.seed,
            "sloppy": options.cohorts < 1000,
            "n_cohorts": options.cohorts,
            "provenance": provenance,
            "parts": parts,
            **aggregate(parts),
        }
        save_json(result, options.results / f"{NAME}.json")
        if options.docs:
            save_svg(draw_false_findings(result), options.docs / "figures" / f"{NAME}.svg")
            page = options.docs / "statistics.md"
            text = page.read_text(encoding="utf-8")
            save_text(fill(text, write_tables(result), MARKERS, page.name), page)
    except MetsAtlasError as error:
        logger.error("%s", error)  # noqa: TRY400 (one clear line, no traceback)
        return error.exit_status
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmark.calibration", description=__doc__)
    parser.add_argument("--cohorts", type=int, default=1000, metavar="N", help="per null scenario")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER", help="where JSONs go")
    parser.add_argument("--docs", type=Path, metavar="FOLDER", help="docs whose figure and table are filled")
    return parser


def measured(part: Part, folder: Path, options: argparse.Namespace, sources: str) -> Mapping[str, Any]:
    """Take a part from an earlier run if nothing it depends on has changed; else measure and keep it."""
    path = folder / f"{part.name}.json"
    key = {"n_asked": options.cohorts, "seed": options.seed, "sources": sources}
    if path.is_file():
        kept = load_json(path)
        if {name: kept.get(name) for name in key} == key:
            return dict(kept)
    logger.info("%s", part.name)
    result = {**key, **part.run(options.cohorts, options.seed)}
    save_json(result, path)
    return result


def fingerprint(root: Path) -> str:
    """Give the sha256 of all code that a part's result depends on."""
    paths = sorted(path for pattern in SOURCES for path in root.glob(pattern))
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


def aggregate(parts: Mapping[str, Mapping[str, Any]]) -> dict[str, object]:
    """Pick the worst of each kind, which is what is published."""
    nulls = [part for name, part in parts.items() if name.startswith("null_")]
    covered = [part for name, part in parts.items() if name.startswith("coverage_")]
    values = [value for part in covered for value in part["coverage"].values()]
    return {
        "fwer_ours_max": max(part["ours"] for part in nulls),
        "fwer_paper_max": max(part["paper"] for part in nulls),
        "fwer_paper_min": min(part["paper"] for part in nulls),
        "emd_rejection_at_05": parts["distances_independent"]["kept_together"],
        "coverage_min": min(values),
        "coverage_max": max(values),
        "n_coverage": covered[0]["n_cohorts"],
        "n_distances": parts["distances_independent"]["n_cohorts"],
    }


if __name__ == "__main__":
    sys.exit(main())
