"""One picture of a page: drawn without any global state, kept as text inside the page."""

import base64
import io
from dataclasses import dataclass
from typing import Any, Literal

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

INK = "#1d2733"
MUTED = "#66727f"
RULE = "#d9dfe5"
BLUE = "#0072b2"
SKY = "#56b4e9"
GREEN = "#009e73"
ORANGE = "#e69f00"
VERMILLION = "#d55e00"
PINK = "#cc79a7"
YELLOW = "#f0e442"
SERIES = (BLUE, VERMILLION, GREEN, PINK, ORANGE, SKY)
"""Okabe and Ito's colours, told apart with every common colour blindness."""

VIRTUAL_WORDS = "Virtual data"
DOTS_PER_INCH = 100
TITLE_INCHES = 0.3


@dataclass(frozen=True, slots=True)
class Picture:
    """A raster image ready for an ``img`` element.

    Parameters
    ----------
    source
        ``data:`` address that holds the whole image.
    alternative
        What it shows, for those who cannot see it.
    width, height
        Pixels.
    """

    source: str
    alternative: str
    width: int
    height: int


def sheet(
    width_inches: float, height_inches: float, title: str, *, virtual: bool, dark: bool = False
) -> Figure:
    """Start a figure whose top strip says what it shows, and that its data are virtual when they are.

    Parameters
    ----------
    width_inches, height_inches
        Room for the drawing; the title's strip is added on top.
    title
        Our own words, never a user's.
    virtual
        Write "Virtual data" beside the title.
    dark
        Black paper for brain pictures.
    """
    height = height_inches + TITLE_INCHES
    figure = Figure(figsize=(width_inches, height), dpi=DOTS_PER_INCH, facecolor="black" if dark else "white")
    FigureCanvasAgg(figure)
    y = 1 - 0.5 * TITLE_INCHES / height
    x = 0.1 / width_inches
    colour = "white" if dark else INK
    figure.text(x, y, title, color=colour, va="center", ha="left", fontsize=9.5, fontweight="bold")
    if virtual:
        x_right = 1 - 0.1 / width_inches
        badge = {"boxstyle": "round,pad=0.25", "facecolor": ORANGE, "edgecolor": "none"}
        figure.text(
            x_right, y, VIRTUAL_WORDS, color="black", va="center", ha="right", fontsize=8.5, bbox=badge
        )
    return figure


def encode(figure: Figure, alternative: str, *, kind: Literal["jpeg", "png"], scale: float = 1.0) -> Picture:
    """Turn a figure into a picture and let go of it.

    Parameters
    ----------
    figure
        Made by `sheet`.
    alternative
        Text for those who cannot see the picture.
    kind
        "jpeg" for brain pictures, "png" for lines and letters.
    scale
        Pixels per figure pixel; 1.6 keeps letters sharp on fine screens.
    """
    buffer = io.BytesIO()
    extra: dict[str, Any] = {"pil_kwargs": {"quality": 84, "optimize": True}} if kind == "jpeg" else {}
    figure.savefig(buffer, format=kind, dpi=DOTS_PER_INCH * scale, facecolor=figure.get_facecolor(), **extra)
    width, height = (round(float(inches) * DOTS_PER_INCH) for inches in figure.get_size_inches())
    figure.clear()
    text = base64.b64encode(buffer.getvalue()).decode("ascii")
    return Picture(f"data:image/{kind};base64,{text}", alternative, width, height)
