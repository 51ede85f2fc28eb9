"""Dataset folder -> SubjectFiles: which scan, which label map, which lesion mask. Knows only names."""

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from bidsapp.atlas.schemes import detect_scheme
from bidsapp.bids.candidates import (
    SCAN_SPACES,
    Candidate,
    Choice,
    choose,
    freesurfer_files,
    label_map_rank,
    lesion_rank,
    passes,
)
from bidsapp.bids.index import BidsFile, Dataset, derivative_datasets, index_participant
from bidsapp.bids.sidecars import read_label_names
from bidsapp.errors import DataError, MissingInputError, SelectionError, UsageError
from bidsapp.settings import Selection

LABEL = re.compile(r"[0-9a-zA-Z+]+")

logger = logging.getLogger(__name__)

# Entities of a T1w that output names keep, in BIDS order: pybids' name and the one in file names.
KEPT_ENTITIES = (
    ("session", "ses"),
    ("task", "task"),
    ("acquisition", "acq"),
    ("ceagent", "ce"),
    ("reconstruction", "rec"),
    ("run", "run"),
    ("echo", "echo"),
    ("part", "part"),
    ("chunk", "chunk"),
)


@dataclass(frozen=True, slots=True)
class SubjectFiles:
    """One T1w scan and what belongs to it.

    Parameters
    ----------
    subject, session
        Labels without "sub-" and "ses-"; session None if the dataset has none.
    entities
        The scan's entities that output names keep, in BIDS order: ``ses``, ``acq``, ``ce``, ``rec``, ``run``.
    t1w
        The scan.
    labels
        Its anatomical label map, if one was found.
    label_scheme
        What the codes of `labels` mean, as `bidsapp.atlas.schemes` names it; None: only the file can tell.
    lesion_mask
        Its lesion mask, if one was found.
    notes
        Choices that were made, in words.
    """

    subject: str
    session: str | None
    entities: Mapping[str, str]
    t1w: Path
    labels: Path | None
    label_scheme: str | None
    lesion_mask: Path | None
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Supply:
    """Every label map and lesion mask of one participant."""

    label_maps: tuple[Candidate, ...]
    lesion_masks: tuple[Candidate, ...]


def find_participants(selection: Selection) -> tuple[str, ...]:
    """List the participants to work on, sorted, without "sub-".

    Parameters
    ----------
    selection
        ``bids_dir`` and ``participants`` count; labels may carry "sub-" and may repeat.

    Raises
    ------
    MissingInputError
        If the dataset, or a participant that was asked for, is not there.
    UsageError
        If a label holds other characters than letters, digits and "+".
    """
    bids_dir = selection.bids_dir
    if not bids_dir.is_dir():
        raise MissingInputError(
            f"the BIDS dataset {bids_dir} does not exist or is no folder: check the path, and in a container "
            "whether the folder is mounted"
        )
    folders = (path.name.removeprefix("sub-") for path in bids_dir.glob("sub-*") if path.is_dir())
    labels = sorted(folders)
    present = [label for label in labels if LABEL.fullmatch(label)]
    if len(present) < len(labels):
        others = ", ".join(f"sub-{label}" for label in labels if label not in present)
        logger.warning("left out, a label must be letters and digits only: %s: rename them", others)
    asked = sorted({_label(text, "sub-") for text in selection.participants})
    missing = [label for label in asked if label not in present]
    if missing or not present:
        wanted = ", ".join(f"sub-{label}" for label in missing) or "folders named sub-<label>"
        raise MissingInputError(
            f"{bids_dir} must hold {wanted}, got {len(present)} other participants "
            f"({', '.join(present[:5])}{' ...' if len(present) > 5 else ''}): check the labels, and in a "
            "container whether the right folder is mounted"
        )
    return tuple(asked or present)


