"""python -m benchmark.peers: every tool on every case, in turns, then results/peers.json and the page."""

import argparse
import logging
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmark.cases import CaseSkippedError
from benchmark.figures import FIGURES
from benchmark.measure import RESULTS
from benchmark.peers.cases import Case, case_names, load_case
from benchmark.peers.collect import collect
from benchmark.peers.keep import Keep
from benchmark.peers.page import PAGE, write_page
from benchmark.peers.score import score
from benchmark.peers.tools import ENVIRONMENT, TOOLS, Tool
from benchmark.peers.turns import Prepared, find_affine, prepare, take_turn
from benchmark.provenance import describe_provenance
from benchmark.running import ROOT
from bidsapp.bids.save import save_json
from bidsapp.errors import MetsAtlasError, MissingInputError, UsageError

WORK = ROOT / ".cache" / "peers"

logger = logging.getLogger("benchmark")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is not measured yet, collect, and return the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    options = _parser().parse_args(arguments)
    try:
        tools = choose(options.tools)
        keep = Keep(options.work)
        provenance = describe_provenance("python -m benchmark.peers")
        for name in options.cases or case_names():
            _measure(load_case(name), tools, keep, options.threads)
        found = collect(keep.rows(TOOLS, case_names()), TOOLS, case_names(), provenance)
        _publish(found, options.results)
    except CaseSkippedError as reason:
        logger.warning("skipped, %s", reason)
    except MetsAtlasError as error:
        logger.error("%s", error)  # noqa: TRY400 (one clear line, no traceback)
        return error.exit_status
    return 0


def _publish(found: Mapping[str, object], results: Path) -> None:
    """Write what was found; the page follows once every turn is taken.

    Raises
    ------
    UsageError
        If turns are missing and the folder is that of published results.
    """
    if found["sloppy"] and results.resolve() == RESULTS:
        raise UsageError(
            f"only {found['n_turns']} of {found['n_turns_due']} turns are taken: go on without --cases and "
            "--tools, or name another folder with --results"
        )
    save_json(found, results / "peers.json")
    if results.resolve() == RESULTS:
        write_page(results, PAGE, FIGURES)


def choose(names: Sequence[str]) -> tuple[Tool, ...]:
    """Look tools up by name; none means all.

    Raises
    ------
    UsageError
        If there is no such tool.
    MissingInputError
        If the other tools are not installed.
    """
    known = {tool.name: tool for tool in TOOLS}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"a tool must be one of {', '.join(known)}, got {unknown[0]}")
    chosen = tuple(known[name] for name in names) or TOOLS
    if any(tool.family != "ours" for tool in chosen) and not ENVIRONMENT.is_dir():
        raise MissingInputError(f"the other tools must be installed in {ENVIRONMENT.name}/: run make peers")
    return chosen


def _measure(case: Case, tools: tuple[Tool, ...], keep: Keep, threads: int) -> None:
    """Let every tool take its turn on a case, as far as its result is not there yet."""
    due = [tool for tool in tools if tool.works_on(case.name) and not keep.has(case.name, tool)]
    if not due:
        return
    folder = keep.scratch(case.name)
    prepared = prepare(case, find_affine(case), folder)
    for tool in due:
        keep.save(case.name, tool, _row(case, tool, prepared, threads))
    shutil.rmtree(folder)


def _row(case: Case, tool: Tool, prepared: Prepared, threads: int) -> dict[str, object]:
    alignment, cost = take_turn(tool, prepared, threads)
    row = {"case": case.name, "tool": tool.name, **score(case, alignment, prepared.grid), **cost}
    logger.info("%s, %s: Dice %.3f, %.1f CPU-s", case.name, tool.name, row["dsc_mean"], row["cpu_seconds"])
    return row


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmark.peers", description=__doc__)
    parser.add_argument("--cases", nargs="+", metavar="CASE", help="oas1, oas2, oas3 or a scan; default: all")
    parser.add_argument("--tools", nargs="+", default=(), metavar="TOOL", help="default: all")
    parser.add_argument("--threads", type=int, default=2, metavar="N", help="of each tool (default 2)")
    parser.add_argument("--work", type=Path, default=WORK, metavar="FOLDER", help="results of single turns")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER")
    return parser


if __name__ == "__main__":
    sys.exit(main())
