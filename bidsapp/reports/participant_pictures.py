"""The pictures of the page of one scan."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float64

from bidsapp.images.volume import Volume
from bidsapp.reports.charts import convergence_picture
from bidsapp.reports.drawing import LESION_COLOUR, Lines, anatomy_lines, border
from bidsapp.reports.figures import (
    State,
    ZoomPanel,
    comparison_picture,
    grid_picture,
    jacobian_picture,
    lesion_zoom,
    scan_mosaic,
)
from bidsapp.reports.page import cell
from bidsapp.reports.participant_page import ParticipantPage
from bidsapp.reports.picture import Picture
from bidsapp.reports.planes import CONVENTION, Mosaic, brain_mosaic
from bidsapp.reports.verdict import THRESHOLDS

STATE_NAMES = ("atlas", "affine", "aligned")
PANEL_INCHES, SMALL_PANEL_INCHES, MANY_LESIONS = 2.6, 1.7, 24
"""Edge of a close-up's panel, and from how many lesions on it is the small one."""


def largest_lesion_centre_mm(page: ParticipantPage) -> Float64[np.ndarray, "3"] | None:
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


def frames(
    page: ParticipantPage, mosaic: Mosaic, anatomy: tuple[Lines, ...]
) -> list[tuple[str, str, Picture]]:
    """Draw the three pictures that flicker: (key, caption, picture)."""
    found = []
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
        found.append((key, caption, picture))
    return found


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


def comparison(page: ParticipantPage, focus: Float64[np.ndarray, "3"] | None) -> Picture:
    """Draw atlas, affine and aligned scan side by side, one plane of each view."""
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
    """One lesion's picture and the numbers beside it; ``anchor`` is its address on the page."""

    name: str
    anchor: str
    picture: Picture
    numbers: tuple[tuple[str, str], ...]
    level: str


def close_ups(page: ParticipantPage, room_bytes: int) -> list[CloseUp]:
    """Draw each lesion in its native frame, after the affine step and aligned, the largest first.

    Parameters
    ----------
    page
        What is shown.
    room_bytes
        What the pictures may take on the page; the smallest lesions go without one where there are too many.
    """
    found: list[CloseUp] = []
    if len(page.lesions) == 0:
        return found
    for _, lesion in page.lesions.sort_values("native_volume_mm3", ascending=False).iterrows():
        drawn = _close_up(page, lesion)
        room_bytes -= len(drawn.picture.source)
        if room_bytes < 0:
            break
        found.append(drawn)
    return found


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
    name = str(lesion["lesion"])
    side = PANEL_INCHES if len(page.lesions) <= MANY_LESIONS else SMALL_PANEL_INCHES
    picture = lesion_zoom(panels, reach, side, text, virtual=page.virtual)
    return CloseUp(name, f"lesion-{name}", picture, numbers, level)


def deformation(page: ParticipantPage, focus: Float64[np.ndarray, "3"] | None) -> list[Picture]:
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


def convergence(page: ParticipantPage) -> Picture | None:
    """Draw each loss term over the updates; None if there were none."""
    if len(page.convergence) == 0:
        return None
    return convergence_picture(page.convergence, virtual=page.virtual)
