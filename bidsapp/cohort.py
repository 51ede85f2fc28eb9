"""Which patients the cohort has, which scan stands for each, and what the participant level found in it."""

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool
from pandas.errors import ParserWarning

from bidsapp.atlas.pack import AtlasPack
from bidsapp.atlas_space import read_atlas_space_lesions
from bidsapp.bids.atlas_space import load_atlas_space_mask
from bidsapp.bids.find import find_participants
from bidsapp.bids.names import Kind, find_outputs, output_path, parse_scan, sidecar_path
from bidsapp.bids.save import load_table
from bidsapp.bids.sidecars import read_json
from bidsapp.errors import DataError, MissingInputError
from bidsapp.geometry.space import Space
from bidsapp.images.nifti import read_labels
from bidsapp.images.volume import Volume
from bidsapp.lesions.table import LESION_COLUMNS, empty_lesion_table
from bidsapp.settings import Contrast, GroupSettings, RunSettings

GROUP_LESION_COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        **LESION_COLUMNS,
        "hemisphere": "left, right or none (midline) by the structure that region follows; n/a without one.",
        "region": "Region the lesion counts for in all tests, by --off-structure; n/a if it counts for none.",
        "site": "Centre, from participants.tsv (--group-by); n/a where it says nothing.",
    }
)

MaskReader = Callable[[Path], Bool[np.ndarray, "i j k"]]

PATIENT_COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "participant": "The patient.",
        "status": "used or excluded.",
        "reason": "Why the patient is excluded; n/a if used.",
        "session": "Session whose lesions are counted; several with --group-session all.",
        "site": "Centre, from participants.tsv (--group-by).",
        "n_lesions": "Lesions counted.",
        "dice_mean": "Mean Dice coefficient over the structures after the deformable step.",
        "volume_factor_median": "Median over the patient's lesions of the volume factor; 1 is preserved.",
        "report": "The patient's page.",
    }
)


@dataclass(frozen=True)
class Patient:
    """One patient of the cohort and the scans that stand for him or her.

    Parameters
    ----------
    subject
        Label without "sub-".
    scans
        Entities of each scan that is counted; empty if excluded.
    lesions
        Their lesion table; None if excluded.
    masks
        Their lesions in the atlas.
    reason
        Why the patient is excluded; empty if used.
    """

    subject: str
    scans: tuple[Mapping[str, str], ...] = ()
    lesions: pd.DataFrame | None = None
    masks: tuple[Path, ...] = ()
    reason: str = ""


def find_patients(settings: RunSettings, atlas: AtlasPack) -> tuple[list[Patient], list[str]]:
    """List the patients of the dataset and choose the scans of each: a patient counts once.

    A patient was processed if there is a lesion table. The first or last session with lesions is taken, or
    all sessions as one patient's lesions.

    Raises
    ------
    MissingInputError
        If there is no lesion table at all, or a participant asked for is not in the dataset.
    DataError
        If a table was made by another version, or with other files of an atlas of the same name.
    """
    output_dir, sessions = settings.output_dir, settings.selection.sessions
    tables: dict[str, list[tuple[Mapping[str, str], Path]]] = {}
    for path in find_outputs(output_dir, Kind.LESION_METRICS, atlas.name):
        subject, entities = parse_scan(path)
        if not sessions or entities.get("ses") in {label.removeprefix("ses-") for label in sessions}:
            _require_same_atlas(
                output_path(output_dir, subject, entities, Kind.WARPED_T1W, atlas.name), atlas
            )
            tables.setdefault(subject, []).append((entities, path))
    if not tables:
        raise MissingInputError(
            f"{output_dir} holds no lesion table (sub-*_desc-lesions_metrics.tsv): run the participant "
            "level first"
        )
    subjects = set(find_participants(settings.selection))
    if not settings.selection.participants:
        subjects |= set(tables)
    patients, notes = [], []
    for subject in sorted(subjects):
        if subject not in tables:
            reason = f"no results of the participant level: not run yet, or it failed (see sub-{subject}/log)"
            patients.append(Patient(subject, reason=reason))
            continue
        scans = [
            _Scan(
                entities,
                _read_lesions(path),
                output_path(output_dir, subject, entities, Kind.LESION_MASK, atlas.name),
            )
            for entities, path in tables[subject]
        ]
        patient, note = _choose(subject, scans, settings.group.session)
        patients.append(patient)
        notes += [note] if note else []
    return patients, notes


