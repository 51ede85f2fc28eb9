"""The tables of the cohort's page: regions, patients, and every lesion, with links to the patients' pages."""

from collections.abc import Mapping
from urllib.parse import quote

import pandas as pd

from bidsapp.reports.cohort_words import verdicts
from bidsapp.reports.page import Cell, Column, Table, cell, is_missing, p_cell, table

PATIENT_COLUMNS = (
    Column("participant", "Patient"),
    Column("session", "Session"),
    Column("site", "Site"),
    Column("status", "Status"),
    Column("reason", "Reason"),
    Column("n_lesions", "Lesions"),
    Column("dice_mean", "Mean Dice", 2),
    Column("volume_factor_median", "Median volume factor", 2),
)
LESION_COLUMNS = (
    Column("subject", "Patient"),
    Column("lesion", "Lesion"),
    Column("site", "Site"),
    Column("region", "Region"),
    Column("hemisphere", "Side"),
    Column("territory", "Territory"),
    Column("native_volume_mm3", "Volume, mm³", 0),
    Column("volume_factor", "Volume factor", 2),
    Column("junction_distance_mm", "Distance to junction, mm", 1),
    Column("atlas_x_mm", "x, mm", 1),
    Column("atlas_y_mm", "y, mm", 1),
    Column("atlas_z_mm", "z, mm", 1),
)
MOST_ROWS = 2_000
"""Of a table on the page; its file holds all."""


def region_rows(regions: pd.DataFrame) -> tuple[Table, tuple[int, ...]]:
    """Write the region table with both analyses side by side; missing p-values come with their reason.

    Returns
    -------
    table, strong
        The table, and the rows that the clustered analysis finds significant.
    """
    ordered = regions.sort_values("n_expected", ascending=False).to_dict("records")
    rows = tuple(_region_row({str(key): value for key, value in row.items()}) for row in ordered)
    headings = (
        ("Region", False),
        ("Measured", True),
        ("Expected", True),
        ("Ratio", True),
        ("95 % interval, independent", False),
        ("95 % interval, patients kept together", False),
        ("p, paper preset", False),
        ("p, patients kept together", False),
        ("Significant", False),
    )
    strong = tuple(place for place, row in enumerate(ordered) if row["clustered_significant"])
    return Table(headings, rows), strong


def _region_row(row: Mapping[str, object]) -> tuple[Cell, ...]:
    paper = row["bonferroni_p_value"] if row["tested"] else None
    return (
        cell(row["region"]),
        cell(row["n_observed"]),
        cell(row["n_expected"], 1),
        cell(row["ratio"], 2),
        _interval_cell(row["ratio_low"], row["ratio_high"]),
        _interval_cell(row["clustered_ratio_low"], row["clustered_ratio_high"]),
        p_cell(paper, row["reason"]),
        p_cell(row["clustered_bonferroni_p_value"], row["clustered_reason"]),
        cell(verdicts(row)),
    )


def _interval_cell(low: object, high: object) -> Cell:
    """Write an interval, sorted by its lower end."""
    if is_missing(low) or is_missing(high):
        return cell(None)
    return Cell(f"{low:.2f} to {high:.2f}", repr(low), is_number=False)


def patient_table(patients: pd.DataFrame) -> Table:
    """Write the table of patients, the first ones of many, each linked to the page there is."""
    patients = patients.head(MOST_ROWS)
    shown = table(patients, PATIENT_COLUMNS)
    place = [column.name for column in PATIENT_COLUMNS if column.name in patients.columns].index(
        "participant"
    )
    rows = []
    for link, row in zip(patient_links(patients), shown.rows, strict=True):
        first = row[place]
        rows.append((*row[:place], Cell(first.text, first.key, first.is_number, link), *row[place + 1 :]))
    return Table(shown.headings, tuple(rows))


def patient_links(patients: pd.DataFrame) -> list[str]:
    """Give the relative address of each patient's page, empty for those without one."""
    reports = patients["report"] if "report" in patients.columns else [None] * len(patients)
    return [quote(report) if isinstance(report, str) else "" for report in reports]


def lesion_links(lesions: pd.DataFrame, patients: pd.DataFrame) -> list[str]:
    """Give the relative address of each lesion on its patient's page, empty for those without one.

    The page of a patient of several sessions is that of the first one counted; lesions of the others have
    no link.
    """
    pages = dict(zip(patients["participant"], patient_links(patients), strict=True))
    sessions = (
        {}
        if "session" not in patients.columns
        else dict(
            zip(
                patients["participant"],
                patients["session"].fillna("").astype(str).str.split(", ").str[0],
                strict=True,
            )
        )
    )
    found = []
    for row in lesions[["subject", "session", "lesion"]].to_dict("records"):
        name = f"sub-{row['subject']}"
        session = "" if is_missing(row["session"]) else str(row["session"])
        page = pages.get(name, "") if session == sessions.get(name, session) else ""
        found.append(f"{page}#lesion-{row['lesion']:.0f}" if page else "")
    return found


def lesion_table(lesions: pd.DataFrame, patients: pd.DataFrame) -> Table:
    """Write the table of lesions, the largest first, each linked to its place on its patient's page."""
    ordered = lesions.sort_values("native_volume_mm3", ascending=False).head(MOST_ROWS)
    shown = table(ordered.assign(subject="sub-" + ordered["subject"].astype(str)), LESION_COLUMNS)
    links = lesion_links(ordered, patients)
    rows = [
        (Cell(row[0].text, row[0].key, row[0].is_number, link), *row[1:])
        for link, row in zip(links, shown.rows, strict=True)
    ]
    return Table(shown.headings, tuple(rows))
