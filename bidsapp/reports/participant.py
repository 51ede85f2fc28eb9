"""The page of one scan: whether the alignment is good, the tumour survived, and the reader may trust it."""

from pathlib import Path

import pandas as pd

from bidsapp.reports.charts import overlap_picture
from bidsapp.reports.drawing import LESION_COLOUR, OUTLINES, anatomy_lines
from bidsapp.reports.methods_text import participant_methods
from bidsapp.reports.page import Column, cell, table, write_page
from bidsapp.reports.participant_page import ParticipantPage
from bidsapp.reports.participant_pictures import (
    close_ups,
    comparison,
    convergence,
    deformation,
    frames,
    largest_lesion_centre_mm,
)
from bidsapp.reports.picture import Picture
from bidsapp.reports.planes import CONVENTION, brain_mosaic
from bidsapp.reports.verdict import (
    SEVERITY,
    THRESHOLDS,
    Check,
    alignment_checks,
    deformation_check,
    labels_check,
    lesion_checks,
    mask_check,
    mirror_check,
    side_check,
    warnings_check,
    worst,
)

LARGEST_PAGE_BYTES = 3_000_000
TEXT_BYTES = 150_000
LESION_ROW_BYTES = 2_000
"""Room kept for the page's text, and for each lesion's row of the table."""
LESION_COLUMNS = (
    Column("lesion", "Lesion"),
    Column("size_class", "Size"),
    Column("native_volume_mm3", "Native mm³", 0),
    Column("affine_volume_mm3", "After affine mm³", 0),
    Column("atlas_volume_mm3", "Atlas mm³", 0),
    Column("volume_factor", "Volume factor", 2),
    Column("jacobian_ratio", "Jacobian ratio", 2),
    Column("region_centroid", "Region"),
    Column("region_majority", "Region (largest overlap)"),
    Column("hemisphere", "Side"),
    Column("territory", "Arterial territory"),
    Column("junction_distance_mm", "To grey-white junction, mm", 1),
    Column("location_error_mm", "Place uncertain by (standard error), mm", 1),
    Column("centroid_discrepancy_mm", "Both kinds of centre differ by, mm", 1),
)
STRUCTURE_TABLE = (
    Column("name", "Structure"),
    Column("dice_affine", "Dice, affine", 2),
    Column("dice", "Dice", 2),
    Column("assd_affine_mm", "ASSD mm, affine", 2),
    Column("assd_mm", "ASSD mm", 2),
    Column("hd95_mm", "HD95 mm", 1),
    Column("volume_atlas_ml", "Atlas mL", 1),
    Column("volume_ml", "Patient mL", 1),
)


def participant_checks(page: ParticipantPage) -> tuple[Check, ...]:
    """Judge one scan; what needs attention comes first."""
    checks = (
        *alignment_checks(page.structures, page.summary),
        *lesion_checks(page.lesions, page.lesion_mask, page.fixed_labels),
        deformation_check(page.jacobian),
        side_check(page.fixed_labels, page.warped_labels),
        *([] if page.affine is None else [mirror_check(page.affine)]),
        *_native_checks(page),
        warnings_check(page.warnings),
    )
    return tuple(sorted(checks, key=lambda check: -SEVERITY.index(check.level)))


def _native_checks(page: ParticipantPage) -> list[Check]:
    """Ask whether scan, labels and mask belong together, as far as they are known."""
    if page.native_labels is None:
        return []
    checks = [labels_check(page.t1w, page.native_labels)]
    if page.native_lesion_mask is not None:
        checks += mask_check(page.t1w, page.native_lesion_mask, page.native_labels)
    return checks


def write_participant_report(page: ParticipantPage, path: Path) -> None:
    """Draw the page of one scan.

    Parameters
    ----------
    page
        What it shows.
    path
        The HTML file.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    checks = participant_checks(page)
    focus = largest_lesion_centre_mm(page)
    mosaic = brain_mosaic(page.fixed_labels, focus)
    anatomy = anatomy_lines(mosaic.sample(page.fixed_labels, interpolation="nearest"))
    pictures: dict[str, object] = {
        "frames": frames(page, mosaic, anatomy),
        "comparison": comparison(page, focus),
        "deformation": deformation(page, focus),
        "overlap": overlap_picture(page.structures, virtual=page.virtual),
        "convergence": convergence(page),
    }
    room = LARGEST_PAGE_BYTES - TEXT_BYTES - LESION_ROW_BYTES * len(page.lesions) - _bytes_of(pictures)
    shown = close_ups(page, room)
    anchors = [f"lesion-{lesion}" for lesion in page.lesions.get("lesion", pd.Series(dtype=int))]
    values = {
        "page": page,
        "checks": checks,
        "verdict": worst(checks),
        "thresholds": THRESHOLDS,
        "convention": CONVENTION,
        "legend": [(outline.name, outline.colour) for outline in OUTLINES],
        "lesion_colour": LESION_COLOUR,
        **pictures,
        "close_ups": shown,
        "n_more_lesions": len(page.lesions) - len(shown),
        "lesion_table": table(_told(page.lesions), LESION_COLUMNS),
        "row_anchors": _without(anchors, [close_up.anchor for close_up in shown]),
        "structure_table": table(page.structures, STRUCTURE_TABLE),
        "summary": [(name.replace("_", " "), cell(value, None)) for name, value in page.summary.items()],
        "methods": participant_methods(page.methods, has_lesion=page.lesion_mask is not None),
    }
    write_page("participant.html.j2", values, path)


def _told(lesions: pd.DataFrame) -> pd.DataFrame:
    """Leave out columns that say nothing, such as territories where the atlas has no map of them."""
    return lesions.dropna(axis="columns", how="all") if len(lesions) else lesions


def _bytes_of(pictures: object) -> int:
    """Add up what pictures take on the page, however deep they lie."""
    if isinstance(pictures, Picture):
        return len(pictures.source)
    if isinstance(pictures, dict):
        return _bytes_of(list(pictures.values()))
    return sum(_bytes_of(each) for each in pictures) if isinstance(pictures, list | tuple) else 0


def _without(anchors: list[str], taken: list[str]) -> list[str]:
    """Blank the anchors that a close-up has: an address may stand on a page only once."""
    return ["" if anchor in taken else anchor for anchor in anchors]
