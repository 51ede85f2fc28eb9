"""python -m benchmark.figures: draw every figure of the README from the results."""

import argparse
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmark.measure import RESULTS
from benchmark.running import ROOT
from benchmark.summary import load_json
from bidsapp.bids.save import atomic_write
from bidsapp.errors import MetsAtlasError

FIGURES = ROOT / "docs" / "figures"
AFFINE_COLOUR, FINAL_COLOUR, LINE_COLOUR = "#8c8c8c", "#0b5fa5", "#d0d0d0"

logger = logging.getLogger("benchmark")


def draw_real_dice(real: Mapping[str, Any]) -> Figure:
    """Draw two dots a scan, Dice after the affine step and after both, the best scan on top."""
    rows = sorted(real["subjects"], key=lambda row: float(row["dice_mean"]))
    heights = range(len(rows))
    before, after = ([float(row[key]) for row in rows] for key in ("dice_affine_mean", "dice_mean"))
    figure = Figure(figsize=(6.4, 1.5 + 0.2 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    axes.hlines(heights, before, after, color=LINE_COLOUR, linewidth=2, zorder=1)
    axes.scatter(before, heights, s=26, color=AFFINE_COLOUR, label="affine", zorder=2)
    axes.scatter(after, heights, s=26, color=FINAL_COLOUR, label="affine and deformable", zorder=2)
    axes.set_yticks(heights, [str(row["scan"]) for row in rows], fontsize=8)
    axes.set_xlim(min(0.5, *before), 1.0)
    axes.set_xlabel("Dice with the atlas, mean over structures (higher is better)")
    axes.set_title(str(real["data"]), fontsize=9, loc="left")
    axes.grid(axis="x", color="#eeeeee")
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(-0.7, len(rows) - 0.3)
    figure.legend(loc="outside upper right", ncols=2, frameon=False, fontsize=8)
    return figure


def save_svg(figure: Figure, path: Path) -> None:
    """Write an SVG whose bytes depend on the data only; text stays text."""
    with mpl.rc_context({"svg.hashsalt": path.stem, "svg.fonttype": "none"}), atomic_write(path) as temporary:
        figure.savefig(temporary, format="svg", metadata={"Date": None, "Title": path.stem})


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw all figures and return the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(prog="python -m benchmark.figures", description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER")
    parser.add_argument("--figures", type=Path, default=FIGURES, metavar="FOLDER")
    options = parser.parse_args(arguments)
    try:
        save_svg(draw_real_dice(load_json(options.results / "real.json")), options.figures / "real_dice.svg")
    except MetsAtlasError as error:
        logger.error("%s", error)  # noqa: TRY400 (one clear line, no traceback)
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
