"""The sections of the cohort's page on what its findings hang on, and on what it could have found."""

import pandas as pd

from bidsapp.analysis.regions import COMBINED, RegionAnalysis
from bidsapp.reports.cohort_words import listed, p_phrase
from bidsapp.reports.page import Column, Table, cell, is_missing, p_cell, table
from bidsapp.reports.section import CaptionedTable, Section, group_file
from bidsapp.statistics.omnibus import SimulatedOmnibus


def robustness_section(regions: RegionAnalysis) -> Section:
    """Say what the findings hang on: patients, centres, and how alike the lesions of a patient are."""
    whole = regions.strata[COMBINED].regions
    found = whole.loc[whole["clustered_significant"].astype(bool), "region"].tolist()
    tables = [
        CaptionedTable(
            "Without the patient on whom the region hangs most; patients kept together, Bonferroni.",
            _influence(regions.influence),
            tuple(
                place
                for place, hangs in enumerate(regions.influence["hangs_on_patient"].astype(bool))
                if hangs
            ),
            folded=not found,
            source=group_file("influence"),
        )
    ]
    if len(regions.without_centres):
        tables.append(
            CaptionedTable(
                "p-values without each centre, patients kept together, Bonferroni.",
                _without_centres(regions.without_centres),
                folded=True,
                source=group_file("without_centre"),
            )
        )
    sentences = [simulated_sentence(regions.omnibus)]
    if found:
        survived = whole[whole["region"].isin(found)]
        words = [
            f"{row['region']} up to {row['largest_design_effect']:.1f} lesions that weigh as one"
            + ("" if is_missing(row["largest_icc"]) else f" (ICC {row['largest_icc']:.2f})")
            for row in survived.to_dict("records")
        ]
        sentences.append(f"How much clustering the findings survive: {listed(words)}.")
        sentences.append(single_patient_sentence(regions.influence[regions.influence["region"].isin(found)]))
    return Section(
        "robustness", "Robustness", "What the findings hang on", tuple(sentences), (), tuple(tables)
    )


def single_patient_sentence(influence: pd.DataFrame) -> str:
    """Say which findings hang on a single patient, and whether every patient was left out to see it.

    Parameters
    ----------
    influence
        Rows of the significant regions, columns of `bidsapp.statistics.influence.INFLUENCE_COLUMNS`.
    """
    hanging = [str(name) for name in influence.loc[influence["hangs_on_patient"].astype(bool), "region"]]
    if hanging:
        return f"Significant only with one single patient: {listed(hanging)}."
    if influence["every_patient_tried"].all():
        return "No finding hangs on a single patient."
    return "No finding hangs on a single one of the patients who weigh most; the others were not left out."


def _influence(influence: pd.DataFrame) -> Table:
    columns = (
        Column("region", "Region"),
        Column("patient", "Patient"),
        Column("n_patient_inside", "Lesions there"),
        Column("n_patient", "Lesions"),
        Column("ratio", "Ratio", 2),
        Column("ratio_without", "Ratio without", 2),
    )
    shown = table(influence, columns)
    rows = [
        (
            *row,
            p_cell(record["clustered_bonferroni_p_value"], record["reason"]),
            p_cell(record["p_value_without"], record["reason"]),
        )
        for row, record in zip(shown.rows, influence.to_dict("records"), strict=True)
    ]
    return Table((*shown.headings, ("p", False), ("p without", False)), tuple(rows))


def _without_centres(frame: pd.DataFrame) -> Table:
    """One row a region, one column a centre left out."""
    centres = frame["left_out"].unique().tolist()
    rows = []
    for region, part in frame.groupby("region", sort=False):
        by_centre = part.set_index("left_out")
        rows.append(
            (
                cell(str(region)),
                *(
                    p_cell(
                        by_centre.loc[name, "clustered_bonferroni_p_value"],
                        by_centre.loc[name, "clustered_reason"],
                    )
                    for name in centres
                ),
            )
        )
    return Table((("Region", False), *((f"p without {name}", False) for name in centres)), tuple(rows))


def simulated_sentence(test: SimulatedOmnibus) -> str:
    """Report the test of all regions at once against simulated cohorts."""
    start = "All regions at once, none of them pooled, against simulated cohorts"
    if test.independent_p_value is None:
        return f"{start}: not tested ({test.reason})."
    text = f"{start}: p {p_phrase(test.independent_p_value)} with every lesion independent"
    if test.clustered_p_value is None or test.icc is None:
        return f"{text}; patients kept together: not tested ({test.reason})."
    return f"{text}, p {p_phrase(test.clustered_p_value)} with patients kept together (ICC {test.icc:.2f})."


def power_section(regions: RegionAnalysis) -> Section:
    """Say what a cohort like this one can show."""
    columns = (
        Column("region", "Region"),
        Column("design_effect", "Design effect", 2),
        Column("power_half", "Power, ratio 1/2, %", 0, 100.0),
        Column("power_double", "Power, ratio 2, %", 0, 100.0),
        Column("detectable_ratio_low", "Detectable below 1", 2),
        Column("detectable_ratio_high", "Detectable above 1", 2),
        Column("n_lesions_half", "Lesions needed, ratio 1/2"),
        Column("n_lesions_double", "Lesions needed, ratio 2"),
        Column("reason", "Why not"),
    )
    power = regions.power.assign(reason=regions.power["reason"].where(regions.power["reason"] != "", None))
    caption = (
        "Probability to find half or twice the expected share in a cohort of this size and design effect; "
        "ratios and numbers of lesions for a power of 80 %. Normal approximation, Bonferroni over regions."
    )
    return Section(
        "power",
        "Power",
        "What this cohort could have shown",
        (),
        (),
        (CaptionedTable(caption, table(power, columns), source=group_file("power")),),
    )
