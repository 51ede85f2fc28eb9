"""Tell whether a scan is done, and whether working on it again would give anything else."""

import json
from collections.abc import Mapping
from pathlib import Path

from bidsapp.atlas.pack import checksum
from bidsapp.bids.description import app_version
from bidsapp.bids.find import SubjectFiles
from bidsapp.bids.names import (
    Kind,
    LogKind,
    log_path,
    lookup_path,
    output_path,
    scan_name,
    sidecar_path,
)
from bidsapp.bids.save import plain, save_json, sweep
from bidsapp.errors import DataError, MissingInputError

_DONE = "done"


def describe_recipe(files: SubjectFiles, choices: Mapping[str, object]) -> dict[str, object]:
    """Describe everything the results of a scan follow from.

    Parameters
    ----------
    files
        The scan and what belongs to it; every file counts by what it holds, not by where it lies.
    choices
        Settings and atlas.

    Returns
    -------
    recipe
        ``version``, ``inputs`` and ``choices``, as they come back from JSON.

    Raises
    ------
    MissingInputError
        If an input cannot be read.
    """
    inputs: dict[str, object] = {"label_scheme": files.label_scheme}
    for name, path in (("t1w", files.t1w), ("labels", files.labels), ("lesion_mask", files.lesion_mask)):
        if path is not None:
            beside = (sidecar_path(path), lookup_path(path))
            inputs[name] = [path.name, *(_checksum(each) for each in (path, *beside) if each.is_file())]
    recipe = {"version": app_version(), "inputs": inputs, "choices": choices}
    found: dict[str, object] = json.loads(json.dumps(plain(recipe), sort_keys=True))
    return found


def why_not_done(
    output_dir: Path, subject: str, entities: Mapping[str, str], recipe: Mapping[str, object]
) -> str:
    """Say why a scan must be worked on; "" if all of its outputs are there and made by the same recipe.

    Parameters
    ----------
    output_dir
        The derivative dataset.
    subject, entities
        The scan.
    recipe
        As `describe_recipe` tells it now.
    """
    reason = "it has no results yet"
    for status in _done_statuses(output_dir, subject, entities):
        found = _read(status)
        made_by, outputs = found.get("recipe"), found.get("outputs")
        if not isinstance(made_by, dict) or not isinstance(outputs, dict):
            continue
        changed = [name for name in ("version", "inputs", "choices") if made_by.get(name) != recipe[name]]
        lost = _lost(output_dir, outputs)
        if not changed and not lost:
            return ""
        words = {
            "version": "another version of the app",
            "inputs": "other inputs",
            "choices": "other settings",
        }
        told = [f"its results are from {words[name]}" for name in changed]
        reason = ", ".join(told) or f"{len(lost)} of its results are missing, {lost[:1]} first"
    return reason


def check_results(
    output_dir: Path, subject: str, entities: Mapping[str, str], recipe: Mapping[str, object]
) -> None:
    """Refuse to tell of results that are not all there, or that are of other inputs.

    Parameters
    ----------
    output_dir
        The derivative dataset.
    subject, entities
        The scan.
    recipe
        As `describe_recipe` tells it now; only its inputs count.

    Raises
    ------
    MissingInputError
        If the scan was never finished, or files of its results are gone.
    DataError
        If an input has changed since.
    """
    scan = scan_name(subject, entities)
    statuses = _done_statuses(output_dir, subject, entities)
    if not statuses:
        raise MissingInputError(
            f"{scan} must have results in {output_dir}, got none that a run has finished: run the "
            "participant level without --reports-only first"
        )
    found = _read(statuses[-1])
    made_by, outputs = found.get("recipe"), found.get("outputs")
    lost = _lost(output_dir, outputs) if isinstance(outputs, dict) else ["the list of them"]
    lost = [path for path in lost if not path.endswith(".html")]
    if lost:
        raise MissingInputError(
            f"all results of {scan} must be there as they were written, got {len(lost)} missing or of "
            f"another size, {lost[0]} first: run the participant level without --reports-only"
        )
    if not isinstance(made_by, dict) or made_by.get("inputs") != recipe["inputs"]:
        raise DataError(
            f"the inputs of {scan} must be those its results were made from, got other ones: run the "
            "participant level without --reports-only"
        )


