"""The command line's arguments: their spellings, and what each may be."""

import argparse
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

from bidsapp.errors import UsageError
from bidsapp.execution.device import POLICIES
from bidsapp.settings import LESION_HANDLINGS, Contrast


class _Parser(argparse.ArgumentParser):
    """Ends with the status for usage, 64, where argparse would end with 2."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; metsatlas --help lists all options")


def build_parser() -> argparse.ArgumentParser:
    """Build the parser; the spellings are those of other BIDS Apps."""
    parser = _Parser(
        prog="metsatlas",
        description="Align patients with brain metastases to an atlas, then count where the metastases sit.",
        epilog="Exit status: 0 all well, 1 some scans failed, 16 invalid BIDS, 17 unknown level, 18 nothing "
        "selected, 64 usage, 65 bad data, 66 no input, 73 cannot write, 74 input/output, 75 try again.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("bids_dir", type=Path, help="the BIDS dataset; nothing is written there unless output_dir is inside")
    add("output_dir", type=Path, help="the derivative dataset to write")
    add("levels", nargs="+", metavar="{participant,group}", help="one or both")
    add("--version", action="version", version=f"metsatlas {version('metsatlas')}")
    add("-v", "--verbose", action="count", default=0, help="say more; twice: the libraries, too")
    add("--dry-run", action="store_true", help="print plan and inputs as JSON; write and validate nothing")
    _add_selection(parser)
    _add_group(parser)
    _add_computing(parser)
    return parser


def _add_selection(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("what to work on").add_argument
    add(
        *("--participant-label", "--participant_label", "--participant-labels", "--participant_labels"),
        nargs="+",
        action="extend",
        default=[],
        metavar="LABEL",
        help="with or without sub-; default: all",
    )
    add(
        *("--session-label", "--session_label", "--session-id"),
        nargs="+",
        action="extend",
        default=[],
        metavar="LABEL",
        help="with or without ses-; default: all",
    )
    add(
        *("-d", "--derivatives"),
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=PATH",
        help="datasets with label maps and lesion masks, besides bids_dir/derivatives; NAME may be left out",
    )
    add(
        "--bids-filter-file",
        type=Path,
        metavar="FILE",
        help="JSON: t1w, dseg and lesion (or roi) to entities",
    )
    add(
        *("--skip-bids-validation", "--skip_bids_validation", "--skip_bids_validator"),
        action="store_true",
        help="do not validate bids_dir first",
    )
    add(
        "--shard",
        default="1/1",
        metavar="I/N",
        help="only every N-th participant from the I-th on; slurm: I and N of the job array we are in",
    )
    add("--atlas", type=Path, metavar="FOLDER", help="your own atlas; default: MNI152NLin2009aSym, embedded")


def _add_group(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("how to analyse the group").add_argument
    add(
        "--preset",
        choices=("clustered", "paper"),
        default="clustered",
        help="whose verdict leads: lesions of a patient kept together, or each independent as in the paper; "
        "both are computed; default: clustered",
    )
    add("--group-by", default="site", metavar="COLUMN", help="of participants.tsv: centres; default: site")
    add(
        "--group-session",
        choices=("first", "last", "all"),
        default="first",
        help="first or last one with lesions of each patient, or all as one patient; default: first",
    )
    add(
        "--off-structure",
        choices=("exclude", "nearest", "overlap"),
        default="exclude",
        help="lesions with the centre outside all structures: leave out, give to the nearest within 3 mm, or "
        "give every lesion to the structure it shares most with; default: exclude",
    )
    add(
        "--contrast",
        type=_contrast,
        metavar="COLUMN:A:B",
        help="compare two groups of patients voxel by voxel, such as primary:melanoma:lung",
    )
    add(
        "--lesions-in-atlas-space",
        type=Path,
        metavar="FOLDER",
        help="lesion masks aligned to the atlas already; the participant level is not needed",
    )
    add(
        *("--no-maps", "--no_maps"),
        action="store_true",
        help="tables and page only: no patient's mask is read, which is quicker; not with --contrast",
    )


def _add_computing(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("how to compute").add_argument
    add("--device", type=_device, default="auto", help="auto, cpu, cuda or cuda:N; default: auto")
    add(
        "--gpu",
        choices=POLICIES,
        default="try",
        help="require: a GPU or an error; none: no GPU; default: try",
    )
    add(
        *("--nprocs", "--n-procs", "--n_procs", "--nthreads", "--n-cpus", "--n_cpus", "--ncpus"),
        type=_positive,
        default=1,
        metavar="N",
        help="scans at the same time; default: 1",
    )
    add(
        *("--omp-nthreads", "--omp_nthreads"),
        type=_positive,
        metavar="N",
        help="threads of each process; default: the processors we may use, shared out",
    )
    add(
        *("--low-mem", "--low_mem"),
        action="store_true",
        help="1.5 GiB a scan instead of 2.5: displacements are kept every 1.2 mm instead of 0.67",
    )
    joined = parser.add_mutually_exclusive_group().add_argument
    joined("--scheduler", metavar="ADDRESS", help="work on the workers of this Dask scheduler")
    joined("--scheduler-file", type=Path, metavar="FILE", help="the same, address in a file it wrote")
    again = parser.add_mutually_exclusive_group().add_argument
    again("--force", action="store_true", help="work again on scans whose results are up to date")
    again(
        *("--reports-only", "--reports_only"),
        action="store_true",
        help="draw the pages of finished scans again from their results; nothing is registered",
    )
    add("-w", "--work-dir", "--work_dir", type=Path, metavar="FOLDER", help="scratch; default: in $TMPDIR")
    add("--random-seed", "--random_seed", type=_seed, default=0, metavar="N", help="default: 0")
    pace = parser.add_mutually_exclusive_group().add_argument
    pace("--fast", dest="pace", action="store_const", const="fast", help="quicker, less overlap")
    pace("--best", dest="pace", action="store_const", const="best", help="slower, more overlap")
    add(
        "--objective",
        choices=("overlap", "paper"),
        default="overlap",
        help="what the alignment lowers: the structures' overlap, or the correlation of distance maps as in "
        "Wielenberg et al. 2026; default: overlap",
    )
    add(
        "--location-ensemble",
        type=_positive,
        default=0,
        metavar="N",
        help="align each scan with lesions N times more, from perturbed starts: adds the scatter of each "
        "lesion's place to location_error_mm; takes N times longer",
    )
    add(
        "--parameterisation",
        choices=("field", "network"),
        default="field",
        help="what is moved so that the objective falls: the velocity itself, or the weights of a network "
        "that gives it as in Wielenberg et al. 2026; default: field",
    )
    add(
        "--initial-model",
        default="none",
        metavar="FILE|none",
        help="begin with a general model of metsatlas-train; default: none",
    )
    add(
        "--lesion-handling",
        choices=LESION_HANDLINGS,
        default="auto",
        help="mask: lesions under a mask keep the size of their surroundings; volume: masks do not steer, "
        "what is suspected to be a lesion keeps the size of its surroundings, every structure grows evenly; "
        "none: neither; default: auto, the mask where there is one, else the volume",
    )
    add("--sloppy", action="store_true", help="coarse and quick: for tests only, never for results")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a whole number from 1 is needed, got {text!r}")
    return int(text)


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"a whole number from 0 to 4294967295 is needed, got {text!r}")
    return int(text)


def _contrast(text: str) -> Contrast:
    parts = [part.strip() for part in text.split(":")]
    if len(parts) != 3 or not all(parts) or parts[1] == parts[2]:
        raise argparse.ArgumentTypeError(
            f"COLUMN:A:B is needed, with two different groups, such as primary:melanoma:lung, got {text!r}"
        )
    return Contrast(column=parts[0], first=parts[1], second=parts[2])


def _device(text: str) -> str:
    if text in {"auto", "cpu", "cuda"} or (text.startswith("cuda:") and text[5:].isdecimal()):
        return text
    raise argparse.ArgumentTypeError(f"auto, cpu, cuda or cuda:N is needed, got {text!r}")
