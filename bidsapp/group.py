"""THE STORY of the group: gather every patient's lesions, count them against the atlas, show them."""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from bidsapp.atlas.builtin import load_builtin
from bidsapp.atlas.pack import AtlasPack, load_pack
from bidsapp.atlas.seganat import structures
from bidsapp.bids.description import app_version, group_map_sidecar, is_virtual, read_description
from bidsapp.bids.names import group_map_path, group_path, group_report_path, sidecar_path
from bidsapp.bids.save import save_json, save_table, save_volume
from bidsapp.cohort import (
    GROUP_LESION_COLUMNS,
    PATIENT_COLUMNS,
    count_patients,
    describe_patients,
    find_patients,
    gather_lesions,
    read_sites,
)
from bidsapp.images.volume import Volume
from bidsapp.reports.group import GroupPage, write_group_report
from bidsapp.settings import RunSettings
from bidsapp.statistics.clustered import FEW_PATIENTS
from bidsapp.statistics.heterogeneity import HeterogeneityTest
from bidsapp.statistics.regions import PAPER
from bidsapp.statistics.strata import REGION_COLUMNS, StratumAnalysis, analyse_stratum, compare_centres

logger = logging.getLogger(__name__)

COMBINED = "combined"


@dataclass(frozen=True)
class Cohort:
    """Everything that was counted.

    Parameters
    ----------
    patients
        Found, used or not, by label.
    lesions
        One row a lesion of the patients used, with their ``site``.
    strata
        "combined" first, then each centre if there are several.
    heterogeneity
        Comparison of the centres; None unless there are several.
    notes
        Choices made and things missing, in words.
    """

    patients: pd.DataFrame
    lesions: pd.DataFrame
    strata: Mapping[str, StratumAnalysis]
    heterogeneity: HeterogeneityTest | None
    notes: tuple[str, ...]


def run_group(settings: RunSettings) -> Path:
    """Analyse where the lesions of all patients sit, and write tables, map and page.

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
        If results were made with another atlas or another version, or participants.tsv is broken.
    """
    output_dir = settings.output_dir
    atlas = load_pack(settings.atlas) if settings.atlas else load_builtin()
    patients, notes = find_patients(settings, atlas.name)
    sites, site_notes = read_sites(settings.selection.bids_dir)
    lesions = gather_lesions(patients, sites)
    strata, heterogeneity = analyse(lesions, atlas, seed=settings.random_seed)
    found = describe_patients(patients, sites, output_dir, atlas.name)
    notes += [*site_notes, *few_patients(strata[COMBINED])]
    cohort = Cohort(found, lesions, strata, heterogeneity, tuple(notes))
    n_patients = count_patients(patients, output_dir, atlas)
    save_tables(cohort, settings, atlas)
    save_frequency(n_patients, int((found["status"] == "used").sum()), output_dir, atlas.name)
    report = group_report_path(output_dir)
    write_group_report(group_page(cohort, n_patients, settings, atlas), report)
    logger.info("group: %d patients, %d lesions, report %s", len(found), len(lesions), report)
    return report


def region_volumes(labels: Volume) -> pd.DataFrame:
    """Measure each region of an atlas in mm3, its left, right and unpaired structures apart."""
    named = structures()
    counts = np.bincount(labels.data.ravel(), minlength=len(named))
    regions = pd.Index(dict.fromkeys(each.region for each in named[1:]), name="region")
    volumes = pd.DataFrame(0.0, index=regions, columns=["left", "right", "none"])
    for each in named[1:]:
        volumes.loc[each.region, each.hemisphere] += counts[each.index] * labels.space.voxel_volume_mm3
    return volumes


def analyse(
    lesions: pd.DataFrame, atlas: AtlasPack, *, seed: int
) -> tuple[dict[str, StratumAnalysis], HeterogeneityTest | None]:
    """Test all patients together and, if there are several centres, each centre and their agreement."""
    volumes = region_volumes(atlas.labels)
    strata = {COMBINED: analyse_stratum(lesions, volumes)}
    centres = sorted(lesions["site"].dropna().unique())
    if len(centres) < 2:
        return strata, None
    for centre in centres:
        name = f"{centre} (centre)" if centre == COMBINED else str(centre)
        strata[name] = analyse_stratum(lesions[lesions["site"] == centre], volumes)
    return strata, compare_centres(lesions, volumes.index, seed=seed)


def few_patients(whole: StratumAnalysis) -> list[str]:
    """Warn when most lesions come from a few patients."""
    if whole.n_lesions == whole.n_off_structure or whole.effective_patients >= FEW_PATIENTS:
        return []
    weight = f"The cohort weighs as much as {whole.effective_patients:.1f} patients with equally many lesions"
    return [
        f"{weight}: the clustered analysis is careful below {FEW_PATIENTS} and finds only strong preferences."
    ]


