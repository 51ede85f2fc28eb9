"""Which patients the cohort has, which scan stands for each, and what the participant level found in it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd

from bidsapp.atlas.pack import AtlasPack
from bidsapp.bids.find import find_participants
from bidsapp.bids.names import Kind, find_outputs, output_path, parse_scan
from bidsapp.bids.save import load_table
from bidsapp.errors import DataError, MissingInputError
from bidsapp.geometry.space import Space
from bidsapp.images.nifti import read_labels
from bidsapp.images.volume import Volume
from bidsapp.lesions.table import LESION_COLUMNS, empty_lesion_table
from bidsapp.settings import RunSettings

GROUP_LESION_COLUMNS: Mapping[str, str] = MappingProxyType(
    {**LESION_COLUMNS, "site": "Centre, from the column site of participants.tsv; n/a where it says nothing."}
)

PATIENT_COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "participant": "The patient.",
        "status": "used or excluded.",
        "reason": "Why the patient is excluded; n/a if used.",
        "session": "Session whose lesions are counted: the first one that has any.",
        "site": "Centre, from the column site of participants.tsv.",
        "n_lesions": "Lesions counted.",
        "dice_mean": "Mean Dice coefficient over the structures after the deformable step.",
        "volume_factor_median": "Median over the patient's lesions of the volume factor; 1 is preserved.",
        "report": "The patient's page.",
    }
)


@dataclass(frozen=True)
class Patient:
    """One patient of the cohort and the scan that stands for him or her.

    Parameters
    ----------
    subject
        Label without "sub-".
    entities
        Of the scan that is counted; empty if excluded.
    lesions
        Its lesion table; None if excluded.
    reason
        Why the patient is excluded; empty if used.
    """

    subject: str
    entities: Mapping[str, str]
    lesions: pd.DataFrame | None
    reason: str = ""


def find_patients(settings: RunSettings, atlas_name: str) -> tuple[list[Patient], list[str]]:
    """List the patients of the dataset and choose one scan of each: a patient counts once.

    A patient was processed if there is a lesion table. The first session with lesions is taken.

    Raises
    ------
    MissingInputError
        If there is no lesion table at all, or a participant asked for is not in the dataset.
    """
    output_dir, sessions = settings.output_dir, settings.selection.sessions
    tables: dict[str, list[tuple[Mapping[str, str], Path]]] = {}
    for path in find_outputs(output_dir, Kind.LESION_METRICS, atlas_name):
        subject, entities = parse_scan(path)
        if not sessions or entities.get("ses") in {label.removeprefix("ses-") for label in sessions}:
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
            patients.append(Patient(subject, {}, None, reason))
            continue
        patient, note = _choose_scan(subject, tables[subject], output_dir, atlas_name)
        patients.append(patient)
        notes += [note] if note else []
    return patients, notes


def read_sites(bids_dir: Path) -> tuple[Mapping[str, str], list[str]]:
    """Read each patient's centre from the column ``site`` of participants.tsv.

    Labels may come with or without "sub-"; "n/a" and empty cells mean unknown.

    Raises
    ------
    DataError
        If the file is there, but is no table.
    """
    path = bids_dir / "participants.tsv"
    if not path.is_file():
        return {}, ["There is no participants.tsv: all patients are taken as one centre."]
    try:
        table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (ValueError, OSError) as error:
        raise DataError(f"{path} must be a table separated by tabs ({error}): mend it") from error
    missing = [name for name in ("participant_id", "site") if name not in table.columns]
    if missing:
        return {}, [f"participants.tsv has no column {missing[0]}: all patients are taken as one centre."]
    table = table[~table["site"].str.strip().isin(["", "n/a", "N/A"])]
    labels = table["participant_id"].str.strip().str.removeprefix("sub-")
    sites = dict(zip(labels, table["site"].str.strip(), strict=True))
    return sites, [] if len(sites) == len(table) else [
        "participants.tsv names a participant twice: last row used."
    ]


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
            place = (output_dir, patient.subject, patient.entities)
            metrics = output_path(*place, Kind.REGISTRATION_METRICS, atlas_name)
            report = output_path(*place, Kind.REPORT, atlas_name)
            row |= {"session": patient.entities.get("ses"), "n_lesions": len(patient.lesions)}
            row["volume_factor_median"] = (
                float(patient.lesions["volume_factor"].median()) if row["n_lesions"] else np.nan
            )
            row["report"] = report.name if report.is_file() else None
            if metrics.is_file():
                row["dice_mean"] = float(load_table(metrics)["dice_mean"].iloc[0])
        rows.append(row)
    return pd.DataFrame(rows, columns=list(PATIENT_COLUMNS))


def count_patients(patients: Sequence[Patient], output_dir: Path, atlas: AtlasPack) -> Volume:
    """Count at each voxel of the atlas the patients with a lesion there, each at most once.

    Raises
    ------
    MissingInputError, DataError
        If a patient's lesions are not on this atlas.
    """
    space = atlas.template.space
    total = np.zeros(space.shape, dtype=np.int32)
    for patient in patients:
        if patient.lesions is not None and len(patient.lesions):
            path = output_path(output_dir, patient.subject, patient.entities, Kind.LESION_MASK, atlas.name)
            if not path.is_file():
                raise MissingInputError(
                    f"sub-{patient.subject} has lesions but no mask of them in {atlas.name} ({path.name}): "
                    "give the same --atlas as at the participant level, or run that level again"
                )
            total += _mask_on(space, path)
    return Volume(total, space)


def _choose_scan(
    subject: str, tables: Sequence[tuple[Mapping[str, str], Path]], output_dir: Path, atlas_name: str
) -> tuple[Patient, str]:
    """Take the first session with lesions (else the first one) and say so."""
    scans = [(entities, _read_lesions(path)) for entities, path in sorted(tables, key=_in_time)]
    entities, lesions = next((scan for scan in scans if len(scan[1])), scans[0])
    mask = output_path(output_dir, subject, entities, Kind.LESION_MASK, atlas_name)
    if not len(lesions) and not mask.is_file():
        return Patient(subject, {}, None, "no lesion mask, or an empty one"), ""
    if len(scans) == 1:
        return Patient(subject, entities, lesions), ""
    name = "_".join(f"{key}-{label}" for key, label in entities.items()) or "the one without entities"
    return (
        Patient(subject, entities, lesions),
        f"sub-{subject} has {len(scans)} scans and counts once: {name} is used, the first with lesions.",
    )


def _in_time(scan: tuple[Mapping[str, str], Path]) -> tuple[list[tuple[bool, int, str]], str]:
    """Sort by session, numbers by their value, then by name."""
    session, path = scan[0].get("ses", ""), scan[1]
    parts = re.findall(r"\d+|\D+", session)
    return [(not part.isdigit(), int(part) if part.isdigit() else 0, part) for part in parts], path.name


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


def _mask_on(space: Space, path: Path) -> np.ndarray:
    """Read a patient's lesions on the atlas grid."""
    mask = read_labels(path)
    if not mask.space.matches(space):
        raise DataError(
            f"{path} must lie on the grid of the atlas {space.shape}, got {mask.space.shape} or another "
            "position: run the participant level again with this atlas"
        )
    return mask.data > 0
