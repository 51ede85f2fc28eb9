"""python -m benchmark.heldout: where structures end that drove nothing, ours against greedy."""

import argparse
import logging
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from benchmark.cases import CaseSkippedError
from benchmark.figures import FIGURES
from benchmark.measure import RESULTS
from benchmark.peers.__main__ import WORK, choose
from benchmark.peers.cases import PAIRS, Case, load_case
from benchmark.peers.keep import Keep
from benchmark.peers.page import PAGE, write_page
from benchmark.peers.score import score_parcels, score_structures
from benchmark.peers.tools import GREEDY_LABELS, Tool
from benchmark.peers.turns import find_affine, prepare, take_turn
from benchmark.provenance import describe_provenance
from bidsapp.bids.save import save_json
from bidsapp.errors import DataError, MetsAtlasError, UsageError

GROUPS: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {"hippocampus": (21, 22), "putamen": (17, 18), "ventricles": (5, 6, 7, 8, 31, 32)}
)
"""SegAnat indices that are left out together, on both sides: left and right; all ventricles at once."""

PARCELS = "cortical parcels"
SCANS = ("sub-oasis1000", "sub-oasis1010", "sub-oasis1036")
"""Scans to the atlas that stand for all of them: first, middle and last."""

CASES = (*PAIRS, *SCANS)
OURS, GREEDY = "ours-default", GREEDY_LABELS.name
SIDES = MappingProxyType({"ours": OURS, "greedy": GREEDY})
WAYS = ("dsc_mean", "dsc_back_mean")

logger = logging.getLogger("benchmark")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is not measured yet, collect, and return the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    options = _parser().parse_args(arguments)
    try:
        keep = Keep(options.work)
        provenance = describe_provenance("python -m benchmark.heldout")
        tools = choose(tuple(SIDES.values()))
        for name in options.cases or CASES:
            case = load_case(name)
            for group in _groups_of(case):
                _measure(case, group, tools, keep, options.threads)
        _publish(collect(rows_of(keep, tools), provenance), options.results)
    except CaseSkippedError as reason:
        logger.warning("skipped, %s", reason)
    except MetsAtlasError as error:
        logger.error("%s", error)  # noqa: TRY400 (one clear line, no traceback)
        return error.exit_status
    return 0


def collect(rows: Sequence[Mapping[str, Any]], provenance: Mapping[str, Any]) -> dict[str, object]:
    """Average over cases, and over groups: each group counts the same, both directions count half.

    Parameters
    ----------
    rows
        One a case, group and tool; cases that lack one of the tools are refused.
    provenance
        Of the run that collects.

    Raises
    ------
    DataError
        If a case was measured with one of the tools only, or there is nothing.
    """
    seen = {(row["group"], row["name"], row["tool"]): row for row in rows}
    groups: dict[str, dict[str, Any]] = {}
    for group in (*GROUPS, PARCELS):
        names = {
            side: sorted(n for g, n, t in seen if (g, t) == (group, tool)) for side, tool in SIDES.items()
        }
        if names["ours"] != names["greedy"]:
            raise DataError(
                f"{group} must be measured with both tools on every case, got {names}: run it again"
            )
        if names["ours"]:
            groups[group] = {"n": len(names["ours"])} | {
                side: {
                    key: round(float(np.mean([seen[group, name, tool][key] for name in names["ours"]])), 5)
                    for key in (*WAYS, "cpu_seconds")
                }
                for side, tool in SIDES.items()
            }
    structures = [groups[group] for group in GROUPS if group in groups]
    if not structures:
        raise DataError("there must be a result to collect: measure at least one case")
    overall = {side: _both_ways(structures, side) for side in SIDES}
    return {
        "case": "heldout",
        "sloppy": {row["name"] for row in rows} != set(CASES),
        "provenance": provenance,
        "data": f"{len({row['name'] for row in rows})} cases, structures left out of the drive on both sides",
        "groups": groups,
        "heldout_structures": {
            "n": sum(group["n"] for group in structures),
            "dsc_mean": overall["ours"],
            "greedy_dsc_mean": overall["greedy"],
        },
        "rows": list(rows),
    }


def rows_of(keep: Keep, tools: Sequence[Tool]) -> list[dict[str, Any]]:
    """Read all results that are there and count."""
    groups = (*GROUPS, PARCELS)
    found = keep.rows(tools, [_folder(name, group) for name in CASES for group in groups])
    return [dict(row) for row in found.values()]


def _both_ways(groups: Sequence[Mapping[str, Any]], side: str) -> float:
    return round(float(np.mean([[group[side][way] for way in WAYS] for group in groups])), 5)


def _groups_of(case: Case) -> tuple[str, ...]:
    return (*GROUPS, PARCELS) if case.name in PAIRS else tuple(GROUPS)


def _folder(name: str, group: str) -> str:
    return f"heldout-{name}-{group.replace(' ', '-')}"


def _measure(case: Case, group: str, tools: Sequence[Tool], keep: Keep, threads: int) -> None:
    """Let both tools take their turns without one group, as far as results are not there yet."""
    name = _folder(case.name, group)
    due = [tool for tool in tools if not keep.has(name, tool)]
    if not due:
        return
    prepared = prepare(case.without(GROUPS.get(group, ())), find_affine(case), keep.scratch(name))
    for tool in due:
        alignment, cost = take_turn(tool, prepared, threads)
        scores = (
            score_parcels(case, alignment)
            if group == PARCELS
            else score_structures(case, alignment, GROUPS[group])
        )
        row = {"case": name, "name": case.name, "group": group, "tool": tool.name, **scores, **cost}
        logger.info(
            "%s without %s, %s: Dice %.3f, back %.3f",
            *(case.name, group, tool.name), *(scores[way] for way in WAYS),
        )  # fmt: skip
        keep.save(name, tool, row)
    shutil.rmtree(prepared.folder)


def _publish(found: Mapping[str, object], results: Path) -> None:
    if found["sloppy"] and results.resolve() == RESULTS:
        raise UsageError("cases are missing: go on without --cases, or name another folder with --results")
    save_json(found, results / "heldout.json")
    if results.resolve() == RESULTS:
        write_page(results, PAGE, FIGURES)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmark.heldout", description=__doc__)
    parser.add_argument(
        "--cases", nargs="+", metavar="CASE", choices=CASES, help=f"default: {', '.join(CASES)}"
    )
    parser.add_argument("--threads", type=int, default=2, metavar="N", help="of each tool (default 2)")
    parser.add_argument("--work", type=Path, default=WORK, metavar="FOLDER", help="results of single turns")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER")
    return parser


if __name__ == "__main__":
    sys.exit(main())