def save_tables(cohort: Cohort, settings: RunSettings, atlas: AtlasPack) -> None:
    """Write group/*.tsv, each with its JSON, and group/summary.json; tables of former centres are removed."""
    output_dir = settings.output_dir
    save_table(cohort.lesions, group_path(output_dir, "lesions"), GROUP_LESION_COLUMNS)
    save_table(cohort.patients, group_path(output_dir, "patients"), PATIENT_COLUMNS)
    written: dict[str, Path] = {}
    for name, stratum in cohort.strata.items():
        path = _region_path(output_dir, name, set(written.values()))
        save_table(stratum.regions, path, REGION_COLUMNS)
        written[name] = path
    for path in group_path(output_dir, "any").parent.glob("regions_site_*.tsv"):
        if path not in written.values():
            path.unlink()
            sidecar_path(path).unlink(missing_ok=True)
    used = cohort.patients["status"] == "used"
    summary = {
        "n_patients_found": len(cohort.patients),
        "n_patients_used": int(used.sum()),
        "n_patients_with_lesions": int((cohort.patients["n_lesions"] > 0).sum()),
        "n_lesions": len(cohort.lesions),
        "excluded": dict(cohort.patients.loc[~used, ["participant", "reason"]].itertuples(index=False)),
        "strata": {name: _stratum_summary(stratum, written[name]) for name, stratum in cohort.strata.items()},
        "heterogeneity": cohort.heterogeneity,
        "settings": PAPER,
        "random_seed": settings.random_seed,
        "notes": cohort.notes,
        "provenance": provenance(settings, atlas),
    }
    save_json(summary, group_path(output_dir, "summary").with_suffix(".json"))


def save_frequency(n_patients: Volume, n_used: int, output_dir: Path, atlas_name: str) -> None:
    """Write the share of patients with a lesion at each voxel."""
    share = Volume((n_patients.data / max(n_used, 1)).astype(np.float32), n_patients.space)
    description = (
        f"Share of the {n_used} patients with a lesion at this voxel; each counts once, those without "
        "lesions included."
    )
    path = group_map_path(output_dir, atlas_name, "frequency")
    save_volume(share, path, group_map_sidecar(description, atlas_name, share.space))


def group_page(cohort: Cohort, n_patients: Volume, settings: RunSettings, atlas: AtlasPack) -> GroupPage:
    """Collect what the page of the cohort shows."""
    bids_dir = settings.selection.bids_dir
    strata = cohort.strata
    return GroupPage(
        title=f"Cohort: {read_description(bids_dir).get('Name') or bids_dir.name}",
        virtual=is_virtual(bids_dir),
        patients=cohort.patients,
        lesions=cohort.lesions,
        regions={name: stratum.regions for name, stratum in strata.items()},
        omnibus={name: stratum.omnibus for name, stratum in strata.items()},
        hemispheres={name: stratum.hemispheres for name, stratum in strata.items()},
        heterogeneity=cohort.heterogeneity,
        frequency=n_patients if len(cohort.lesions) else None,
        template=atlas.template,
        labels=atlas.labels,
        warnings=cohort.notes,
        methods={
            "version": app_version(),
            "atlas": atlas.name,
            "alpha": PAPER.alpha,
            "minimum_count": PAPER.minimum_count,
        },
        provenance=provenance(settings, atlas),
    )


def provenance(settings: RunSettings, atlas: AtlasPack) -> dict[str, str]:
    """Say what made the results, so that the same input gives the same output."""
    packages = {f"{name} version": version(name) for name in ("numpy", "pandas", "scipy", "statsmodels")}
    sums = {f"atlas file {name}": f"sha256 {value}" for name, value in sorted(atlas.checksums.items())}
    return {
        "metsatlas version": app_version(),
        "atlas": atlas.name,
        "random seed": str(settings.random_seed),
        **packages,
        **sums,
    }


def _region_path(output_dir: Path, stratum: str, taken: set[Path]) -> Path:
    """Name the region table of a stratum; centres whose names differ only in signs get a number."""
    if stratum == COMBINED:
        return group_path(output_dir, f"regions_{COMBINED}")
    clean = re.sub(r"[^0-9A-Za-z]+", "", stratum) or "unnamed"
    names = [clean, *(f"{clean}_{number}" for number in range(2, len(taken) + 3))]
    paths = (group_path(output_dir, f"regions_site_{name}") for name in names)
    lower = {path.name.lower() for path in taken}
    return next(path for path in paths if path.name.lower() not in lower)


def _stratum_summary(stratum: StratumAnalysis, path: Path) -> dict[str, object]:
    return {
        "regions_table": path.name,
        "n_patients_with_lesions": stratum.n_patients,
        "n_lesions": stratum.n_lesions,
        "n_lesions_outside_structures": stratum.n_off_structure,
        "pooled_icc": stratum.pooled_icc,
        "effective_patients": stratum.effective_patients,
        "omnibus": stratum.omnibus,
        "omnibus_four_cells": stratum.paper_omnibus,
        "hemispheres": stratum.hemispheres,
    }