def withdraw(output_dir: Path, subject: str, entities: Mapping[str, str], space: str) -> None:
    """Take back what earlier runs wrote of a scan, before it is written anew: nothing of two runs is mixed.

    Their status files stay, but say ``withdrawn``. What a killed run was writing is removed, too. Only one
    run at a time may write a scan (`bidsapp.execution.lock`).
    """
    for status in _done_statuses(output_dir, subject, entities):
        save_json({**_read(status), "status": "withdrawn"}, status)
    for path in _all_outputs(output_dir, subject, entities, space):
        path.unlink(missing_ok=True)
    names = {path.name for path in _all_outputs(output_dir, subject, entities, space)}
    logs = {log_path(output_dir, subject, entities, kind, "any").name for kind in LogKind}
    folder = output_path(output_dir, subject, entities, Kind.LESION_METRICS, space).parent
    for each in (output_dir, folder, *(output_dir / f"sub-{subject}" / "log").glob("*")):
        sweep(each, names | logs)


def mark_done(
    output_dir: Path,
    subject: str,
    entities: Mapping[str, str],
    space: str,
    note: Mapping[str, object],
    run_id: str,
) -> None:
    """Write, after everything else, that a scan is done: with which recipe, and which files of which size.

    Parameters
    ----------
    output_dir, subject, entities, space
        The scan and the name of the atlas.
    note
        ``recipe`` and ``seconds``.
    run_id
        Names the log folder.
    """
    outputs = {
        path.relative_to(output_dir).as_posix(): path.stat().st_size
        for path in _all_outputs(output_dir, subject, entities, space)
        if path.is_file()
    }
    status = {"status": _DONE, "version": app_version(), "outputs": outputs, **note}
    save_json(status, log_path(output_dir, subject, entities, LogKind.STATUS, run_id))


def sweep_group(output_dir: Path) -> None:
    """Remove what killed runs were writing of the group; one run at a time may write it."""
    sweep(output_dir, {"group.html"})
    for folder in (output_dir / "group", *output_dir.glob("tpl-*/anat")):
        sweep(folder, None)


def _all_outputs(output_dir: Path, subject: str, entities: Mapping[str, str], space: str) -> list[Path]:
    """Name every file that a scan can have, whether it is there or not."""
    named = [output_path(output_dir, subject, entities, kind, space) for kind in Kind]
    images = [path for path in named if path.suffix != ".html"]
    besides = [beside(path) for path in images for beside in (sidecar_path, lookup_path)]
    return sorted({*named, *besides})


def _done_statuses(output_dir: Path, subject: str, entities: Mapping[str, str]) -> list[Path]:
    """List what runs wrote of this scan when they were done with it."""
    name = log_path(output_dir, subject, entities, LogKind.STATUS, "any").name
    statuses = sorted((output_dir / f"sub-{subject}" / "log").glob(f"*/{name}"))
    return [status for status in statuses if _read(status).get("status") == _DONE]


def _read(status: Path) -> dict[str, object]:
    try:
        found = json.loads(status.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _lost(output_dir: Path, outputs: Mapping[str, int]) -> list[str]:
    """List results that are gone or of another size; a page that was drawn again may have any size."""
    found = {path: _size(output_dir / path) for path in outputs}
    return [
        path
        for path, size in outputs.items()
        if found[path] < 0 or (found[path] != size and not path.endswith(".html"))
    ]


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1


def _checksum(path: Path) -> str:
    try:
        return checksum(path)
    except OSError as error:
        raise MissingInputError(f"{path} cannot be read ({error.strerror}): check its rights") from error
