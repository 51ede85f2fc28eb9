"""The page of the cohort: where the metastases sit, and whether to trust it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from bidsapp.analysis.contrast import ContrastAnalysis
from bidsapp.analysis.places import PlaceAnalysis
from bidsapp.analysis.regions import RegionAnalysis
from bidsapp.errors import DataError, ShapeError
from bidsapp.images.volume import Volume
from bidsapp.reports.brain_scene import brain_scene
from bidsapp.reports.charts import region_picture, size_picture
from bidsapp.reports.cohort_tables import MOST_ROWS, lesion_table, patient_table, region_rows
from bidsapp.reports.cohort_words import (
    both_verdicts,
    caveats,
    degrees_of_freedom,
    hemisphere_sentence,
    omnibus_sentence,
    p_phrase,
    summary_sentence,
)
from bidsapp.reports.figures import frequency_picture
from bidsapp.reports.group_contrast import contrast_sections
from bidsapp.reports.group_sections import group_sections
from bidsapp.reports.methods_text import group_methods
from bidsapp.reports.page import Table, is_missing, write_page
from bidsapp.reports.picture import Picture
from bidsapp.reports.plain_words import (
    agreement_sentence,
    further_findings,
    side_sentence,
    single_patient_caveat,
)
from bidsapp.reports.planes import CONVENTION, brain_mosaic
from bidsapp.reports.quality import strips
from bidsapp.reports.section import group_file
from bidsapp.statistics.hemispheres import HemisphereTest
from bidsapp.statistics.heterogeneity import HeterogeneityTest
from bidsapp.statistics.regions import ChiSquareTest

LARGEST_PAGE_BYTES = 8_000_000
MOST_CENTRES = 12
LESION_NEEDS = (
    *("subject", "session", "lesion", "native_volume_mm3", "region", "hemisphere", "site"),
    *("atlas_x_mm", "atlas_y_mm", "atlas_z_mm"),
)
REGION_NEEDS = (
    "region",
    "n_observed",
    "n_expected",
    "ratio",
    "ratio_low",
    "ratio_high",
    "tested",
    "bonferroni_p_value",
    "significant",
    "reason",
    "clustered_ratio_low",
    "clustered_ratio_high",
    "clustered_bonferroni_p_value",
    "clustered_significant",
    "clustered_reason",
)


@dataclass(frozen=True)
class GroupPage:
    """Everything the page of the cohort shows.

    Parameters
    ----------
    title
        Of the page.
    virtual
        Whether the data are made up; then every picture says so.
    patients
        One row a patient found: ``participant`` ("sub-01"), ``status`` ("used" or "excluded"), ``reason``,
        ``n_lesions``; where there is one, ``site``, ``session``, ``dice_mean``, ``volume_factor_median`` and
        ``report``, the file name of the patient's page.
    lesions
        One row a lesion of the patients used: ``subject``, ``session``, ``lesion`` (its number),
        ``native_volume_mm3``, ``atlas_x_mm`` to ``atlas_z_mm``, ``region``, ``hemisphere`` and ``site``.
    regions
        Stratum ("combined" first, then each centre) to the table of
        `bidsapp.statistics.regions.region_table` joined with
        `bidsapp.statistics.clustered.clustered_table`.
    omnibus, hemispheres
        Stratum to the test's outcome.
    heterogeneity
        Do the centres agree; None with a single centre.
    frequency
        Patients with a lesion at a voxel, on the template's grid, or None.
    template, labels
        The atlas and its SegAnat labels.
    warnings
        Sentences.
    methods
        As `group_methods` wants them.
    provenance
        What made this page.
    preset
        Whose verdict leads: "clustered" or "paper".
    analysis
        What the findings in regions hang on; None leaves its sections out.
    places
        Distances, arteries, blood flow, volumes and rate ratios; None leaves their sections out.
    contrast
        Two groups compared voxel by voxel; None if nobody asked.
    tables
        Stratum to the name of its file among the tables of the group.
    map_file
        Relative address of the frequency map, empty without one.

    Raises
    ------
    DataError
        If a table lacks a column that the page needs, or there is no stratum.
    ShapeError
        If `labels` or `frequency` are not on the template's grid.
    """

    title: str
    virtual: bool
    patients: pd.DataFrame
    lesions: pd.DataFrame
    regions: Mapping[str, pd.DataFrame]
    omnibus: Mapping[str, ChiSquareTest]
    hemispheres: Mapping[str, HemisphereTest]
    heterogeneity: HeterogeneityTest | None
    frequency: Volume | None
    template: Volume
    labels: Volume
    warnings: tuple[str, ...]
    methods: Mapping[str, object]
    provenance: Mapping[str, str]
    preset: str = "clustered"
    analysis: RegionAnalysis | None = None
    places: PlaceAnalysis | None = None
    contrast: ContrastAnalysis | None = None
    tables: Mapping[str, str] = field(default_factory=dict)
    map_file: str = ""

    def __post_init__(self) -> None:
        if not self.regions:
            raise DataError("the group page needs the regions of at least one stratum, got none")
        wanted: list[tuple[str, pd.DataFrame, tuple[str, ...]]] = [
            ("patients", self.patients, ("participant", "status", "reason", "n_lesions")),
            ("lesions", self.lesions, LESION_NEEDS),
        ]
        wanted += [(f"regions of {name}", frame, REGION_NEEDS) for name, frame in self.regions.items()]
        for name, frame, columns in wanted:
            missing = [column for column in columns if column not in frame.columns]
            if missing:
                raise DataError(
                    f"the table {name} must have the columns {', '.join(missing)}, got {list(frame.columns)}"
                )
        for name, volume in (("labels", self.labels), ("frequency", self.frequency)):
            if volume is not None and not volume.space.matches(self.template.space):
                raise ShapeError(
                    f"{name} must lie on the template's grid {self.template.space.shape}, got "
                    f"{volume.space.shape}"
                )


@dataclass(frozen=True, slots=True)
class Stratum:
    """One centre, or all of them: its picture, its table and its two sentences."""

    name: str
    n_lesions: int
    picture: Picture | None
    table: Table
    strong: tuple[int, ...]
    sentences: tuple[str, ...]
    source: str


def write_group_report(page: GroupPage, path: Path) -> None:
    """Draw the page of the cohort.

    Parameters
    ----------
    page
        What it shows.
    path
        The HTML file; the patients' pages are linked relative to its folder.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    used = page.patients[page.patients["status"] == "used"]
    names = list(page.regions)
    whole = page.regions[names[0]]
    n_with = int((used["n_lesions"].fillna(0).astype(int) > 0).sum())
    values = {
        "page": page,
        "summary": summary_sentence(len(used), len(page.lesions), whole, preset=page.preset),
        "verdicts": both_verdicts(whole, page.preset) if len(page.lesions) else (),
        "sections": group_sections(page.analysis, page.places, virtual=page.virtual)
        + contrast_sections(page.contrast, page.template, page.labels, virtual=page.virtual),
        "further": _further(page, names[0]),
        "caveats": caveats(n_with, len(page.lesions), whole) + single_patient_caveat(page.analysis),
        "n_found": len(page.patients),
        "n_used": len(used),
        "n_with": n_with,
        "n_excluded": len(page.patients) - len(used),
        "reasons": excluded_by_reason(page.patients),
        "strips": strips(page.patients),
        "files": {"lesions": group_file("lesions"), "patients": group_file("patients")},
        "whole": _stratum(page, names[0], with_picture=True),
        "centres": [
            _stratum(page, name, with_picture=place < MOST_CENTRES) for place, name in enumerate(names[1:])
        ],
        "heterogeneity": _heterogeneity_sentence(page.heterogeneity),
        "frequency": _frequency(page),
        "scene": brain_scene(page.template, page.labels, page.frequency, page.lesions, page.patients)
        if len(page.lesions)
        else None,
        "lesions": lesion_table(page.lesions, page.patients),
        "most_rows": MOST_ROWS,
        "sizes": size_picture(page.lesions["native_volume_mm3"], virtual=page.virtual)
        if len(page.lesions)
        else None,
        "patients": patient_table(page.patients),
        "methods": group_methods(page.methods),
        "convention": CONVENTION,
    }
    write_page("group.html.j2", values, path)


