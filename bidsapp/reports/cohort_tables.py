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
    """Write the table of patients, each used one linked to its page."""
    shown = table(patients, PATIENT_COLUMNS)
    place = [column.name for column in PATIENT_COLUMNS if column.name in patients.columns].index(
        "participant"
    )
    rows = []
    for record, row in zip(patients.to_dict("records"), shown.rows, strict=True):
        link = _page_of({str(key): value for key, value in record.items()})
        first = row[place]
        rows.append((*row[:place], Cell(first.text, first.key, first.is_number, link), *row[place + 1 :]))
    return Table(shown.headings, tuple(rows))


def _page_of(record: Mapping[str, object]) -> str:
    """Return the relative address of a patient's page, empty for those without one."""
    report = record.get("report")
    if isinstance(report, str) and report:
        return quote(report)
    return quote(f"{record['participant']}.html") if record["status"] == "used" else ""
