"""The command line of the BIDS App: read it, run the levels, end with a status that tells why."""

# ruff: noqa: PLC0415 - heavy rooms are entered when they are needed: --help and --version must be quick,
# and threads and cache folders must be set before numpy, torch and numba are first imported.

import json
import logging
import os
import shlex
import shutil
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from bidsapp.arguments import build_parser
from bidsapp.errors import MetsAtlasError, OutputError, SelectionError, TemporaryError
from bidsapp.execution.cluster import Cluster, affordable_processes, available_memory_gib, memory_hint
from bidsapp.execution.device import Device, count_gpus, settle_device
from bidsapp.execution.lock import hold
from bidsapp.execution.outcome import Outcome, attempt
from bidsapp.execution.resources import make_scratch, prepare_environment
from bidsapp.execution.stopping import stop_on_signals
from bidsapp.execution.tally import Tally
from bidsapp.requested import read_settings
from bidsapp.settings import RunSettings, Selection

if TYPE_CHECKING:
    from bidsapp.bids.find import SubjectFiles

    Found = Outcome[str, tuple[SubjectFiles, ...]]

logger = logging.getLogger(__name__)


def run() -> NoReturn:
    """Run the app on the command line's arguments and end the process with its exit status."""
    stop_on_signals()
    sys.exit(main(sys.argv[1:]))


def main(argv: Sequence[str]) -> int:
    """Run the app and say in one line what the user can mend.

    Parameters
    ----------
    argv
        Arguments without the program's name.

    Returns
    -------
    exit_status
        0 when all went well; see `bidsapp.errors` for the others.
    """
    try:
        arguments = build_parser().parse_intermixed_args(argv)
        settings = replace(read_settings(arguments, os.environ), command=shlex.join(["metsatlas", *argv]))
        if arguments.dry_run:
            return _print_plan(settings)
        with _console(arguments.verbose):
            return _run(settings, must_validate=not arguments.skip_bids_validation)
    except MetsAtlasError as error:
        sys.stderr.write(f"metsatlas: {_one_line(error)}\n")
        return error.exit_status


@contextmanager
def _console(verbosity: int) -> Iterator[None]:
    """Show messages on stderr: ours, and from the second -v on those of the libraries."""
    ours = logging.getLogger("bidsapp")
    before = ours.level
    ours.setLevel(logging.DEBUG if verbosity else logging.INFO)
    shown = logging.StreamHandler(sys.stderr)
    shown.setFormatter(logging.Formatter("%(message)s" if verbosity < 2 else "%(name)s: %(message)s"))
    try:
        with _listening(shown, ours if verbosity < 2 else logging.getLogger()):
            yield
    finally:
        ours.setLevel(before)


@contextmanager
def _listening(handler: logging.Handler, listened_to: logging.Logger) -> Iterator[None]:
    listened_to.addHandler(handler)
    try:
        yield
    finally:
        listened_to.removeHandler(handler)
        handler.close()


@contextmanager
def _log_file(settings: RunSettings, run_id: str, banner: str) -> Iterator[None]:
    """Keep all choices and messages of a run in ``logs/`` of the output, which is made here."""
    output_dir = settings.output_dir
    path = output_dir / "logs" / f"metsatlas_{run_id}.log"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{banner}\n{json.dumps(asdict(settings), default=str)}\n", encoding="utf-8")
        kept = logging.FileHandler(path, encoding="utf-8")
    except OSError as error:
        raise OutputError(
            f"the output folder {output_dir} must be one we can write to ({error.strerror}): check its "
            "rights, and in a container whether it is mounted read-only"
        ) from error
    kept.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    with _listening(kept, logging.getLogger("bidsapp")):
        yield


