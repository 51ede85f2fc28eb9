"""Brain pictures: mosaics, zoomed lesions, the Jacobian map and the deformation grid."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap, Normalize, to_rgba
from scipy.ndimage import gaussian_filter

from bidsapp.images.volume import Volume
from bidsapp.reports.drawing import (
    BAR_INCHES,
    LESION_COLOUR,
    LETTER_HALO,
    MOSAIC_PIXELS,
    Lines,
    anatomy_lines,
    border,
    canvas_axes,
    colour_bar,
    draw_letters,
    draw_lines,
    mosaic_sheet,
    window,
)
from bidsapp.reports.picture import DOTS_PER_INCH, SKY, Picture, encode, sheet
from bidsapp.reports.planes import WORLD_AXES, Mosaic, plane_through, sample_points


def scan_mosaic(
    mosaic: Mosaic, scan: Volume, lines: Sequence[Lines], title: str, alternative: str, *, virtual: bool
) -> Picture:
    """Draw a scan on every plane of a mosaic, with outlines over it."""
    figure, axes = mosaic_sheet(mosaic, title, virtual=virtual)
    image = mosaic.sample(scan, interpolation="linear")
    axes.imshow(
        image, cmap="gray", norm=window(scan), origin="lower", aspect="auto", interpolation="bilinear"
    )
    draw_lines(axes, lines)
    return encode(figure, alternative, kind="jpeg")


@dataclass(frozen=True, slots=True)
class State:
    """A scan at one step of its way to the atlas, with the curves to draw over it."""

    caption: str
    scan: Volume
    lines: tuple[Lines, ...]


def comparison_picture(
    mosaic: Mosaic, states: Sequence[State], alternative: str, *, virtual: bool
) -> Picture:
    """Draw the same planes of several scans in columns.

    Parameters
    ----------
    mosaic
        Planes of one column.
    states
        One column each; their curves lie on the canvas of `mosaic`.
    alternative
        Text for those who cannot see the picture.
    virtual
        Whether the data are virtual.
    """
    rows, columns = mosaic.shape
    step = columns + 6
    total = step * len(states) - 6
    zoom = MOSAIC_PIXELS / total / DOTS_PER_INCH
    figure = sheet(total * zoom, rows * zoom, "Side by side", virtual=virtual, dark=True)
    axes = canvas_axes(figure)
    for number, state in enumerate(states):
        left = number * step
        image = mosaic.sample(state.scan, interpolation="linear")
        box = (left - 0.5, left + columns - 0.5, -0.5, rows - 0.5)
        axes.imshow(image, cmap="gray", norm=window(state.scan), origin="lower", aspect="auto", extent=box)
        shift = np.array([left, 0])
        for each in state.lines:
            draw_lines(axes, [Lines(each.colour, each.width, tuple(curve + shift for curve in each.curves))])
        for plane, row, column in mosaic.placed():
            draw_letters(axes, plane, row, column + left, size=8.5)
        axes.text(
            left + 3,
            rows - 4,
            state.caption,
            color="white",
            fontsize=9.5,
            va="top",
            path_effects=[LETTER_HALO],
        )
    axes.set_xlim(-0.5, total - 0.5)
    axes.set_ylim(-0.5, rows - 0.5)
    return encode(figure, alternative, kind="jpeg")


@dataclass(frozen=True, slots=True)
class ZoomPanel:
    """One of the panels of a lesion's close-up.

    Parameters
    ----------
    caption
        "native", "affine" or "aligned".
    scan
        What is shown.
    lesion_mask
        Outlined; None if there is none.
    centre_mm
        Middle of the panel, in the world frame of `scan`.
    labels
        A label map to outline, or None.
    """

    caption: str
    scan: Volume
    lesion_mask: Volume | None
    centre_mm: Float64[np.ndarray, "3"]
    labels: Volume | None


def lesion_zoom(
    panels: Sequence[ZoomPanel], reach_mm: float, side: float, alternative: str, *, virtual: bool
) -> Picture:
    """Draw the same lesion side by side in several frames, axial cuts of one scale.

    Parameters
    ----------
    panels
        From left to right.
    reach_mm
        From the middle of a panel to its edge.
    side
        Edge of a panel in inches.
    alternative
        Text for those who cannot see the picture.
    virtual
        Whether the data are virtual.
    """
    figure = sheet(side * len(panels), side, "Axial close-up", virtual=virtual, dark=True)
    height = float(figure.get_size_inches()[1])
    for number, panel in enumerate(panels):
        plane = plane_through("axial", panel.centre_mm, reach_mm, reach_mm / 80)
        left, width = number / len(panels), 1 / len(panels)
        axes = figure.add_axes((left + 0.003, 0.0, width - 0.006, side / height))
        axes.set_axis_off()
        points = plane.points_mm()
        image = sample_points(panel.scan, points, interpolation="linear")
        axes.imshow(image, cmap="gray", norm=window(panel.scan), origin="lower", aspect="auto")
        if panel.labels is not None:
            labels = sample_points(panel.labels, points, interpolation="nearest")
            draw_lines(axes, anatomy_lines(labels, width=0.7, pixel_mm=plane.pixel_mm))
        if panel.lesion_mask is not None:
            mask = Volume(panel.lesion_mask.data > 0, panel.lesion_mask.space)
            indicator = sample_points(mask, points, interpolation="linear")
            draw_lines(axes, [border(indicator, LESION_COLOUR, 1.6)])
        axes.set_xlim(-0.5, plane.shape[1] - 0.5)
        axes.set_ylim(-0.5, plane.shape[0] - 0.5)
        draw_letters(axes, plane, 0, 0, size=9)
        axes.text(
            3,
            plane.shape[0] - 4,
            panel.caption,
            color="white",
            fontsize=9,
            va="top",
            path_effects=[LETTER_HALO],
        )
    return encode(figure, alternative, kind="jpeg")


GROWTH_COLOURS = LinearSegmentedColormap.from_list(
    "growth", ["#5e3c99", "#b2abd2", "#f7f7f7", "#fdb863", "#b35806"]
)
"""ColorBrewer's purple to orange: safe for every common colour blindness."""

