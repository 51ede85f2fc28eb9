"""THE STORY of the group: gather every patient's lesions, ask where they sit, show the answers."""

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from bidsapp.analysis.contrast import ContrastAnalysis, analyse_contrast
from bidsapp.analysis.places import PlaceAnalysis, analyse_places
from bidsapp.analysis.regions import COMBINED, RegionAnalysis, analyse_regions, region_volumes
from bidsapp.atlas.builtin import load_builtin
from bidsapp.atlas.pack import AtlasPack, load_pack
from bidsapp.bids.description import app_version, group_map_sidecar, is_virtual, read_description
from bidsapp.bids.names import group_map_path, group_path, group_report_path, sidecar_path
from bidsapp.bids.save import save_json, save_volume
from bidsapp.cohort import (
    GROUP_LESION_COLUMNS,
    PATIENT_COLUMNS,
    MaskReader,
    Patient,
    count_patients,
    describe_patients,
    find_patients,
    find_patients_in_atlas_space,
    gather_lesions,
    patient_mask,
    read_atlas_space_mask,
    read_contrast,
    read_own_mask,
    read_participants,
    read_sites,
)
from bidsapp.group_tables import GroupTable, place_tables, region_tables, save_tables
from bidsapp.images.volume import Volume
from bidsapp.lesions.off_structure import assigned_regions
from bidsapp.reports.group import GroupPage, write_group_report
from bidsapp.settings import RunSettings
from bidsapp.statistics.clustered import FEW_PATIENTS
from bidsapp.statistics.regions import PAPER
from bidsapp.statistics.strata import REGION_COLUMNS, StratumAnalysis

logger = logging.getLogger(__name__)

SESSIONS = {
    "first": "Of patients with several sessions, the first with lesions is counted.",
    "last": "Of patients with several sessions, the last with lesions is counted.",
    "all": "Of patients with several sessions, the lesions of all count, as one patient's.",
}

NO_MAPS = "Maps were not asked for (--no-maps): how many patients have a lesion at a place is not shown."

MAPS = {"frequency": "probseg", "difference": "statmap", "logp": "statmap"}
"""What a map of the group holds, and the suffix of its file."""


@dataclass(frozen=True)
class Cohort:
    """Everything that was counted.

    Parameters
    ----------
    patients
        Found, used or not, by label.
    lesions
        One row a lesion of the patients used, with their ``site`` and the ``region`` each counts for.
    n_patients
        Patients with a lesion at each voxel of the atlas; None without maps.
    regions, places
        All tests.
    contrast
        Two groups compared voxel by voxel; None if nobody asked.
    notes
        Choices made and things missing, in words.
    """

    patients: pd.DataFrame
    lesions: pd.DataFrame
    n_patients: Volume | None
    regions: RegionAnalysis
    places: PlaceAnalysis
    contrast: ContrastAnalysis | None
    notes: tuple[str, ...]


def run_group(settings: RunSettings) -> Path:
    """Analyse where the lesions of all patients sit, and write tables, maps and page.

    Parameters
    ----------
    settings
        Of the run: where the participant level wrote its results, the raw dataset, the atlas, the seed.

    Returns
    -------
    report
        The HTML page.

    Raises
    ------
    MissingInputError
        If no patient has results of the participant level.
    DataError
        If results were made with another atlas or another version, participants.tsv is broken, or a column
        or group that was named is not there.
    """
    atlas = load_pack(settings.atlas) if settings.atlas else load_builtin()
    cohort = gather_and_test(settings, atlas)
    origin = provenance(settings, atlas)
    save_numbers(cohort, settings, origin)
    save_maps(cohort, settings, atlas)
    report = group_report_path(settings.output_dir)
    write_group_report(group_page(cohort, settings, atlas, origin), report)
    logger.info(
        "group: %d patients, %d lesions, report %s", len(cohort.patients), len(cohort.lesions), report
    )
    return report