def find_scans(selection: Selection, participant: str) -> tuple[SubjectFiles, ...]:
    """Find every T1w scan of one participant with its label map and lesion mask.

    Each session, run, acquisition and reconstruction is a scan of its own. Where a session holds T1w with
    and without contrast agent, only those with are taken. Which label map and which lesion mask a scan
    gets is decided by `bidsapp.bids.candidates.choose`; the notes tell.

    Parameters
    ----------
    selection
        Datasets, sessions and filters.
    participant
        Label, with or without "sub-".

    Raises
    ------
    MissingInputError
        If the participant has no T1w, a folder given with ``-d`` does not exist, or a chosen file is a
        link to nothing (its content was not fetched).
    SelectionError
        If sessions or filters leave no T1w.
    UsageError
        If a label or a filter is malformed.
    DataError
        If the same T1w is there twice, as .nii and .nii.gz, or the results of two would have the same names.
    """
    subject = _label(participant, "sub-")
    filters = _read_filters(selection.filters)
    raw = index_participant(selection.bids_dir, subject)
    every = _t1w_files(raw, selection.bids_dir, subject)
    chosen, notes = _narrow(every, selection, filters.get("t1w", {}), subject)
    _require_own_names(chosen)
    sessions = sorted({file.entities["session"] for file in every if "session" in file.entities})
    datasets = derivative_datasets(selection)
    supply = _gather(datasets, Dataset("raw", selection.bids_dir, is_given=False), raw, subject)
    scans = []
    used: set[Path] = set()
    for file in chosen:
        label_map = choose(
            supply.label_maps, file, wanted=filters.get("dseg"), is_only_session=len(sessions) < 2
        )
        mask = choose(
            supply.lesion_masks, file, wanted=filters.get("lesion"), is_only_session=len(sessions) < 2
        )
        used |= _roots(label_map) | _roots(mask)
        own = tuple(text for session, text in notes if session == file.entities.get("session"))
        scans.append(_describe(file, subject, label_map, mask, own))
    return _warn_of_shared(_warn_of_unused(scans, datasets, used, subject))


def file_warnings(notes: Iterable[str]) -> tuple[str, ...]:
    """Pick from the notes of a scan those that ask for a look.

    Examples
    --------
    >>> file_warnings(["label map: none found", "warning: a.nii.gz serves several scans"])
    ('a.nii.gz serves several scans',)
    """
    mark = "warning: "
    return tuple(note.removeprefix(mark) for note in notes if note.startswith(mark))


def _label(text: str, prefix: str) -> str:
    """Take the prefix off a label and refuse what is no label."""
    label = text.removeprefix(prefix)
    if not LABEL.fullmatch(label):
        raise UsageError(f"a label after {prefix} must be letters and digits only, got {text!r}")
    return label


def _read_filters(filters: Mapping[str, Mapping[str, object]]) -> dict[str, dict[str, object]]:
    """Keep the filters for the T1w, the label map and the lesion mask; other keys are not ours.

    ``roi`` is another name for ``lesion``. Tools that write filter files put ``"suffix": "roi"`` there as
    a matter of form: it does not exclude masks.
    """
    read = {key: dict(filters[key]) for key in ("t1w", "dseg", "lesion") if key in filters}
    if "roi" in filters:
        if "lesion" in read:
            raise UsageError("a filter file may have lesion or roi, which mean the same; got both: keep one")
        read["lesion"] = {
            name: value for name, value in filters["roi"].items() if (name, value) != ("suffix", "roi")
        }
    return read


def _t1w_files(raw: Iterable[BidsFile], bids_dir: Path, subject: str) -> tuple[BidsFile, ...]:
    """Pick the magnitude T1w images in ``anat/``."""
    files = tuple(
        file
        for file in raw
        if file.entities.get("suffix") == "T1w"
        and file.entities.get("datatype") == "anat"
        and file.entities.get("part", "mag") == "mag"
        and file.entities.get("space", SCAN_SPACES[0]) in SCAN_SPACES
    )
    if not files:
        raise MissingInputError(
            f"sub-{subject} must have a T1w scan, got none named sub-{subject}[/ses-*]/anat/*_T1w.nii.gz in "
            f"{bids_dir}: check names and folders, or leave the participant out"
        )
    return files


def _require_own_names(files: Iterable[BidsFile]) -> None:
    """Refuse two scans whose results would have the same names."""
    seen: dict[tuple[object, ...], Path] = {}
    for file in files:
        own = tuple(file.entities.get(name) for name, _ in KEPT_ENTITIES)
        if own in seen:
            raise DataError(
                f"{seen[own]} and {file.path.name} are the same scan, or their results would share a name: "
                "keep one of them, tell them apart by run-, acq- or ce-, or choose by --bids-filter-file"
            )
        seen[own] = file.path


