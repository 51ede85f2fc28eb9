"""python -m benchmark.measure [CASE ...]: measure, and keep each case's result as one JSON file."""

import argparse
import logging
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmark.cases import CASES, Bench, CaseSkippedError
from benchmark.provenance import describe_provenance
from benchmark.running import ROOT
from bidsapp.bids.save import save_json
from bidsapp.errors import MetsAtlasError, UsageError

RESULTS = ROOT / "benchmark" / "results"

logger = logging.getLogger("benchmark")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the cases asked for; one that fails leaves its old result alone.

    Returns
    -------
    exit_status
        0, or that of the first case that failed.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    options = _parser().parse_args(arguments)
    try:
        _check(options)
    except UsageError as error:
        logger.error("%s", error)  # noqa: TRY400 (one clear line, no traceback)
        return error.exit_status
    statuses = [_measure(case, options) for case in options.cases or CASES]
    return next((status for status in statuses if status), 0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmark.measure", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"{', '.join(CASES)}; default: all")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER", help="where JSONs go")
    parser.add_argument("--work", type=Path, metavar="FOLDER", help="new folder; everything in it is kept")
    parser.add_argument("--sloppy", action="store_true", help="few scans, coarse: only to try this out")
    return parser


def _check(options: argparse.Namespace) -> None:
    unknown = [case for case in options.cases if case not in CASES]
    if unknown:
        raise UsageError(f"a case must be one of {', '.join(CASES)}, got {unknown[0]}")
    if options.sloppy and options.results.resolve() == RESULTS:
        raise UsageError("sloppy results must not be published: name another folder with --results")
    if options.work and options.work.exists():
        raise UsageError(f"the work folder must be a new one, got {options.work}: name another")


def _measure(case: str, options: argparse.Namespace) -> int:
    """Measure one case and keep its result."""
    logger.info("%s: measuring", case)
    with tempfile.TemporaryDirectory(prefix="metsatlas-bench-") as temporary:
        folder = (options.work or Path(temporary)).resolve() / case
        folder.mkdir(parents=True)
        try:
            provenance = describe_provenance(f"python -m benchmark.measure {case}")
            result = {
                "case": case,
                "sloppy": options.sloppy,
                "provenance": provenance,
                **CASES[case](Bench(folder, options.sloppy)),
            }
            save_json(result, options.results / f"{case}.json")
        except CaseSkippedError as reason:
            logger.warning("%s: skipped, %s", case, reason)
        except MetsAtlasError as error:
            logger.error("%s: failed, %s", case, error)  # noqa: TRY400 (one clear line, no traceback)
            return error.exit_status
        else:
            logger.info("%s: done", case)
    return 0


if __name__ == "__main__":
    sys.exit(main())