def gather_and_test(settings: RunSettings, atlas: AtlasPack) -> Cohort:
    """Read what the group is made of, and ask every question."""
    seed = settings.random_seed
    participants = read_participants(settings.selection.bids_dir)
    sites, site_notes = read_sites(participants, settings.group.group_by)
    groups = read_contrast(participants, settings.group.contrast) if settings.group.contrast else {}
    folder = settings.group.lesions_in_atlas_space
    if folder:
        patients, notes = find_patients_in_atlas_space(settings, folder, atlas)
        read_mask: MaskReader = partial(read_atlas_space_mask, atlas)
    else:
        patients, notes = find_patients(settings, atlas)
        read_mask = partial(read_own_mask, atlas.template.space)
    lesions = assigned_regions(gather_lesions(patients, sites), settings.group.off_structure)
    regions = analyse_regions(lesions, region_volumes(atlas.labels), seed=seed)
    places = analyse_places(lesions, atlas, seed=seed)
    contrast = None
    if settings.group.contrast:
        used = [each for each in patients if each.lesions is not None and each.subject in groups]

        def masks() -> Iterator[np.ndarray]:
            return (_mask(each, read_mask, atlas) for each in used)

        is_first = np.array([groups[each.subject] for each in used], dtype=bool)
        contrast = analyse_contrast(settings.group.contrast, masks, is_first, atlas.template.space, seed=seed)
    notes = [*_session_note(patients, settings), *notes, *site_notes, *few_patients(regions.strata[COMBINED])]
    with_maps = settings.group.maps
    return Cohort(
        patients=describe_patients(patients, sites, settings.output_dir, atlas.name),
        lesions=lesions[list(GROUP_LESION_COLUMNS)],
        n_patients=count_patients(patients, read_mask, atlas.template.space) if with_maps else None,
        regions=regions,
        places=places,
        contrast=contrast,
        notes=(*notes, *([] if with_maps else [NO_MAPS]), *places.skipped),
    )


def _mask(patient: Patient, read_mask: MaskReader, atlas: AtlasPack) -> np.ndarray:
    """Give a patient's lesions in the atlas; none is an empty mask."""
    if not patient.masks:
        return np.zeros(atlas.template.space.shape, dtype=bool)
    return patient_mask(patient, read_mask)


def _session_note(patients: list[Patient], settings: RunSettings) -> list[str]:
    """State how sessions are chosen where the cohort has any."""
    has_sessions = any("ses" in scan for patient in patients for scan in patient.scans)
    return [SESSIONS[settings.group.session]] if has_sessions else []


def few_patients(whole: StratumAnalysis) -> list[str]:
    """Warn when most lesions come from a few patients."""
    if whole.n_lesions == whole.n_off_structure or whole.effective_patients >= FEW_PATIENTS:
        return []
    weight = f"The cohort weighs as much as {whole.effective_patients:.1f} patients with equally many lesions"
    return [
        f"{weight}: the clustered analysis is careful below {FEW_PATIENTS} and finds only strong preferences."
    ]


def save_numbers(cohort: Cohort, settings: RunSettings, origin: Mapping[str, str]) -> None:
    """Write group/*.tsv, each with its JSON, and group/summary.json."""
    output_dir, regions, places = settings.output_dir, cohort.regions, cohort.places
    names = _region_names(regions.strata)
    tables = [
        GroupTable("lesions", cohort.lesions, GROUP_LESION_COLUMNS),
        GroupTable("patients", cohort.patients, PATIENT_COLUMNS),
        *(GroupTable(names[name], each.regions, REGION_COLUMNS) for name, each in regions.strata.items()),
        *region_tables(regions),
        *place_tables(places),
    ]
    save_tables(tables, output_dir, origin)
    used = cohort.patients["status"] == "used"
    summary = {
        "n_patients_found": len(cohort.patients),
        "n_patients_used": int(used.sum()),
        "n_patients_with_lesions": int((cohort.patients["n_lesions"] > 0).sum()),
        "n_lesions": len(cohort.lesions),
        "excluded": dict(cohort.patients.loc[~used, ["participant", "reason"]].itertuples(index=False)),
        "strata": {name: _stratum_summary(each, names[name]) for name, each in regions.strata.items()},
        "omnibus_simulated": regions.omnibus,
        "heterogeneity": regions.heterogeneity,
        "position": places.position,
        "volumes_kruskal": places.volumes.kruskal,
        "territories": {
            level: _stratum_summary(each, f"territories_{level}")
            for level, each in places.territories.items()
        },
        "rate_ratios": _fields(places.model, leave_out=("table",)),
        "contrast": _fields(cohort.contrast, leave_out=("difference", "log_p")) if cohort.contrast else None,
        "settings": PAPER,
        "choices": settings.group,
        "random_seed": settings.random_seed,
        "notes": cohort.notes,
        "provenance": origin,
    }
    save_json(summary, group_path(output_dir, "summary").with_suffix(".json"))


def save_maps(cohort: Cohort, settings: RunSettings, atlas: AtlasPack) -> None:
    """Write the maps of the group; those of an earlier run that this one does not make are removed."""
    origin, made = provenance(settings, atlas), _maps(cohort)
    for quantity, suffix in MAPS.items():
        path = group_map_path(settings.output_dir, atlas.name, quantity, suffix)
        if quantity in made:
            volume, words = made[quantity]
            sidecar = group_map_sidecar(words, atlas.name, volume.space) | {"Provenance": origin}
            save_volume(volume, path, sidecar)
        else:
            path.unlink(missing_ok=True)
            sidecar_path(path).unlink(missing_ok=True)


