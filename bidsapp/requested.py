"""From parsed arguments to the settings of a run: what belongs together is checked together."""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from bidsapp.errors import AnalysisLevelError, DataError, MissingInputError, UsageError
from bidsapp.execution.resources import available_cpus, scratch_folder
from bidsapp.settings import GroupSettings, RunSettings, Selection

LEVELS = ("participant", "group")


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
            "SLURM_ARRAY_TASK_MAX",
            "SLURM_ARRAY_TASK_STEP",
            "SLURM_ARRAY_TASK_COUNT",
        )
        found = [environment.get(name, "1" if name.endswith("STEP") else "") for name in names]
        if not all(value.isdecimal() for value in found):
            raise UsageError(
                f"--shard slurm must run in a job array (sbatch --array), got {names[0]}={found[0]!r} and "
                f"{names[4]}={found[4]!r}: write --shard I/N"
            )
        task, first, last, step, count = (int(value) for value in found)
        if (last - first) // step + 1 != count:
            raise UsageError(
                f"--shard slurm must run in an array without gaps, got {count} tasks from {first} to {last}: "
                "submit the whole array again (what is done is skipped), or write --shard I/N"
            )
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
        maps=not arguments.no_maps,
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
