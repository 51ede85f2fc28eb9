"""The page of one scan: whether the alignment is good, the tumour survived, and the reader may trust it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float32, Float64

from bidsapp.errors import ShapeError
from bidsapp.images.volume import Volume
from bidsapp.reports.charts import convergence_picture, overlap_picture
from bidsapp.reports.drawing import LESION_COLOUR, OUTLINES, Lines, anatomy_lines, border
from bidsapp.reports.figures import (
    State,
    ZoomPanel,
    comparison_picture,
    grid_picture,
    jacobian_picture,
    lesion_zoom,
    scan_mosaic,
)
from bidsapp.reports.methods_text import participant_methods
from bidsapp.reports.page import Column, cell, table, write_page
from bidsapp.reports.picture import Picture
from bidsapp.reports.planes import CONVENTION, Mosaic, brain_mosaic
from bidsapp.reports.verdict import (
    SEVERITY,
    THRESHOLDS,
    Check,
    alignment_checks,
    deformation_check,
    lesion_checks,
    mirror_check,
    side_check,
    warnings_check,
    worst,
)

LARGEST_PAGE_BYTES = 3_000_000
MOST_CLOSE_UPS = 12
STATE_NAMES = ("atlas", "affine", "aligned")
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
    Column("centroid_discrepancy_mm", "Centre uncertain by, mm", 1),
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


@dataclass(frozen=True)
class ParticipantPage:
    """Everything the page of one scan shows.

    Parameters
    ----------
    title
        The scan, as in "sub-01 ses-02 ce-gadolinium".
    virtual
        Whether the data are made up; then every picture says so.
    inputs
        What was found: (what, path relative to the dataset, note).
    template, fixed_labels
        The atlas and its SegAnat labels.
    warped_affine, warped
        The T1w on the atlas grid, after the affine step alone and after both steps.
    affine_labels, warped_labels
        The patient's SegAnat labels, likewise.
    affine_lesion_mask, lesion_mask
        The lesions on the atlas grid, likewise: a mask, or the number of the lesion at each voxel; None
        without a mask.
    t1w, native_lesion_mask
        Native scan and mask; each on its own grid, in one world frame.
    jacobian
        Determinant of the deformable map atlas to patient, on its own grid in the atlas' world frame.
    displacement_mm
        That map's displacement, world millimetres, on the grid of `jacobian`; None leaves the grid out.
    affine
        The affine step, atlas world to patient world; None leaves the check for mirror images out.
    structures, summary
        As made by ``bidsapp.metrics.measurements``.
    lesions
        As made by `bidsapp.lesions.table.lesion_table`.
    convergence
        ``iteration``, ``level`` and one column a loss term.
    warnings
        Sentences.
    methods
        As `participant_methods` wants them.
    provenance
        What made this page: version, command, device, seconds, atlas, checksums.

    Raises
    ------
    ShapeError
        If a volume that belongs on the atlas grid lies elsewhere.
    """

    title: str
    virtual: bool
    inputs: tuple[tuple[str, str, str], ...]
    template: Volume
    warped_affine: Volume
    warped: Volume
    fixed_labels: Volume
    warped_labels: Volume
    affine_labels: Volume
    lesion_mask: Volume | None
    affine_lesion_mask: Volume | None
    t1w: Volume
    native_lesion_mask: Volume | None
    jacobian: Volume
    structures: pd.DataFrame
    summary: Mapping[str, float | int | str]
    lesions: pd.DataFrame
    convergence: pd.DataFrame
    warnings: tuple[str, ...]
    methods: Mapping[str, object]
    provenance: Mapping[str, str]
    displacement_mm: Float32[np.ndarray, "3 i j k"] | None = None
    affine: Float64[np.ndarray, "4 4"] | None = None

    def __post_init__(self) -> None:
        for name in ("warped_affine", "warped", "fixed_labels", "warped_labels", "affine_labels"):
            space = getattr(self, name).space
            if not space.matches(self.template.space):
                raise ShapeError(
                    f"{name} must lie on the template's grid {self.template.space.shape}, got {space.shape}"
                )
        for name in ("lesion_mask", "affine_lesion_mask"):
            mask = getattr(self, name)
            if mask is not None and not mask.space.matches(self.template.space):
                raise ShapeError(
                    f"{name} must lie on the template's grid {self.template.space.shape}, got "
                    f"{mask.space.shape}"
                )


def participant_checks(page: ParticipantPage) -> tuple[Check, ...]:
    """Judge one scan; what needs attention comes first."""
    checks = (
        *alignment_checks(page.structures, page.summary),
        *lesion_checks(page.lesions, page.lesion_mask, page.fixed_labels),
        deformation_check(page.jacobian),
        side_check(page.fixed_labels, page.warped_labels),
        *([] if page.affine is None else [mirror_check(page.affine)]),
        warnings_check(page.warnings),
    )
    return tuple(sorted(checks, key=lambda check: -SEVERITY.index(check.level)))


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
    focus = _largest_lesion_centre_mm(page)
    mosaic = brain_mosaic(page.fixed_labels, focus)
    anatomy = anatomy_lines(mosaic.sample(page.fixed_labels, interpolation="nearest"))
    values = {
        "page": page,
        "checks": checks,
        "verdict": worst(checks),
        "thresholds": THRESHOLDS,
        "convention": CONVENTION,
        "legend": [(outline.name, outline.colour) for outline in OUTLINES],
        "lesion_colour": LESION_COLOUR,
        "frames": _frames(page, mosaic, anatomy),
        "comparison": _comparison(page, focus),
        "close_ups": _close_ups(page),
        "n_more_lesions": max(0, len(page.lesions) - MOST_CLOSE_UPS),
        "deformation": _deformation(page, focus),
        "overlap": overlap_picture(page.structures, virtual=page.virtual),
        "convergence": _convergence(page),
        "lesion_table": table(page.lesions, LESION_COLUMNS),
        "structure_table": table(page.structures, STRUCTURE_TABLE),
        "summary": [(name.replace("_", " "), cell(value, None)) for name, value in page.summary.items()],
        "methods": participant_methods(page.methods, has_lesion=page.lesion_mask is not None),
    }
    write_page("participant.html.j2", values, path)


def _largest_lesion_centre_mm(page: ParticipantPage) -> Float64[np.ndarray, "3"] | None:
    """Return the atlas position of the largest lesion, if there is one."""
    if len(page.lesions) == 0:
        return None
    largest = page.lesions.iloc[int(page.lesions["native_volume_mm3"].to_numpy(np.float64).argmax())]
    return _centre(largest, "atlas")


def _centre(lesion: pd.Series, frame: str) -> Float64[np.ndarray, "3"]:
    return np.array([float(lesion[f"{frame}_{axis}_mm"]) for axis in "xyz"])


def _centre_after_affine(
    mask: Volume | None, lesion: int, otherwise_mm: Float64[np.ndarray, "3"]
) -> Float64[np.ndarray, "3"]:
    """Return where the affine step alone puts a lesion, if the mask numbers its lesions."""
    if mask is None or mask.data.dtype == bool:
        return otherwise_mm
    voxels = np.argwhere(mask.data == lesion)
    return mask.space.voxel_to_world(voxels.mean(axis=0)[np.newaxis])[0] if len(voxels) else otherwise_mm


def _states(page: ParticipantPage) -> tuple[tuple[str, Volume, Volume | None], ...]:
    """Caption, scan and lesion mask of the three steps; the atlas shows where lesions end up."""
    return (
        ("Atlas", page.template, page.lesion_mask),
        ("After the affine step", page.warped_affine, page.affine_lesion_mask),
        ("Aligned", page.warped, page.lesion_mask),
    )


def _with_lesion(mosaic: Mosaic, anatomy: tuple[Lines, ...], mask: Volume | None) -> tuple[Lines, ...]:
    """Add the outline of the lesions to those of the anatomy."""
    if mask is None:
        return anatomy
    indicator = mosaic.sample(Volume(mask.data > 0, mask.space), interpolation="linear")
    return (*anatomy, border(indicator, LESION_COLOUR, 1.5))


def _frames(
    page: ParticipantPage, mosaic: Mosaic, anatomy: tuple[Lines, ...]
) -> list[tuple[str, str, Picture]]:
    """Draw the three pictures that flicker: (key, caption, picture)."""
    frames = []
    for key, (caption, scan, mask) in zip(STATE_NAMES, _states(page), strict=True):
        text = (
            f"{caption}: axial, coronal and sagittal slices with the atlas' contours"
            f"{' and the lesion outline' if mask is not None else ''}. {CONVENTION}"
        )
        picture = scan_mosaic(
            mosaic,
            scan,
            _with_lesion(mosaic, anatomy, mask),
            f"{caption}, contours of the atlas",
            text,
            virtual=page.virtual,
        )
        frames.append((key, caption, picture))
    return frames


def _central(page: ParticipantPage, focus: Float64[np.ndarray, "3"] | None) -> Mosaic:
    """Return one plane of each view, through the largest lesion or the middle of the brain."""
    rows = brain_mosaic(page.fixed_labels, focus).rows
    if focus is None:
        return Mosaic(tuple((row[len(row) // 2],) for row in rows))
    wanted = [
        (min(row, key=lambda plane: abs(plane.position_mm - focus[axis])),)
        for row, axis in zip(rows, (2, 1, 0), strict=True)
    ]
    return Mosaic(tuple(wanted))


def _comparison(page: ParticipantPage, focus: Float64[np.ndarray, "3"] | None) -> Picture:
    mosaic = _central(page, focus)
    anatomy = anatomy_lines(mosaic.sample(page.fixed_labels, interpolation="nearest"))
    states = [
        State(caption, scan, _with_lesion(mosaic, anatomy, mask)) for caption, scan, mask in _states(page)
    ]
    text = (
        f"Atlas, scan after the affine step, aligned scan: three planes, contours of the atlas. {CONVENTION}"
    )
    return comparison_picture(mosaic, states, text, virtual=page.virtual)


@dataclass(frozen=True, slots=True)
class CloseUp:
    """One lesion's picture and the numbers beside it."""

    name: str
    picture: Picture
    numbers: tuple[tuple[str, str], ...]
    level: str