def read_participants(bids_dir: Path) -> pd.DataFrame | None:
    """Read participants.tsv, one row a patient, by label without "sub-"; None if there is no such file.

    Labels may come with or without "sub-"; "n/a" and empty cells are missing. A patient named twice has
    the last row.

    Raises
    ------
    DataError
        If the file is there, but is no table, or has no column participant_id.
    """
    path = bids_dir / "participants.tsv"
    if not path.is_file():
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ParserWarning)  # a tab too many at the end of each line
            table = pd.read_csv(
                path, sep="\t", dtype=str, keep_default_na=False, encoding="utf-8-sig", index_col=False
            )
    except (ValueError, OSError) as error:
        raise DataError(f"{path} must be a table separated by tabs ({error}): mend it") from error
    if "participant_id" not in table.columns:
        raise DataError(
            f"{path} must have the column participant_id, got {', '.join(table.columns)}: mend its first line"
        )
    table = table.apply(lambda column: column.str.strip())
    table = table.mask(table.isin(["", "n/a", "N/A"]))
    labels = table["participant_id"].str.removeprefix("sub-")
    return (
        table.assign(participant_id=labels)
        .drop_duplicates("participant_id", keep="last")
        .set_index("participant_id")
    )


def read_sites(participants: pd.DataFrame | None, column: str) -> tuple[Mapping[str, str], list[str]]:
    """Take each patient's centre from a column of participants.tsv; without it all are one centre.

    Raises
    ------
    DataError
        If another column than ``site``, which is only the default, is not there.
    """
    if participants is not None and column in participants.columns:
        return {str(label): str(site) for label, site in participants[column].dropna().items()}, []
    if column != GroupSettings().group_by:
        raise DataError(f"--group-by names the column {column!r}: {_columns_there(participants)}")
    missing = (
        "There is no participants.tsv" if participants is None else "participants.tsv has no column site"
    )
    return {}, [f"{missing}: all patients are taken as one centre."]


def read_contrast(participants: pd.DataFrame | None, contrast: Contrast) -> Mapping[str, bool]:
    """Divide patients into the two groups of a contrast: True for the first; others are left out.

    Raises
    ------
    DataError
        If there is no such column, or one of the groups has no patient.
    """
    if participants is None or contrast.column not in participants.columns:
        raise DataError(f"--contrast names the column {contrast.column!r}: {_columns_there(participants)}")
    column = participants[contrast.column].dropna()
    there = sorted(column.unique())
    missing = [name for name in (contrast.first, contrast.second) if name not in there]
    if missing:
        raise DataError(
            f"--contrast compares {missing[0]!r}, which nobody has in the column {contrast.column}: it holds "
            f"{', '.join(there[:12]) or 'nothing'}"
        )
    chosen = column[column.isin([contrast.first, contrast.second])]
    return {str(label): bool(value == contrast.first) for label, value in chosen.items()}


def _columns_there(participants: pd.DataFrame | None) -> str:
    if participants is None:
        return "there is no participants.tsv, write one with participant_id and this column"
    return f"participants.tsv has {', '.join(participants.columns) or 'no column but participant_id'}"


def gather_lesions(patients: Sequence[Patient], sites: Mapping[str, str]) -> pd.DataFrame:
    """Put the lesions of all patients used into one table, with their centre."""
    tables = [patient.lesions for patient in patients if patient.lesions is not None and len(patient.lesions)]
    lesions = pd.concat(tables, ignore_index=True) if tables else empty_lesion_table()
    return lesions.assign(site=lesions["subject"].map(dict(sites)).astype("object"))