def _narrow(
    files: tuple[BidsFile, ...], selection: Selection, wanted: Mapping[str, object], subject: str
) -> tuple[list[BidsFile], list[tuple[str | None, str]]]:
    """Apply sessions, filter and the preference for contrast agent; notes come with their session."""
    asked = {_label(text, "ses-") for text in selection.sessions}
    there = {file.entities.get("session") for file in files}
    kept = [file for file in files if not asked or file.entities.get("session") in asked]
    if not kept:
        known = ", ".join(sorted(f"ses-{session}" for session in there if session)) or "no sessions at all"
        raise SelectionError(
            f"sub-{subject} must have a T1w in session {', '.join(sorted(asked))}, got {known}: "
            "change --session-label, or leave the participant out"
        )
    kept = [file for file in kept if passes(file.entities, wanted)]
    if not kept:
        raise SelectionError(
            f"the filter t1w {dict(wanted)} excludes each of the {len(files)} T1w of sub-{subject} "
            f"({', '.join(file.path.name for file in files[:5])}): widen --bids-filter-file"
        )
    notes: list[tuple[str | None, str]] = []
    for session in {file.entities.get("session") for file in kept}:
        here = [file for file in kept if file.entities.get("session") == session]
        plain = [file for file in here if "ceagent" not in file.entities]
        if plain and len(plain) < len(here):
            kept = [file for file in kept if file not in plain]
            names = ", ".join(file.path.name for file in plain)
            notes.append((session, f"T1w: the contrast-enhanced scan was preferred; left aside: {names}"))
    return kept, notes


def _gather(
    datasets: tuple[Dataset, ...], raw: Dataset, raw_files: Iterable[BidsFile], subject: str
) -> _Supply:
    """Collect the candidates of every dataset; the raw one comes last."""
    label_maps: list[Candidate] = []
    lesion_masks: list[Candidate] = []
    for position, dataset in enumerate(datasets):
        for file in index_participant(dataset.root, subject):
            if file.entities.get("datatype", "anat") != "anat":
                continue
            if rank := lesion_rank(file, is_raw=False):
                lesion_masks.append(Candidate(file, dataset, position, rank))
            elif rank := label_map_rank(file):
                label_maps.append(Candidate(file, dataset, position, rank))
        for file, rank in freesurfer_files(dataset.root, subject):
            label_maps.append(Candidate(file, dataset, position, rank))
    lesion_masks.extend(
        Candidate(file, raw, len(datasets), rank)
        for file in raw_files
        if file.entities.get("datatype") == "anat" and (rank := lesion_rank(file, is_raw=True))
    )
    return _Supply(tuple(label_maps), tuple(lesion_masks))


def _describe(
    scan: BidsFile, subject: str, label_map: Choice, mask: Choice, notes: tuple[str, ...]
) -> SubjectFiles:
    """Put one scan and its choices together, every file checked to be fetched."""
    labels = label_map.taken.file if label_map.taken else None
    lesion_mask = mask.taken.file if mask.taken else None
    for file in (scan, labels, lesion_mask):
        if file and not file.path.exists():
            raise MissingInputError(
                f"{file.path} is a link to nothing: fetch its content first (datalad get)"
            )
    entities = {short: scan.entities[name] for name, short in KEPT_ENTITIES if name in scan.entities}
    return SubjectFiles(
        subject=subject,
        session=scan.entities.get("session"),
        entities=entities,
        t1w=scan.path,
        labels=labels.path if labels else None,
        label_scheme=_scheme(labels) if labels else None,
        lesion_mask=lesion_mask.path if lesion_mask else None,
        notes=(*notes, label_map.note("label map"), mask.note("lesion mask")),
    )


def _scheme(labels: BidsFile) -> str | None:
    """Tell the scheme of a label map from its table, if it has one that is clear."""
    if labels.entities["extension"] == ".mgz":
        return "freesurfer"
    names = read_label_names(labels.path)
    try:
        return detect_scheme(set(names), names) if names else None
    except DataError:  # not lost: the codes in the file decide when it is loaded, or refuse it
        return None


def _roots(choice: Choice) -> set[Path]:
    """List the datasets that had something for a scan, taken or not."""
    usable = (choice.taken, *choice.left)
    return {candidate.dataset.root for candidate in usable if candidate}


def _warn_of_unused(
    scans: list[SubjectFiles], datasets: tuple[Dataset, ...], used: set[Path], subject: str
) -> list[SubjectFiles]:
    """Note on every scan the datasets that were given for nothing."""
    notes = tuple(
        f"warning: -d {dataset.name}={dataset.root} was given, but holds nothing that sub-{subject} can use"
        for dataset in datasets
        if dataset.is_given and dataset.root not in used
    )
    return [replace(scan, notes=scan.notes + notes) for scan in scans]


def _warn_of_shared(scans: list[SubjectFiles]) -> tuple[SubjectFiles, ...]:
    """Note where one file serves several scans: only one of them can be the scan it was made from."""
    noted = []
    for scan in scans:
        notes = tuple(
            f"warning: {path.name} names no run or acquisition and serves several scans of sub-{scan.subject}"
            for path in (scan.labels, scan.lesion_mask)
            if path and sum(path in (other.labels, other.lesion_mask) for other in scans) > 1
        )
        noted.append(replace(scan, notes=scan.notes + notes))
    return tuple(noted)
