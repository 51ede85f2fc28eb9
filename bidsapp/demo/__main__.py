"""python -m bidsapp.demo: write a virtual cohort, or put virtual tumours into scans."""

import argparse
import logging
import sys
from pathlib import Path
from typing import get_args

from bidsapp.demo.cohort import CohortPlan, write_cohort
from bidsapp.demo.plan import Inside, place_names
from bidsapp.demo.real_scans import ImplantPlan, implant_dataset, implant_files
from bidsapp.errors import MetsAtlasError, UsageError
from bidsapp.settings import Selection

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
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    cohort = actions.add_parser("cohort", help="write a virtual cohort with known answers")
    cohort.add_argument("folder", type=Path, metavar="OUT", help="new or empty folder")
    cohort.add_argument("--subjects", type=int, default=6, help="number of virtual patients (default 6)")
    cohort.add_argument("--seed", type=int, default=1, help="the same seed gives the same files")
    cohort.set_defaults(act=_cohort)

    one = actions.add_parser("implant", help="put virtual tumours into one scan")
    for name, what in (("t1w", "the scan"), ("dseg", "its label map")):
        one.add_argument(f"--{name}", type=Path, required=True, help=what)
    for name in ("out-t1w", "out-mask", "out-dseg", "truth"):
        one.add_argument(f"--{name}", type=Path, required=True, help="file to write")
    one.add_argument("--lesions", type=int, default=1, help="number of tumours (default 1)")
    _add_tumour_options(one)
    one.set_defaults(act=_implant)

    many = actions.add_parser("implant-dataset", help="put virtual tumours into the scans of a BIDS dataset")
    many.add_argument("bids_dir", type=Path, metavar="BIDS_DIR", help="existing dataset; it is not changed")
    many.add_argument("folder", type=Path, metavar="OUT_BIDS_DIR", help="new or empty folder")
    many.add_argument("-d", "--derivatives", nargs="+", action="extend", default=[], metavar="NAME=PATH")
    many.add_argument("--participant-label", nargs="+", default=[], help="only these")
    many.add_argument("--lesions-per-subject", type=int, nargs=2, default=[1, 6], metavar=("MIN", "MAX"))
    _add_tumour_options(many)
    many.set_defaults(act=_implant_dataset)
    return parser


def _add_tumour_options(parser: argparse.ArgumentParser) -> None:
    """Options that both ways of implanting share."""
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same tumours")
    parser.add_argument(
        "--diameters", type=float, nargs="+", default=[], metavar="MM", help="3 to 30, used in turn"
    )
    names = ", ".join(place_names())
    parser.add_argument("--structures", nargs="+", default=[], metavar="NAME", help=f"used in turn: {names}")
    parser.add_argument("--mass-effect", type=float, default=0.0, metavar="MM", help="push at the surface")
    parser.add_argument(
        "--inside",
        choices=get_args(Inside),
        default="background",
        help="what the label map holds inside the tumours",
    )


def _cohort(options: argparse.Namespace) -> None:
    write_cohort(options.folder, CohortPlan(n_subjects=options.subjects, seed=options.seed))


def _implant(options: argparse.Namespace) -> None:
    outputs = {
        "t1w": options.out_t1w,
        "mask": options.out_mask,
        "dseg": options.out_dseg,
        "truth": options.truth,
    }
    implant_files(options.t1w, options.dseg, _plan(options, (options.lesions, options.lesions)), outputs)


def _implant_dataset(options: argparse.Namespace) -> None:
    pairs = [text.partition("=") for text in options.derivatives]
    if not all(name and path for name, _, path in pairs):
        raise UsageError(f"label maps are given as -d NAME=PATH, got {' '.join(options.derivatives)}")
    selection = Selection(
        bids_dir=options.bids_dir,
        participants=tuple(options.participant_label),
        derivatives={name: Path(path) for name, _, path in pairs},
    )
    least, most = options.lesions_per_subject
    implant_dataset(selection, options.folder, _plan(options, (least, most)))


def _plan(options: argparse.Namespace, n_lesions: tuple[int, int]) -> ImplantPlan:
    return ImplantPlan(
        seed=options.seed,
        n_lesions=n_lesions,
        diameters_mm=tuple(options.diameters),
        structures=tuple(options.structures),
        mass_effect_mm=options.mass_effect,
        inside=options.inside,
    )


if __name__ == "__main__":
    sys.exit(main())