def describe_patients(
    patients: Sequence[Patient], sites: Mapping[str, str], output_dir: Path, atlas_name: str
) -> pd.DataFrame:
    """Tell of each patient whether he or she was used, and with which result."""
    rows = []
    for patient in patients:
        row: dict[str, object] = dict.fromkeys(PATIENT_COLUMNS)
        row |= {"participant": f"sub-{patient.subject}", "site": sites.get(patient.subject)}
        row |= {"status": "used" if patient.lesions is not None else "excluded", "reason": patient.reason}
        row |= {"n_lesions": 0, "dice_mean": np.nan, "volume_factor_median": np.nan}
        if patient.lesions is not None:
            place = (output_dir, patient.subject, patient.scans[0])
            metrics = output_path(*place, Kind.REGISTRATION_METRICS, atlas_name)
            report = output_path(*place, Kind.REPORT, atlas_name)
            sessions = [scan["ses"] for scan in patient.scans if "ses" in scan]
            row |= {"session": ", ".join(sessions) or None, "n_lesions": len(patient.lesions)}
            row["volume_factor_median"] = (
                float(patient.lesions["volume_factor"].median()) if row["n_lesions"] else np.nan
            )
            row["report"] = report.name if report.is_file() else None
            if metrics.is_file():
                row["dice_mean"] = float(load_table(metrics)["dice_mean"].iloc[0])
        rows.append(row)
    return pd.DataFrame(rows, columns=list(PATIENT_COLUMNS))


def count_patients(patients: Sequence[Patient], read_mask: MaskReader, space: Space) -> Volume:
    """Count at each voxel of the atlas the patients with a lesion there, each at most once.

    Parameters
    ----------
    patients
        Used or not.
    read_mask
        Reads a patient's lesions on the grid of the atlas.
    space
        Grid of the atlas.
    """
    total = np.zeros(space.shape, dtype=np.int32)
    for patient in patients:
        if patient.lesions is not None and len(patient.lesions):
            total += patient_mask(patient, read_mask)
    return Volume(total, space)


def patient_mask(patient: Patient, read_mask: MaskReader) -> Bool[np.ndarray, "i j k"]:
    """Mark the voxels of the atlas with a lesion of the patient, whichever scan shows it.

    Raises
    ------
    MissingInputError
        If there is no mask in this atlas.
    """
    for path in patient.masks:
        if not path.is_file():
            raise MissingInputError(
                f"sub-{patient.subject} has lesions but no mask of them in this atlas ({path.name}): give "
                "the same --atlas as at the participant level, or run that level again"
            )
    return np.asarray(np.logical_or.reduce([read_mask(path) for path in patient.masks]))


def find_patients_in_atlas_space(
    settings: RunSettings, folder: Path, atlas: AtlasPack
) -> tuple[list[Patient], list[str]]:
    """List the patients of a folder of masks that are in atlas space, and measure their lesions there.

    Raises
    ------
    MissingInputError, DataError
        As `bidsapp.atlas_space.read_atlas_space_lesions`; if a participant asked for has no mask.
    """
    found = read_atlas_space_lesions(folder, atlas)
    wanted = {label.removeprefix("sub-") for label in settings.selection.participants}
    sessions = {label.removeprefix("ses-") for label in settings.selection.sessions}
    scans: dict[str, list[_Scan]] = {}
    of_session = dict(list(found.lesions.groupby(["subject", found.lesions["session"].fillna("")])))
    for mask in found.masks:
        if (not wanted or mask.subject in wanted) and (not sessions or mask.session in sessions):
            lesions = of_session.get((mask.subject, mask.session or ""), empty_lesion_table())
            entities = {"ses": mask.session} if mask.session else {}
            scans.setdefault(mask.subject, []).append(_Scan(entities, lesions, mask.path))
    missing = sorted(wanted - set(scans))
    if missing or not scans:
        raise MissingInputError(
            f"{folder} must hold a lesion mask of {', '.join(missing) or 'these sessions'}: check the labels"
        )
    chosen = [_choose(subject, scans[subject], settings.group.session) for subject in sorted(scans)]
    return [patient for patient, _ in chosen], [*found.notes, *(note for _, note in chosen if note)]


