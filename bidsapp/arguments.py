"""The command line's arguments: their spellings, and the settings they amount to."""

import argparse
import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

from bidsapp.errors import AnalysisLevelError, DataError, MissingInputError, UsageError
from bidsapp.execution.device import POLICIES
from bidsapp.execution.resources import available_cpus, scratch_folder
from bidsapp.settings import LESION_HANDLINGS, Contrast, GroupSettings, RunSettings, Selection

LEVELS = ("participant", "group")


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
        help="1.5 GiB a scan instead of 2.5: displacements are kept every 1.2 mm instead of 0.8",
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
        "every structure grows evenly; none: neither; default: auto, the mask where there is one, else the "
        "volume",
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


def read_settings(arguments: argparse.Namespace, environment: Mapping[str, str]) -> RunSettings:
    """Turn parsed arguments into settings that do not contradict themselves; the device is not settled yet.

    Raises
    ------
    AnalysisLevelError
        If a level is unknown.
    UsageError
        If folders lie where they must not, or a derivative's name comes twice.
    MissingInputError
        If a folder or file that must be there is not.
    DataError
        If the filter file is no JSON object of objects.
    """
    unknown = [level for level in arguments.levels if level not in LEVELS]
    if unknown:
        raise AnalysisLevelError(f"the level must be participant or group, got {unknown[0]!r}")
    bids_dir = _existing_folder(arguments.bids_dir, "the BIDS dataset")
    output_dir = arguments.output_dir.resolve()
    work_dir = (arguments.work_dir or scratch_folder(environment)).resolve()
    if output_dir == bids_dir:
        raise UsageError(
            f"output_dir must differ from bids_dir, got {bids_dir} twice: "
            f"write to {bids_dir / 'derivatives' / 'metsatlas'} for example"
        )
    if work_dir == bids_dir or bids_dir in work_dir.parents:
        raise UsageError(
            f"the work folder must not lie inside bids_dir, got {work_dir}: name another with -w"
        )
    is_group_only = "participant" not in arguments.levels and not arguments.lesions_in_atlas_space
    needs_results = is_group_only or arguments.reports_only
    if needs_results and not output_dir.is_dir():
        raise MissingInputError(f"no outputs in {output_dir} yet: run the participant level first")
    selection = Selection(
        bids_dir=bids_dir,
        participants=_labels(arguments.participant_label, "sub-"),
        sessions=_labels(arguments.session_label, "ses-"),
        derivatives=_derivatives(arguments.derivatives),
        filters=_filters(arguments.bids_filter_file),
        shard=_shard(arguments.shard, environment),
    )
    if "group" in arguments.levels and selection.shard != (1, 1):
        raise UsageError("the group needs all participants, got --shard: run it once, after all shards")
    shared_out = max(1, available_cpus(environment) // arguments.nprocs)
    return RunSettings(
        selection=selection,
        output_dir=output_dir,
        work_dir=work_dir,
        levels=tuple(level for level in LEVELS if level in arguments.levels),
        device=arguments.device,
        gpu=arguments.gpu,
        n_processes=arguments.nprocs,
        n_threads=arguments.omp_nthreads or shared_out,
        random_seed=arguments.random_seed,
        preset=arguments.pace or "default",
        objective=arguments.objective,
        parameterisation=arguments.parameterisation,
        initial_model=_initial_model(arguments.initial_model),
        lesion_handling=arguments.lesion_handling,
        low_memory=arguments.low_mem,
        sloppy=arguments.sloppy,
        atlas=_existing_folder(arguments.atlas, "the atlas") if arguments.atlas else None,
        group=_group_settings(arguments),
        location_ensemble=arguments.location_ensemble,
        force=arguments.force,
        scheduler=_scheduler(arguments),
        reports_only=arguments.reports_only,
    )


def _shard(text: str, environment: Mapping[str, str]) -> tuple[int, int]:
    """Read I/N, or what SLURM calls the task of a job array, whose numbers may start anywhere."""
    if text == "slurm":
        names = (
            "SLURM_ARRAY_TASK_ID",
            "SLURM_ARRAY_TASK_MIN",
            "SLURM_ARRAY_TASK_STEP",
            "SLURM_ARRAY_TASK_COUNT",
        )
        found = [environment.get(name, "1" if name.endswith("STEP") else "") for name in names]
        if not all(value.isdecimal() for value in found):
            raise UsageError(
                f"--shard slurm must run in a job array (sbatch --array), got {names[0]}={found[0]!r} and "
                f"{names[3]}={found[3]!r}: write --shard I/N"
            )
        task, first, step, count = (int(value) for value in found)
        return (task - first) // step + 1, count
    numbers = [int(part) if part.isdecimal() else 0 for part in text.split("/")]
    if len(numbers) != 2 or not 1 <= numbers[0] <= numbers[1]:
        raise UsageError(f"--shard must be I/N with I from 1 to N, such as 2/8, or slurm, got {text!r}")
    return numbers[0], numbers[1]


def _scheduler(arguments: argparse.Namespace) -> str | None:
    """Name the scheduler by its address or by an existing file."""
    file: Path | None = arguments.scheduler_file
    if file is None:
        return arguments.scheduler
    if not file.is_file():
        raise MissingInputError(
            f"the scheduler must have written {file}, got no such file: start dask scheduler "
            "--scheduler-file first, on a disk both see"
        )
    return str(file.resolve())


def _group_settings(arguments: argparse.Namespace) -> GroupSettings:
    folder = arguments.lesions_in_atlas_space
    return GroupSettings(
        preset=arguments.preset,
        group_by=arguments.group_by,
        session=arguments.group_session,
        off_structure=arguments.off_structure,
        contrast=arguments.contrast,
        lesions_in_atlas_space=_existing_folder(folder, "the lesions in atlas space") if folder else None,
    )


def _initial_model(text: str) -> Path | None:
    """Name an existing file, or none."""
    if text == "none":
        return None
    path = Path(text)
    if not path.is_file():
        raise MissingInputError(
            f"the initial model must be a file or none, got {path}, where there is none: train one with "
            "metsatlas-train, and in a container check whether its folder is mounted"
        )
    return path.resolve()


def _existing_folder(path: Path, what: str) -> Path:
    if not path.is_dir():
        came = "it is a file" if path.exists() else "there is nothing"
        raise MissingInputError(
            f"{what} must be a folder, got {path}, where {came}: check the path, and in a container whether "
            "the folder is mounted"
        )
    return path.resolve()


def _labels(given: Sequence[str], prefix: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(label.removeprefix(prefix) for label in given))


def _derivatives(given: Sequence[str]) -> dict[str, Path]:
    """Read NAME=PATH; a bare PATH is called like its folder."""
    named: dict[str, Path] = {}
    for text in given:
        before, equals, after = text.partition("=")
        has_name = bool(equals) and "/" not in before
        folder = _existing_folder(Path(after if has_name else text), "a derivative dataset")
        name = before if has_name else folder.name
        if not name or name in named:
            raise UsageError(
                f"each derivative dataset needs a name of its own, got {name!r} for "
                f"{named.get(name, folder)} and {folder}: write -d NAME=PATH"
            )
        named[name] = folder
    return named


def _filters(path: Path | None) -> dict[str, dict[str, object]]:
    if path is None:
        return {}
    try:
        filters = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise MissingInputError(
            f"the filter file {path} cannot be read ({error.strerror}): check the path"
        ) from error
    except ValueError as error:
        raise DataError(f"the filter file {path} must be JSON: {error}") from error
    if not isinstance(filters, dict) or not all(isinstance(entry, dict) for entry in filters.values()):
        raise DataError(
            f'the filter file {path} must hold an object of objects, such as {{"t1w": {{"session": "01"}}}}'
        )
    return filters
