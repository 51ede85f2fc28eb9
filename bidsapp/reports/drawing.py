"""What the brain pictures share: outlines, grey windows, letters, black sheets."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from contourpy import LineType, contour_generator
from jaxtyping import Float32
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patheffects import AbstractPathEffect, withStroke
from scipy.ndimage import gaussian_filter

from bidsapp.atlas.seganat import N_CLASSES, structures
from bidsapp.images.volume import Volume
from bidsapp.reports.picture import (
    DOTS_PER_INCH,
    GREEN,
    PINK,
    SKY,
    TITLE_INCHES,
    VERMILLION,
    YELLOW,
    sheet,
)
from bidsapp.reports.planes import EDGE_LETTERS, WORLD_AXES, Mosaic, Plane

MOSAIC_PIXELS = 1180
BAR_INCHES = 0.42
LESION_COLOUR = VERMILLION
LETTER_HALO = withStroke(linewidth=1.2, foreground="black")


@dataclass(frozen=True, slots=True)
class Outline:
    """A group of SegAnat classes whose common border is drawn over a scan."""

    name: str
    colour: str
    classes: frozenset[int]


def _classes(
    *, tissues: Sequence[str] = (), without: Sequence[str] = (), only: Sequence[str] = ()
) -> frozenset[int]:
    """Pick SegAnat indices by tissue and region; background never."""
    return frozenset(
        each.index
        for each in structures()[1:]
        if (not tissues or each.tissue in tissues)
        and each.region not in without
        and (not only or each.region in only)
    )


CORTICES = ("Cerebral Cortex", "Cerebellum Cortex")
OUTLINES = (
    Outline("outer border of the brain", SKY, _classes()),
    Outline("inner border of the cortex", YELLOW, _classes(without=CORTICES)),
    Outline("ventricles", GREEN, _classes(tissues=("csf",), without=("Vessel",))),
    Outline("deep grey matter", PINK, _classes(tissues=("grey",), without=CORTICES)),
)


@dataclass(frozen=True, slots=True)
class Lines:
    """Curves on a canvas in pixels, one colour."""

    colour: str
    width: float
    curves: tuple[np.ndarray, ...]


def border(indicator: Float32[np.ndarray, "rows columns"], colour: str, width: float) -> Lines:
    """Follow the 0.5 level of a picture that is 1 inside and 0 outside."""
    if float(indicator.max(initial=0.0)) <= 0.5:
        return Lines(colour, width, ())
    generator = contour_generator(z=indicator, line_type=LineType.Separate)
    return Lines(colour, width, tuple(np.asarray(curve) for curve in generator.lines(0.5)))


def anatomy_lines(
    labels: Float32[np.ndarray, "rows columns"], width: float = 0.8, pixel_mm: float = 1.0
) -> tuple[Lines, ...]:
    """Outline the four groups of `OUTLINES` in a cut through a label map, steps rounded by 0.7 mm."""
    index = np.clip(np.rint(labels), 0, N_CLASSES - 1).astype(np.intp)
    found = []
    for outline in OUTLINES:
        chosen = np.zeros(N_CLASSES, dtype=np.float32)
        chosen[list(outline.classes)] = 1.0
        found.append(border(gaussian_filter(chosen[index], 0.7 / pixel_mm), outline.colour, width))
    return tuple(found)


def window(volume: Volume, percentiles: tuple[float, float] = (1.0, 99.6)) -> Normalize:
    """Choose black and white from the intensities above 0, with head room for white matter's shades."""
    step = max(1, round((volume.data.size / 400_000) ** (1 / 3)))
    values = volume.data[::step, ::step, ::step]
    values = values[values > 0]
    if values.size == 0:
        return Normalize(0.0, 1.0)
    low, high = (float(value) for value in np.percentile(values, percentiles))
    return Normalize(low, high + 0.15 * (high - low)) if high > low else Normalize(0.0, high)


def draw_lines(axes: Axes, lines: Sequence[Lines]) -> None:
    """Draw curves over a picture."""
    for each in lines:
        halo: list[AbstractPathEffect] = []
        if each.width > 1:
            halo = [withStroke(linewidth=each.width + 1.2, foreground="black")]
        collection = LineCollection(each.curves, colors=each.colour, linewidths=each.width)
        collection.set_path_effects(halo)
        axes.add_collection(collection, autolim=False)


def draw_letters(axes: Axes, plane: Plane, row: float, column: float, size: float = 7.5) -> None:
    """Write the letters of both edges and the plane's position into a plane's corner of the canvas."""
    rows, columns = plane.shape
    left, right = EDGE_LETTERS[plane.view]
    middle = row + rows * 0.5
    style: dict[str, Any] = {
        "color": "white",
        "fontsize": size,
        "fontweight": "bold",
        "va": "center",
        "path_effects": [LETTER_HALO],
    }
    axes.text(column + 1, middle, left, ha="left", **style)
    axes.text(column + columns - 2, middle, right, ha="right", **style)
    name = "xyz"[WORLD_AXES[plane.view][2]]
    axes.text(
        column + 2, row + 6, f"{name} {plane.position_mm:.0f}", ha="left", **{**style, "fontsize": size - 1}
    )


def canvas_axes(figure: Figure, strip_inches: float = 0.0) -> Axes:
    """Return axes that fill the figure between its title and an empty strip at the bottom, without frame."""
    height = float(figure.get_size_inches()[1])
    axes = figure.add_axes((0.0, strip_inches / height, 1.0, 1 - (TITLE_INCHES + strip_inches) / height))
    axes.set_axis_off()
    return axes


def mosaic_sheet(
    mosaic: Mosaic, title: str, *, virtual: bool, strip_inches: float = 0.0
) -> tuple[Figure, Axes]:
    """Start a black figure of a mosaic's proportions with its letters written."""
    rows, columns = mosaic.shape
    zoom = MOSAIC_PIXELS / columns / DOTS_PER_INCH
    figure = sheet(columns * zoom, rows * zoom + strip_inches, title, virtual=virtual, dark=True)
    axes = canvas_axes(figure, strip_inches)
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(-0.5, rows - 0.5)
    for plane, row, column in mosaic.placed():
        draw_letters(axes, plane, row, column)
    return figure, axes


def colour_bar(figure: Figure, colours: Colormap | str, low: float, high: float, label: str) -> Axes:
    """Draw a horizontal colour bar into the strip below a mosaic."""
    height = float(figure.get_size_inches()[1])
    bar = figure.add_axes((0.36, 0.09 / height, 0.34, 0.1 / height))
    bar.imshow(np.linspace(0, 1, 256)[np.newaxis], cmap=colours, aspect="auto", extent=(low, high, 0, 1))
    bar.set_yticks([])
    bar.tick_params(
        length=0,
        pad=1.5,
        bottom=False,
        top=False,
        labeltop=True,
        labelbottom=False,
        colors="white",
        labelsize=8,
    )
    bar.text(-0.02, 0.5, label, transform=bar.transAxes, color="white", fontsize=8, ha="right", va="center")
    return bar