class _Scan(NamedTuple):
    """One scan of a patient that could be counted."""

    entities: Mapping[str, str]
    lesions: pd.DataFrame
    mask: Path


def _choose(subject: str, unordered: Sequence[_Scan], choice: str) -> tuple[Patient, str]:
    """Take the first or last session with lesions (else the first or last one), or all, and say so."""
    scans = sorted(unordered, key=_in_time)
    ordered = scans[::-1] if choice == "last" else scans
    chosen = scans if choice == "all" else [next((each for each in ordered if len(each.lesions)), ordered[0])]
    tables = [each.lesions for each in chosen if len(each.lesions)]
    lesions = pd.concat(tables, ignore_index=True) if tables else empty_lesion_table()
    if not tables and not any(each.mask.is_file() for each in chosen):
        return Patient(subject, reason="no lesion mask, or an empty one"), ""
    masks = tuple(each.mask for each in chosen if len(each.lesions))
    patient = Patient(subject, tuple(each.entities for each in chosen), lesions, masks)
    if len(scans) == 1:
        return patient, ""
    name = (
        "_".join(f"{key}-{label}" for key, label in chosen[0].entities.items()) or "the one without entities"
    )
    used = {
        "all": "the lesions of all scans are counted as this one patient's; one seen twice counts twice",
        "first": f"{name} is used, the first with lesions",
        "last": f"{name} is used, the last with lesions",
    }
    return patient, f"sub-{subject} has {len(scans)} scans and counts once: {used[choice]}."


def _in_time(scan: _Scan) -> tuple[list[tuple[bool, int, str]], str]:
    """Sort by session, numbers by their value, then by name."""
    parts = re.findall(r"\d+|\D+", scan.entities.get("ses", ""))
    return [(not part.isdigit(), int(part) if part.isdigit() else 0, part) for part in parts], scan.mask.name


def _require_same_atlas(warped_t1w: Path, atlas: AtlasPack) -> None:
    """Refuse a scan whose places were read from other labels or maps than those the group is tested on."""
    path = sidecar_path(warped_t1w)
    made_with = read_json(path).get("AtlasChecksums") if path.is_file() else None
    if not isinstance(made_with, dict) or made_with == dict(atlas.checksums):
        return
    names = {*made_with, *atlas.checksums}
    differing = sorted(name for name in names if made_with.get(name) != atlas.checksums.get(name))
    raise DataError(
        f"all scans must be aligned to the files the atlas {atlas.name} has now, got others in {path} "
        f"({', '.join(differing)}): run the participant level again, or give the atlas a name of its own"
    )


def _read_lesions(path: Path) -> pd.DataFrame:
    """Read one scan's lesion table."""
    table = load_table(path)
    missing = [name for name in LESION_COLUMNS if name not in table.columns]
    if missing:
        raise DataError(
            f"{path} must have the columns {', '.join(missing)}: another version made it, run the "
            "participant level again"
        )
    return table[list(LESION_COLUMNS)]


def read_atlas_space_mask(atlas: AtlasPack, path: Path) -> Bool[np.ndarray, "i j k"]:
    """Read a mask that was in atlas space from the start."""
    mask, _ = load_atlas_space_mask(path, atlas.template.space, atlas.name)
    if mask is None:
        return np.zeros(atlas.template.space.shape, dtype=bool)
    return np.asarray(mask.data > 0)


def read_own_mask(space: Space, path: Path) -> Bool[np.ndarray, "i j k"]:
    """Read a mask of the participant level, which must lie on the grid of the atlas.

    Raises
    ------
    DataError
        If it does not.
    """
    mask = read_labels(path)
    if not mask.space.matches(space):
        raise DataError(
            f"{path} must lie on the grid of the atlas {space.shape}, got {mask.space.shape} or another "
            "position: run the participant level again with this atlas"
        )
    return np.asarray(mask.data > 0)