def _run(settings: RunSettings, *, must_validate: bool) -> int:
    """Run the levels one after the other; the second only if the first left something to work on."""
    make_scratch(settings.work_dir)
    prepare_environment(os.environ, work_dir=settings.work_dir, n_threads=settings.n_threads)
    device = _device_here(settings)
    settings = replace(settings, device=device.name)
    cluster = _cluster(settings)
    run_id = f"{datetime.now().astimezone():%Y%m%d-%H%M%S}_{uuid.uuid4()}"
    banner = (
        f"metsatlas {version('metsatlas')}; device {device.words}; {cluster.n_processes} process(es) x "
        f"{settings.n_threads} thread(s); atlas {_check_atlas(settings.atlas)}; "
        f"seed {settings.random_seed}; run {run_id}"
    )
    logger.info("%s", banner)
    for hint in (device.hint, _memory_hint(settings)):
        if hint:
            logger.warning("%s", hint)
    if must_validate and "participant" in settings.levels and not settings.reports_only:
        from bidsapp.bids.validate import validate_dataset

        validate_dataset(settings.selection.bids_dir)
    found = _find(settings.selection) if "participant" in settings.levels else []
    tally = Tally()
    with _log_file(settings, run_id, banner):
        logger.debug("settings: %s", settings)
        if "participant" in settings.levels:
            _participant_level(
                found, settings, replace(cluster, folder=cluster.folder / run_id), run_id, tally
            )
        if "group" in settings.levels and (tally.has_results or "participant" not in settings.levels):
            _group_level(settings, run_id, tally)
        logger.info("%s", tally.last_line())
    return tally.exit_status


def _device_here(settings: RunSettings) -> Device:
    """Choose the device, unless the workers of a cluster do that, each for itself."""
    if settings.scheduler:
        return Device(settings.device, f"{settings.device}, as each worker of {settings.scheduler} has it")
    return settle_device(settings.device, settings.gpu)


def _memory_hint(settings: RunSettings) -> str:
    """Say that memory may run out, where scans are worked on by this machine."""
    if settings.scheduler or "participant" not in settings.levels:
        return ""
    return memory_hint(available_memory_gib(), low_memory=settings.low_memory)


def _cluster(settings: RunSettings) -> Cluster:
    """Count the processes: one for each GPU, or as many as memory is enough for."""
    asked, n_gpus = settings.n_processes, 0
    if settings.scheduler or asked == 1:
        granted = 1
    elif settings.device.startswith("cuda"):
        n_gpus = count_gpus() if settings.device == "cuda" else 0
        granted = max(1, min(asked, n_gpus))
    else:
        granted = affordable_processes(asked, available_memory_gib(), low_memory=settings.low_memory)
    if granted < asked:
        logger.warning("%d processes were asked for; GPUs or memory are enough for %d", asked, granted)
    return Cluster(folder=settings.work_dir, n_processes=granted, n_gpus=n_gpus, scheduler=settings.scheduler)


def _check_atlas(folder: Path | None) -> str:
    """Read the user's atlas once, so that a broken one ends the run before it starts."""
    if folder is None:
        from bidsapp.atlas.builtin import NAME

        return NAME
    from bidsapp.atlas.pack import load_pack

    return load_pack(folder).name


def _find(selection: Selection) -> list["Found"]:
    """Find the scans of every participant by name; what is wrong with one does not end the others."""
    from bidsapp.bids.find import find_participants, find_scans

    first, step = selection.shard
    labels = find_participants(selection)[first - 1 :: step]
    return [attempt(partial(find_scans, selection), label) for label in labels]


def _participant_level(
    found: list["Found"], settings: RunSettings, cluster: Cluster, run_id: str, tally: Tally
) -> None:
    """Work on every scan; one that fails is said and counted, and the others go on."""
    from bidsapp.execution.apply import apply_to_all
    from bidsapp.participant import ParticipantJob

    work = _work_on_a_scan(settings)

    def describe(job: ParticipantJob) -> str:
        entities = "".join(f"_{key}-{label}" for key, label in job.files.entities.items())
        return f"sub-{job.files.subject}{entities}"

    for search in found:
        if search.error:
            logs = settings.output_dir / f"sub-{search.item}" / "log" / run_id
            _count(search, f"sub-{search.item}", logs, tally)
            _show(search, settings, search.item, {})
    scans = [files for search in found for files in search.value or ()]
    jobs = [ParticipantJob(files=files, settings=settings, run_id=run_id) for files in scans]
    outcomes = apply_to_all(
        work,
        jobs,
        patiently=partial(work, must_wait=True),
        cluster=cluster,
        describe=describe,
    )
    for outcome in outcomes:
        logs = settings.output_dir / f"sub-{outcome.item.files.subject}" / "log" / run_id
        _count(outcome, describe(outcome.item), logs, tally)
        _show(outcome, settings, outcome.item.files.subject, outcome.item.files.entities)
    shutil.rmtree(cluster.folder, ignore_errors=True)


