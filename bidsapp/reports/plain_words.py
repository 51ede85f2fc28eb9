"""What a cohort shows beyond its regions, in plain sentences: sides, depth, arteries, models, centres."""

import pandas as pd

from bidsapp.analysis.places import PlaceAnalysis
from bidsapp.analysis.regions import RegionAnalysis
from bidsapp.reports.cohort_words import VERDICT_COLUMNS, listed, p_phrase, was_tested
from bidsapp.reports.page import is_missing
from bidsapp.statistics.hemispheres import HemisphereTest
from bidsapp.statistics.heterogeneity import HeterogeneityTest
from bidsapp.statistics.point_process import AdjustedModel

LEVEL = 0.05
"""Of tests that stand alone; those of regions have the stricter level of their preset."""

SURFACES = {"junction": "border of cortex and white matter", "pial": "outer surface of the cortex"}
NULLS = {"uniform": "chance anywhere in the brain", "region": "chance within each lesion's own region"}


def further_findings(places: PlaceAnalysis | None, preset: str) -> list[str]:
    """Say what the tests of places found; what was not tested is not mentioned here."""
    if places is None:
        return []
    found = [
        distance_sentence(surface, analysis.table)
        for surface, analysis in places.distances.items()
        if surface in SURFACES
    ]
    if "territory" in places.territories:
        found.append(territory_sentence(places.territories["territory"].regions, preset))
    if not places.model.reason:
        found.append(model_sentence(places.model))
    return [sentence for sentence in found if sentence]


def side_sentence(test: HemisphereTest) -> str:
    """Say whether one side has more lesions, by patients where possible.

    Examples
    --------
    >>> side_sentence(HemisphereTest(8, 2, 0.5, 0.11, clustered_p_value=0.34))
    'Left and right do not differ beyond chance (8 and 2 lesions, p = 0.34).'
    """
    p_value = test.p_value if test.clustered_p_value is None else test.clustered_p_value
    if p_value is None:
        return ""
    differ = "differ" if p_value < LEVEL else "do not differ"
    return (
        f"Left and right {differ} beyond chance ({test.n_left} and {test.n_right} lesions, "
        f"p {p_phrase(p_value)})."
    )


def distance_sentence(surface: str, table: pd.DataFrame) -> str:
    """Say how far lesions lie from a surface, against chance anywhere and within their own regions.

    Parameters
    ----------
    surface
        A key of `SURFACES`.
    table
        ``null``, ``mean_distance_mm``, ``expected_distance_mm``, ``mean_p_value``.
    """
    rows = {str(row["null"]): row for row in table.to_dict("records")}
    parts = [
        f"{row['expected_distance_mm']:.1f} mm by {NULLS[name]} (p {p_phrase(row['mean_p_value'])})"
        for name, row in rows.items()
        if name in NULLS and not is_missing(row["mean_p_value"])
    ]
    if not parts:
        return ""
    mean = next(row["mean_distance_mm"] for row in rows.values() if not is_missing(row["mean_p_value"]))
    return f"Mean signed distance to the {SURFACES[surface]}: {mean:.1f} mm, against {listed(parts)}."


def territory_sentence(regions: pd.DataFrame, preset: str) -> str:
    """Name the arterial territories that the leading preset finds."""
    found = regions[regions[VERDICT_COLUMNS[preset]].astype(bool)].sort_values("ratio", ascending=False)
    if found.empty and not was_tested(regions, preset):
        return "No arterial territory could be tested."
    if found.empty:
        return "No arterial territory differs significantly from its volume's share."
    named = [f"{row['region']} (ratio {row['ratio']:.2f})" for row in found.to_dict("records")]
    return f"Arterial territories that differ from their volume's share: {listed(named)}."


def model_sentence(model: AdjustedModel) -> str:
    """Name the explanations that remain when all are taken together; none if intervals are too narrow."""
    if model.caution:
        return ""
    strong = model.table[model.table["holm_p_value"] < LEVEL]
    if strong.empty:
        return "With all explanations taken together, none remains significant."
    named = [
        f"{row['term']}: {row['compared']} (rate ratio {row['rate_ratio']:.2f})"
        for row in strong.to_dict("records")
    ]
    return f"With all explanations taken together, these remain: {_spelt(listed(named))}."


def _spelt(terms: str) -> str:
    return terms.replace("_distance_mm", " distance in mm").replace("_", " ")


def agreement_sentence(test: HeterogeneityTest | None) -> str:
    """Say whether centres agree, by permuting patients where possible."""
    if test is None:
        return ""
    p_value = test.contingency.p_value if test.permutation_p_value is None else test.permutation_p_value
    if p_value is None:
        return ""
    if p_value < LEVEL:
        return f"The centres do not agree (p {p_phrase(p_value)}): read them one by one."
    return f"Nothing shows that the centres disagree (p {p_phrase(p_value)})."


def single_patient_caveat(analysis: RegionAnalysis | None) -> list[str]:
    """Warn of findings that vanish without one patient."""
    if analysis is None:
        return []
    influence = analysis.influence
    hanging = influence[influence["hangs_on_patient"].astype(bool)]
    return [
        f"{row['region']} is no longer significant without sub-{row['patient']}: say so when you quote it."
        for row in hanging.to_dict("records")
    ]