def _close_ups(page: ParticipantPage) -> list[CloseUp]:
    """Draw the largest lesions, each in its native frame, after the affine step and aligned."""
    order = (
        page.lesions.sort_values("native_volume_mm3", ascending=False) if len(page.lesions) else page.lesions
    )
    return [_close_up(page, lesion) for _, lesion in order.head(MOST_CLOSE_UPS).iterrows()]


def _close_up(page: ParticipantPage, lesion: pd.Series) -> CloseUp:
    native, atlas = float(lesion["native_volume_mm3"]), float(lesion["atlas_volume_mm3"])
    factor = float(lesion["volume_factor"])
    reach = float(np.clip(1.8 * np.cbrt(native * 3 / (4 * np.pi)) + 10, 20, 60))
    atlas_centre = _centre(lesion, "atlas")
    affine_centre = _centre_after_affine(page.affine_lesion_mask, int(lesion["lesion"]), atlas_centre)
    panels = (
        ZoomPanel("native", page.t1w, page.native_lesion_mask, _centre(lesion, "native"), None),
        ZoomPanel("affine", page.warped_affine, page.affine_lesion_mask, affine_centre, page.fixed_labels),
        ZoomPanel("aligned", page.warped, page.lesion_mask, atlas_centre, page.fixed_labels),
    )
    numbers = (
        ("native", f"{native:,.0f} mm³".replace(",", "\u202f")),
        ("in the atlas", f"{atlas:,.0f} mm³".replace(",", "\u202f")),
        ("atlas / native", f"{atlas / native:.2f}" if native > 0 else "n/a"),
        ("volume factor", cell(factor, 2).text),
    )
    level = THRESHOLDS["volume_factor"].judge(factor)
    text = (
        f"Lesion {lesion['lesion']} in axial close-ups: native, after the affine step, aligned. {CONVENTION}"
    )
    return CloseUp(
        str(lesion["lesion"]), lesion_zoom(panels, reach, text, virtual=page.virtual), numbers, level
    )


