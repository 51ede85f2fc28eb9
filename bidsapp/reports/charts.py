"""Charts: overlap by structure, convergence, and the cohort's counts."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from bidsapp.reports.picture import (
    BLUE,
    INK,
    MUTED,
    ORANGE,
    RULE,
    SERIES,
    TITLE_INCHES,
    VERMILLION,
    Picture,
    encode,
    sheet,
)

SHARP = 1.5
PAGE_INCHES = 11.8
HEAD_INCHES = 0.22


def plain(text: str) -> str:
    """Make a user's word safe to draw: the font's letters only, and no more than 28 of them.

    Examples
    --------
    >>> plain("Zürich $x$"), plain("中心")
    ('Zürich $x$', '??')
    """
    letters = "".join(letter if letter.isprintable() and ord(letter) < 0x180 else "?" for letter in text)
    return letters if len(letters) <= 28 else letters[:27] + "…"


def soften(axes: Axes, grid: str = "x") -> None:
    """Take away what carries no information."""
    for side in ("top", "right", "left" if grid == "x" else "bottom"):
        axes.spines[side].set_visible(False)
    for side in ("bottom", "left"):
        axes.spines[side].set_color(RULE)
    axes.tick_params(colors=INK, labelsize=8, length=0)
    axes.grid(visible=True, axis="x" if grid == "x" else "y", color=RULE, linewidth=0.6)
    axes.set_axisbelow(True)


def panels(figure: Figure, count: int, left: float, bottom: float, gap: float) -> list[Axes]:
    """Place axes side by side below the title and a strip for legends; margins in inches."""
    width, height = (float(inches) for inches in figure.get_size_inches())
    each = (width - left - 0.2 - gap * (count - 1)) / count
    return [
        figure.add_axes(
            (
                (left + number * (each + gap)) / width,
                bottom / height,
                each / width,
                (height - bottom - TITLE_INCHES - HEAD_INCHES) / height,
            )
        )
        for number in range(count)
    ]


def overlap_picture(structures: pd.DataFrame, *, virtual: bool) -> Picture:
    """Draw Dice and average surface distance of each structure, before (hollow) and after (filled).

    Parameters
    ----------
    structures
        ``name``, ``dice_affine``, ``dice``, ``assd_affine_mm``, ``assd_mm``; rows from top to bottom.
    virtual
        Whether the data are virtual.
    """
    shown = structures[structures["is_compared"].astype(bool)]
    rows = np.arange(len(shown))
    figure = sheet(
        PAGE_INCHES, 0.19 * max(len(shown), 4) + 0.9, "Overlap and surface distance", virtual=virtual
    )
    left, right = panels(figure, 2, 2.1, 0.45, 0.25)
    for axes, before, after, label in (
        (left, "dice_affine", "dice", "Dice (higher is better)"),
        (right, "assd_affine_mm", "assd_mm", "average surface distance, mm (lower is better)"),
    ):
        soften(axes)
        axes.hlines(rows, shown[before], shown[after], color="#b8c4cf", linewidth=1.6, zorder=1)
        axes.scatter(
            shown[before],
            rows,
            s=26,
            facecolor="white",
            edgecolor=MUTED,
            linewidth=1.2,
            label="affine",
            clip_on=False,
        )
        axes.scatter(shown[after], rows, s=30, color=BLUE, label="aligned", zorder=3, clip_on=False)
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.set_xlabel(label, fontsize=8.5, color=INK)
        axes.set_yticks([])
    left.set_yticks(rows, [str(name) for name in shown["name"]], fontsize=8)
    left.set_xlim(0, 1)
    right.set_xlim(left=0)
    right.legend(
        loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False, fontsize=8, borderaxespad=0.1
    )
    mean = (float(shown["dice_affine"].mean()), float(shown["dice"].mean()))
    text = f"Dot plot of {len(shown)} structures; mean Dice {mean[0]:.2f} after the affine step"
    text += f", {mean[1]:.2f} aligned."
    return encode(figure, text, kind="png", scale=SHARP)


def convergence_picture(convergence: pd.DataFrame, *, virtual: bool) -> Picture:
    """Draw each loss term over the iterations, the resolution levels as shaded bands.

    Parameters
    ----------
    convergence
        ``iteration``, ``level`` and one column a term.
    virtual
        Whether the data are virtual.
    """
    terms = [str(name) for name in convergence.columns if name not in ("iteration", "level")]
    figure = sheet(PAGE_INCHES, 2.2, "Convergence of each loss term", virtual=virtual)
    level = convergence["level"].to_numpy()
    steps = np.arange(len(convergence))
    starts = np.flatnonzero(np.r_[True, level[1:] != level[:-1]]) if len(level) else np.array([], dtype=int)
    for number, (axes, term) in enumerate(
        zip(panels(figure, len(terms), 0.55, 0.42, 0.5), terms, strict=True)
    ):
        soften(axes, grid="y")
        for band, (start, end) in enumerate(zip(starts, [*starts[1:], len(level)], strict=True)):
            axes.axvspan(start, end, color="#eef2f6" if band % 2 == 0 else "white", linewidth=0, zorder=0)
        axes.plot(steps, convergence[term], color=SERIES[number % len(SERIES)], linewidth=1.4)
        axes.set_title(plain(term.replace("_", " ")), fontsize=8.5, color=INK, loc="left", parse_math=False)
        axes.set_xlabel("iteration", fontsize=8, color=MUTED)
        axes.tick_params(labelsize=7)
        axes.margins(x=0.01)
    ends = (
        ", ".join(f"{term} {float(convergence[term].iloc[-1]):.3g}" for term in terms)
        if len(level)
        else "no data"
    )
    return encode(figure, f"Line charts of the loss terms; last values: {ends}.", kind="png", scale=SHARP)


def region_picture(regions: pd.DataFrame, title: str, *, virtual: bool) -> Picture:
    """Draw measured and expected counts of each region, and their ratio with its interval.

    Parameters
    ----------
    regions
        Columns of `region_table` and `clustered_table` of ``bidsapp.statistics``.
    title
        Our own words.
    virtual
        Whether the data are virtual.
    """
    shown = regions.sort_values("n_expected", ascending=False)
    rows = np.arange(len(shown))
    figure = sheet(PAGE_INCHES, 0.27 * max(len(shown), 3) + 0.95, title, virtual=virtual)
    left, right = panels(figure, 2, 2.0, 0.45, 0.35)
    soften(left)
    left.barh(rows, shown["n_observed"], height=0.62, color=BLUE, label="measured")
    left.scatter(
        shown["n_expected"], rows, marker="|", s=110, color=INK, linewidth=1.8, label="expected", zorder=3
    )
    left.set_xlabel("lesions", fontsize=8.5, color=INK)
    left.set_yticks(rows, [str(name) for name in shown["region"]], fontsize=8)
    left.legend(loc="lower right", frameon=False, fontsize=8)
    _ratio_panel(right, shown, rows)
    for axes in (left, right):
        axes.set_ylim(len(shown) - 0.4, -0.6)
    n_clustered, n_paper = (
        int(shown[name].astype(bool).sum()) for name in ("clustered_significant", "significant")
    )
    text = (
        f"Bars of measured against expected lesions in {len(shown)} regions, and their ratio on a log scale; "
        f"{n_clustered} significant with patients kept together, {n_paper} by the paper preset."
    )
    return encode(figure, text, kind="png", scale=SHARP)


RATIO_LIMITS = (1 / 8, 8.0)


def _ratio_panel(axes: Axes, shown: pd.DataFrame, rows: np.ndarray) -> None:
    """Draw ratios with both intervals; what lies beyond the axis becomes an arrowhead at its end."""
    soften(axes)
    low, high = RATIO_LIMITS
    ratio = shown["ratio"].to_numpy(np.float64)
    known = np.isfinite(ratio)
    inside = known & (ratio >= low) & (ratio <= high)
    clustered = shown["clustered_significant"].to_numpy(bool)
    paper = shown["significant"].to_numpy(bool)
    edges = np.where(clustered | paper, VERMILLION, MUTED)
    faces = np.where(clustered, VERMILLION, np.where(paper, "white", MUTED))
    axes.axvline(1, color=INK, linewidth=0.9)
    for prefix, width in (("clustered_ratio", 1.0), ("ratio", 2.6)):
        ends = [shown[f"{prefix}_{end}"].to_numpy(np.float64) for end in ("low", "high")]
        drawn = known & np.isfinite(ends[0]) & np.isfinite(ends[1])
        left, right = (np.clip(each[drawn], low, high) for each in ends)
        axes.hlines(rows[drawn], left, right, colors=edges[drawn], linewidth=width)
    axes.scatter(
        ratio[inside], rows[inside], s=40, c=faces[inside], edgecolors=edges[inside], linewidths=1.4, zorder=3
    )
    for below, marker, place in ((True, "<", low), (False, ">", high)):
        beyond = known & ((ratio < low) if below else (ratio > high))
        axes.scatter(
            np.full(int(beyond.sum()), place), rows[beyond], s=30, marker=marker, c=edges[beyond], zorder=3
        )
    axes.set_xscale("log")
    axes.set_xlim(low / 1.12, high * 1.12)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks([low, 0.25, 0.5, 1, 2, 4, high], ["1/8", "1/4", "1/2", "1", "2", "4", "8"])
    axes.set_xlabel("measured / expected", fontsize=8.5, color=INK)
    axes.set_yticks([])


SIZE_CLASSES = ((0.0, "micro"), (25.0, "small"), (125.0, "medium"), (1000.0, "large"))
"""Lower limits in mm3: Patel et al. 2023."""


def size_picture(volumes_mm3: pd.Series, *, virtual: bool) -> Picture:
    """Draw the distribution of native lesion volumes on a log scale, with the size classes."""
    figure = sheet(PAGE_INCHES, 2.3, "Lesion volumes (native space)", virtual=virtual)
    (axes,) = panels(figure, 1, 0.6, 0.45, 0.2)
    soften(axes, grid="y")
    values = volumes_mm3.astype(float).to_numpy()
    values = values[values > 0]
    top = max(float(values.max(initial=0)), 10_000.0)
    bins = np.geomspace(1.0, top * 1.01, 40)
    axes.hist(np.clip(values, 1.0, None), bins=[float(each) for each in bins], color=BLUE)
    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    decades = [10**power for power in range(int(np.log10(top)) + 1)]
    axes.set_xticks(decades, [f"{decade:,}".replace(",", "\u202f") for decade in decades])
    axes.set_xlabel("mm³", fontsize=8.5, color=INK)
    axes.set_ylabel("lesions", fontsize=8.5, color=INK)
    height = axes.get_ylim()[1]
    for limit, name in SIZE_CLASSES:
        if limit > 0:
            axes.axvline(limit, color=ORANGE, linewidth=1)
        axes.text(max(limit, 1.0) * 1.06, height * 1.01, name, fontsize=8, color=MUTED, va="bottom")
    text = f"Histogram of {len(values)} lesion volumes"
    text += f", median {np.median(values):.0f} cubic millimetres." if len(values) else "."
    return encode(figure, text, kind="png", scale=SHARP)