def _maps(cohort: Cohort) -> dict[str, tuple[Volume, str]]:
    """Give the share of patients with a lesion at each voxel, and the two maps of a contrast, in words."""
    maps: dict[str, tuple[Volume, str]] = {}
    if cohort.n_patients is not None:
        n_used = int((cohort.patients["status"] == "used").sum())
        share = (cohort.n_patients.data / max(n_used, 1)).astype(np.float32)
        words = (
            f"Share of the {n_used} patients with a lesion at this voxel; each counts once, those without "
            "lesions included."
        )
        maps["frequency"] = Volume(share, cohort.n_patients.space), words
    contrast = cohort.contrast
    if contrast and contrast.difference and contrast.log_p:
        first, second = contrast.contrast.first, contrast.contrast.second
        where = f"0 where fewer than {contrast.fewest_patients} patients have a lesion"
        words = f"Share of patients with a lesion here, {first} less {second}; {where}."
        maps["difference"] = contrast.difference, words
        words = f"-log10 of the p-value of {first} against {second}, corrected for all voxels; {where}."
        maps["logp"] = contrast.log_p, words
    return maps


def group_page(
    cohort: Cohort, settings: RunSettings, atlas: AtlasPack, origin: Mapping[str, str]
) -> GroupPage:
    """Collect what the page of the cohort shows."""
    bids_dir = settings.selection.bids_dir
    strata = cohort.regions.strata
    return GroupPage(
        title=f"Cohort: {read_description(bids_dir).get('Name') or bids_dir.name}",
        virtual=is_virtual(bids_dir),
        preset=settings.group.preset,
        patients=cohort.patients,
        lesions=cohort.lesions,
        regions={name: stratum.regions for name, stratum in strata.items()},
        omnibus={name: stratum.omnibus for name, stratum in strata.items()},
        hemispheres={name: stratum.hemispheres for name, stratum in strata.items()},
        heterogeneity=cohort.regions.heterogeneity,
        analysis=cohort.regions,
        places=cohort.places,
        contrast=cohort.contrast,
        tables=_region_names(strata),
        map_file=_map_file(cohort, atlas),
        frequency=cohort.n_patients if len(cohort.lesions) else None,
        template=atlas.template,
        labels=atlas.labels,
        warnings=cohort.notes,
        methods={
            "version": app_version(),
            "atlas": atlas.name,
            "alpha": PAPER.alpha,
            "minimum_count": PAPER.minimum_count,
            "off_structure": settings.group.off_structure,
            "lesions_in_atlas_space": settings.group.lesions_in_atlas_space is not None,
            "maps": settings.group.maps,
        },
        provenance=origin,
    )


def _map_file(cohort: Cohort, atlas: AtlasPack) -> str:
    """Say where the frequency map lies, as seen from the page."""
    return group_map_path(Path(), atlas.name, "frequency").as_posix() if cohort.n_patients is not None else ""


def provenance(settings: RunSettings, atlas: AtlasPack) -> dict[str, str]:
    """Say what made the results, so that the same input gives the same output."""
    packages = {
        f"{name} version": version(name)
        for name in ("nilearn", "numpy", "pandas", "POT", "scipy", "statsmodels")
    }
    sums = {f"atlas file {name}": f"sha256 {value}" for name, value in sorted(atlas.checksums.items())}
    return {
        "metsatlas version": app_version(),
        "atlas": atlas.name,
        "random seed": str(settings.random_seed),
        **packages,
        **sums,
    }


def _region_names(strata: Mapping[str, StratumAnalysis]) -> dict[str, str]:
    """Name the region table of each stratum; centres whose names differ only in signs get a number."""
    found: dict[str, str] = {}
    for stratum in strata:
        clean = re.sub(r"[^0-9A-Za-z]+", "", stratum) or "unnamed"
        names = [clean, *(f"{clean}_{number}" for number in range(2, len(found) + 3))]
        taken = {name.lower() for name in found.values()}
        wanted = (f"regions_site_{name}" for name in names)
        found[stratum] = next(
            name
            for name in ([f"regions_{COMBINED}"] if stratum == COMBINED else wanted)
            if name.lower() not in taken
        )
    return found


def _fields(record: object, *, leave_out: tuple[str, ...]) -> dict[str, object]:
    """Give the fields of a record that belong into a summary."""
    return {
        field.name: getattr(record, field.name)
        for field in fields(record)  # type: ignore[arg-type]
        if field.name not in leave_out
    }


def _stratum_summary(stratum: StratumAnalysis, table: str) -> dict[str, object]:
    return {
        "regions_table": f"{table}.tsv",
        "n_patients_with_lesions": stratum.n_patients,
        "n_lesions": stratum.n_lesions,
        "n_lesions_outside_structures": stratum.n_off_structure,
        "pooled_icc": stratum.pooled_icc,
        "effective_patients": stratum.effective_patients,
        "omnibus": stratum.omnibus,
        "omnibus_four_cells": stratum.paper_omnibus,
        "hemispheres": stratum.hemispheres,
    }