FOLDED_COLOUR = to_rgba("#00c853")
"""Neither on the scale nor like the ground, which shows through where the atlas has no label."""


HEAT = LinearSegmentedColormap.from_list("heat", ["#7b1f5c", "#c3325b", "#ee6b3b", "#fdb62f", "#fcffa4"])
"""The upper part of matplotlib's inferno: rises in lightness, so it reads in grey too."""


def jacobian_picture(
    mosaic: Mosaic, jacobian: Volume, labels: Volume, alternative: str, *, virtual: bool
) -> Picture:
    """Draw the Jacobian determinant inside the brain on a log2 scale: 1 in white, folds in green.

    Parameters
    ----------
    mosaic
        Planes to show.
    jacobian
        Determinant of the map atlas to patient, affine excluded; any grid in the atlas' world frame.
    labels
        The atlas' SegAnat labels.
    alternative
        Text for those who cannot see the picture.
    virtual
        Whether the data are virtual.
    """
    title = "Local size of the patient relative to the atlas (green: folded)"
    figure, axes = mosaic_sheet(mosaic, title, virtual=virtual, strip_inches=BAR_INCHES)
    labels_cut = mosaic.sample(labels, interpolation="nearest")
    values = mosaic.sample(jacobian, interpolation="linear")
    shown = GROWTH_COLOURS(np.log2(np.clip(values, 0.25, 4.0)) / 4 + 0.5)
    shown[values <= 0] = FOLDED_COLOUR
    shown[gaussian_filter((labels_cut > 0).astype(np.float32), 4.0) < 0.25] = (0.13, 0.14, 0.16, 1)
    axes.imshow(shown, origin="lower", aspect="auto", interpolation="nearest")
    draw_lines(axes, anatomy_lines(labels_cut, width=0.4)[1:3])
    bar = colour_bar(figure, GROWTH_COLOURS, -2, 2, "volume ratio")
    bar.set_xticks([-2, -1, 0, 1, 2], ["1/4", "1/2", "1", "2", "4"])
    return encode(figure, alternative, kind="jpeg")


def grid_picture(
    mosaic: Mosaic,
    scan: Volume,
    displacement_mm: Float32[np.ndarray, "3 i j k"],
    space_of_displacement: Volume,
    alternative: str,
    *,
    virtual: bool,
) -> Picture:
    """Draw a regular grid of the atlas as it lies on the patient's scan after the affine step.

    Parameters
    ----------
    mosaic
        Planes to show.
    scan
        The patient after the affine step, in the atlas' world frame.
    displacement_mm
        World millimetres to add to an atlas point, on the grid of `space_of_displacement`.
    space_of_displacement
        Any volume on that grid (the Jacobian).
    alternative
        Text for those who cannot see the picture.
    virtual
        Whether the data are virtual.
    """
    figure, axes = mosaic_sheet(
        mosaic,
        "A regular 8 mm grid of the atlas, laid onto the patient (through-plane motion not shown)",
        virtual=virtual,
    )
    image = mosaic.sample(scan, interpolation="linear")
    axes.imshow(image, cmap="gray", norm=window(scan), origin="lower", aspect="auto", alpha=0.65)
    for plane, row, column in mosaic.placed():
        horizontal, vertical, _ = WORLD_AXES[plane.view]
        points = plane.points_mm()
        moved = [
            sample_points(
                Volume(displacement_mm[axis], space_of_displacement.space), points, interpolation="linear"
            )
            / plane.pixel_mm
            for axis in (horizontal, vertical)
        ]
        rows, columns = plane.shape
        across, up = np.meshgrid(np.arange(columns), np.arange(rows))
        bent = np.stack([across + moved[0], up + moved[1]], axis=-1)
        bent = np.clip(bent, 0, (columns - 1, rows - 1)) + np.array([column, row])
        curves = [*bent[::8], *bent[:, ::8].transpose(1, 0, 2)]
        axes.add_collection(LineCollection(curves, colors=SKY, linewidths=0.6), autolim=False)
    return encode(figure, alternative, kind="jpeg")


def frequency_picture(
    mosaic: Mosaic, template: Volume, frequency: Volume, quantity: str, alternative: str, *, virtual: bool
) -> Picture:
    """Draw how often lesions sit where, over the template.

    Parameters
    ----------
    mosaic
        Planes to show.
    template
        Grey background.
    frequency
        Patients (or a share of them) with a lesion at a voxel; 0 is left transparent.
    quantity
        What the numbers are, for the colour bar.
    alternative
        Text for those who cannot see the picture.
    virtual
        Whether the data are virtual.
    """
    figure, axes = mosaic_sheet(mosaic, "Where lesions sit", virtual=virtual, strip_inches=BAR_INCHES)
    image = mosaic.sample(template, interpolation="linear")
    axes.imshow(image, cmap="gray", norm=window(template), origin="lower", aspect="auto", alpha=0.7)
    values = mosaic.sample(frequency, interpolation="linear")
    top = max(float(frequency.data.max(initial=0)), 1e-9)
    shown = np.ma.masked_less_equal(values, 0.02 * top)
    axes.imshow(shown, cmap=HEAT, norm=Normalize(0, top), origin="lower", aspect="auto", alpha=0.9)
    colour_bar(figure, HEAT, 0, top, quantity)
    return encode(figure, alternative, kind="jpeg")