def _deformation(page: ParticipantPage, focus: Float64[np.ndarray, "3"] | None) -> list[Picture]:
    """Draw the Jacobian map and, if the displacement is known, the grid."""
    full = brain_mosaic(page.fixed_labels, focus)
    mosaic = Mosaic((full.rows[0][2:5:2] + full.rows[1][2:4] + full.rows[2][1:2],))
    inside = page.jacobian.data[page.jacobian.data > 0]
    low, high = (float(value) for value in np.percentile(inside, (1, 99))) if inside.size else (1.0, 1.0)
    text = (
        f"Map of the Jacobian determinant; 98 % of values lie between {low:.2f} and {high:.2f}. {CONVENTION}"
    )
    pictures = [jacobian_picture(mosaic, page.jacobian, page.fixed_labels, text, virtual=page.virtual)]
    if page.displacement_mm is not None:
        text = f"A regular grid of the atlas laid onto the patient's scan. {CONVENTION}"
        pictures.append(
            grid_picture(
                mosaic, page.warped_affine, page.displacement_mm, page.jacobian, text, virtual=page.virtual
            )
        )
    return pictures


def _convergence(page: ParticipantPage) -> Picture | None:
    if len(page.convergence) == 0:
        return None
    return convergence_picture(page.convergence, virtual=page.virtual)