def _work_on_a_scan(settings: RunSettings) -> Callable[..., object]:
    """Choose what is done with each scan: all of it, or only its page again."""
    if settings.reports_only:
        from bidsapp.redraw import redraw_page

        return redraw_page
    from bidsapp.resume import process_unless_done

    return process_unless_done


def _group_level(settings: RunSettings, run_id: str, tally: Tally) -> None:
    """Work on the group; of several runs, one after the other."""
    from bidsapp.bids.completion import sweep_group
    from bidsapp.group import run_group

    with hold(settings.output_dir / "logs" / "group.lock", must_wait=True):
        sweep_group(settings.output_dir)
        outcome = attempt(run_group, settings)
    tally.group_ended(outcome.error)
    if outcome.error:
        crash = settings.output_dir / "logs" / f"group_{run_id}_crash.txt"
        _explain("group", outcome.error, outcome.traceback, crash)


def _count(outcome: Outcome, name: str, logs: Path, tally: Tally) -> None:
    if outcome.error is None:
        tally.done(name, was_up_to_date=getattr(outcome.value, "was_up_to_date", False))
    elif isinstance(outcome.error, SelectionError):
        tally.skipped(name, outcome.error)
        logger.warning("%s is skipped: %s", name, _one_line(outcome.error))
    else:
        tally.failed(name, outcome.error)
        _explain(name, outcome.error, outcome.traceback, logs / f"{name}_crash.txt")


def _explain(name: str, error: Exception, traceback: str, crash: Path) -> None:
    """Say in one line what went wrong; what nobody foresaw leaves a file with its traceback."""
    from bidsapp.bids.save import save_text

    if isinstance(error, MetsAtlasError):
        logger.error("%s: %s", name, _one_line(error))
    else:
        save_text(traceback, crash)
        logger.error("%s: unexpected %s; please report it with %s", name, _one_line(error), crash)


def _show(
    outcome: Outcome[Any, Any], settings: RunSettings, subject: str, entities: Mapping[str, str]
) -> None:
    """Leave a page that says why a scan failed, unless results of an earlier run have theirs."""
    expected = (SelectionError, TemporaryError)
    if outcome.error is None or isinstance(outcome.error, expected) or settings.reports_only:
        return
    from bidsapp.bids.description import is_virtual
    from bidsapp.bids.names import Kind, output_path, scan_name
    from bidsapp.reports.failure import Failure, write_failure_report

    try:
        place = (settings.output_dir, subject, entities)
        page, results = (output_path(*place, kind, "any") for kind in (Kind.REPORT, Kind.LESION_METRICS))
        if page.is_file() and results.is_file():
            return
        facts = {"version": version("metsatlas"), "command": settings.command, "device": settings.device}
        failure = Failure(
            scan_name(subject, entities).replace("_", " "),
            is_virtual(settings.selection.bids_dir),
            _one_line(outcome.error),
            outcome.traceback,
            facts,
        )
        write_failure_report(failure, page)
    except MetsAtlasError as error:
        logger.warning("no page says why sub-%s failed: %s", subject, _one_line(error))


def _print_plan(settings: RunSettings) -> int:
    """Print what a run would do, as JSON on stdout."""
    found = _find(settings.selection) if "participant" in settings.levels else []
    plan = asdict(settings) | {
        "version": version("metsatlas"),
        "device": _device_here(settings).name,
        "atlas": _check_atlas(settings.atlas),
        "scans": [asdict(files) for search in found for files in search.value or ()],
        "problems": {f"sub-{search.item}": _one_line(search.error) for search in found if search.error},
    }
    sys.stdout.write(json.dumps(plan, indent=2, default=str) + "\n")
    return 0


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
