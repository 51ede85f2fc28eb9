"""Charts of places: distances against chance, rate ratios, and arteries."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.ticker import NullLocator

from bidsapp.reports.charts import PAGE_INCHES, SHARP, panels, plain, soften
from bidsapp.reports.picture import BLUE, INK, MUTED, RULE, VERMILLION, Picture, encode, sheet

NULL_WORDS: Mapping[str, str] = {
    "uniform": "anywhere in the brain",
    "region": "anywhere in its own region",
    "size": "anywhere with room for its size",
}


def curve_picture(curves: pd.DataFrame, title: str, *, virtual: bool) -> Picture:
    """Draw the share of lesions up to each distance within the global envelope of chance.

    Parameters
    ----------
    curves
        Columns of `bidsapp.statistics.distances.CURVE_COLUMNS`.
    title
        Our own words.
    virtual
        Whether the data are virtual.
    """
    kinds = [kind for kind in NULL_WORDS if kind in set(curves["null"])]
    figure = sheet(PAGE_INCHES, 2.7, title, virtual=virtual)
    for axes, kind in zip(panels(figure, len(kinds), 0.55, 0.45, 0.35), kinds, strict=True):
        rows = curves[curves["null"] == kind]
        distance = rows["distance_mm"].to_numpy(np.float64)
        soften(axes, grid="y")
        low, high = (rows[f"envelope_{end}"].to_numpy(np.float64) for end in ("low", "high"))
        axes.fill_between(distance, low, high, color=RULE, linewidth=0, label="95 % envelope")
        axes.plot(distance, rows["null_fraction"], color=MUTED, linewidth=1.2, label="chance")
        axes.plot(distance, rows["lesions_fraction"], color=BLUE, linewidth=1.8, label="lesions")
        axes.axvline(0, color=INK, linewidth=0.7)
        axes.set_ylim(0, 1)
        axes.set_title(f"chance: {NULL_WORDS[kind]}", fontsize=8.5, color=INK, loc="left")
        axes.set_xlabel("distance, mm", fontsize=8.5, color=INK)
        if kind == kinds[0]:
            axes.set_ylabel("share of lesions up to here", fontsize=8.5, color=INK)
            axes.legend(loc="best", frameon=False, fontsize=8)
    text = f"{title}: cumulative curves of lesions against {len(kinds)} kinds of chance, with 95 % envelopes."
    return encode(figure, text, kind="png", scale=SHARP)


def ratio_picture(table: pd.DataFrame, labels: list[str], title: str, *, virtual: bool) -> Picture:
    """Draw ratios with their intervals on a log scale, one row each.

    Parameters
    ----------
    table
        ``rate_ratio``, ``rate_ratio_low``, ``rate_ratio_high`` and ``holm_p_value``.
    labels
        Of the rows.
    title
        Our own words.
    virtual
        Whether the data are virtual.
    """
    rows = np.arange(len(table))
    figure = sheet(PAGE_INCHES, 0.27 * max(len(table), 3) + 0.85, title, virtual=virtual)
    (axes,) = panels(figure, 1, 4.2, 0.45, 0.2)
    soften(axes)
    low, ratio, high = (
        table[f"rate_ratio{end}"].to_numpy(np.float64).clip(1 / 16, 16) for end in ("_low", "", "_high")
    )
    colours = np.where(table["holm_p_value"] < 0.05, VERMILLION, MUTED)
    axes.axvline(1, color=INK, linewidth=0.9)
    axes.hlines(rows, low, high, colors=colours.tolist(), linewidth=1.8)
    axes.scatter(ratio, rows, s=34, c=colours.tolist(), zorder=3)
    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(1 / 17, 17)
    ticks = [1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8]
    axes.set_xticks(ticks, ["1/8", "1/4", "1/2", "1", "2", "4", "8"])
    axes.set_yticks(rows, [plain(label) if len(label) < 28 else label[:60] for label in labels], fontsize=8)
    axes.set_ylim(len(table) - 0.4, -0.6)
    axes.set_xlabel("rate ratio, all other explanations equal", fontsize=8.5, color=INK)
    n_strong = int((table["holm_p_value"] < 0.05).sum())
    text = f"{title}: {len(table)} ratios with 95 % intervals, {n_strong} of them with a Holm p below 0.05."
    return encode(figure, text, kind="png", scale=SHARP)