def _further(page: GroupPage, whole: str) -> list[str]:
    """Say what else the numbers show."""
    if not len(page.lesions):
        return []
    sides = side_sentence(page.hemispheres[whole]) if whole in page.hemispheres else ""
    found = [sides, *further_findings(page.places, page.preset), agreement_sentence(page.heterogeneity)]
    return [sentence for sentence in found if sentence]


def excluded_by_reason(patients: pd.DataFrame) -> list[tuple[str, list[str]]]:
    """List why patients were excluded, the commonest reason first, and who they are.

    A reason that names the patient is the same reason for the next one.
    """
    found: dict[str, list[str]] = {}
    for row in patients[patients["status"] != "used"].to_dict("records"):
        name = str(row["participant"])
        why = "no reason given" if is_missing(row["reason"]) else str(row["reason"]).replace(name, "sub-…")
        found.setdefault(why, []).append(name)
    return sorted(found.items(), key=lambda each: (-len(each[1]), each[0]))


def _stratum(page: GroupPage, name: str, *, with_picture: bool) -> Stratum:
    regions = page.regions[name]
    shown, strong = region_rows(regions)
    picture = (
        region_picture(regions, "Measured against expected", virtual=page.virtual) if with_picture else None
    )
    sentences = []
    if name in page.omnibus:
        sentences.append(omnibus_sentence(page.omnibus[name]))
    if name in page.hemispheres:
        sentences.append(hemisphere_sentence(page.hemispheres[name]))
    source = group_file(page.tables[name]) if name in page.tables else ""
    return Stratum(name, int(regions["n_observed"].sum()), picture, shown, strong, tuple(sentences), source)


def _heterogeneity_sentence(test: HeterogeneityTest | None) -> str:
    if test is None:
        return ""
    outcome = test.contingency
    if outcome.p_value is None:
        return f"Do the centres agree? Not tested ({outcome.reason})."
    text = (
        f"Do the centres agree? Chi-square {outcome.chi2:.1f}, {degrees_of_freedom(outcome)}; "
        f"p {p_phrase(outcome.p_value)} with every lesion independent"
    )
    if test.permutation_p_value is None:
        return f"{text}; no permutation test ({outcome.reason})."
    shuffled = p_phrase(test.permutation_p_value)
    return f"{text}, p {shuffled} when whole patients change centres ({test.n_permutations} times)."


def _frequency(page: GroupPage) -> Picture | None:
    if page.frequency is None:
        return None
    top = float(page.frequency.data.max(initial=0))
    text = f"Slices of the atlas, coloured by patients with a lesion there; at most {top:.3g}. {CONVENTION}"
    mosaic = brain_mosaic(page.labels)
    return frequency_picture(mosaic, page.template, page.frequency, "patients", text, virtual=page.virtual)
