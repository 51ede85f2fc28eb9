"""python -m bidsapp.demo: write a virtual cohort, or put virtual tumours into scans."""

import argparse
import logging
import sys
from pathlib import Path

from bidsapp.demo.cohort import CohortPlan, write_cohort
from bidsapp.errors import MetsAtlasError

logger = logging.getLogger("bidsapp.demo")


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says and return the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    options = _parser().parse_args(arguments)
    try:
        options.act(options)
    except MetsAtlasError as error:
        logger.error("%s", error)  # noqa: TRY400 (one clear line, no traceback)
        return error.exit_status
    return 0


def _parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(prog="python -m bidsapp.demo", description=__doc__)
    actions = parser.add_subparsers(required=True)
    cohort = actions.add_parser("cohort", help="write a virtual cohort with known answers")
    cohort.add_argument("folder", type=Path, help="new or empty folder")
    cohort.add_argument("--subjects", type=int, default=6, help="number of virtual patients")
    cohort.add_argument("--seed", type=int, default=1, help="the same seed gives the same files")
    cohort.set_defaults(act=_cohort)
    return parser


def _cohort(options: argparse.Namespace) -> None:
    write_cohort(options.folder, CohortPlan(n_subjects=options.subjects, seed=options.seed))


if __name__ == "__main__":
    sys.exit(main())
