"""python -m benchmark.peers.page: results/peers.json and heldout.json -> docs/benchmark.md and its figure."""

import argparse
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from benchmark.figures import FIGURES, LINE_COLOUR, save_svg
from benchmark.measure import RESULTS
from benchmark.readme import fill
from benchmark.running import ROOT
from benchmark.summary import load_json
from bidsapp.bids.save import save_text
from bidsapp.errors import MetsAtlasError, MissingInputError

PAGE = ROOT / "docs" / "benchmark.md"
KINDS = {"pairs": "Pairs of scans", "atlas": "Scans to the embedded atlas"}
COLUMNS = (
    ("dsc_mean", "mean", "Dice", 3),
    ("dsc_back_mean", "mean", "Dice back", 3),
    ("assd_mm_mean", "mean", "ASSD mm", 2),
    ("sd_log_jacobian", "mean", "sd log J", 2),
    ("folded_fraction", "max", "folds, worst", 6),
    ("cpu_seconds", "median", "CPU-s", 1),
    ("process_cpu_seconds", "median", "CPU-s, all", 1),
    ("peak_gib", "max", "GiB", 1),
)
COLOURS = {"this app": "#0b5fa5", "greedy": "#d55e00", "ANTs": "#009e73", "FireANTs": "#8c8c8c"}
MARKERS = {"labels": "o", "T1w and labels": "s", "T1w": "^"}

logger = logging.getLogger("benchmark")


def build_block(peers: Mapping[str, Any] | None, heldout: Mapping[str, Any] | None) -> str:
    """Write what is there as Markdown."""
    lines = ["<!-- written by python -m benchmark.peers.page: change the results, not these lines -->"]
    if peers is not None:
        lines += _peers(peers)
    if heldout is not None:
        lines += _heldout(heldout)
    return "\n".join(lines)


def draw(peers: Mapping[str, Any]) -> Figure:
    """Draw Dice against CPU-seconds, a dot a tool and setting, one panel for each kind of case."""
    kinds = [kind for kind in KINDS if any(tool[kind]["n"] for tool in peers["tools"])]
    figure = Figure(figsize=(4.4 * len(kinds) + 0.4, 4.4), layout="constrained")
    panels = figure.subplots(1, len(kinds), squeeze=False)[0]
    for kind, axes in zip(kinds, panels, strict=True):
        _panel(axes, [tool for tool in peers["tools"] if tool[kind]["n"]], kind)
    handles = {
        label: handle
        for axes in panels
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        handles.values(), handles.keys(), loc="outside lower center", ncols=4, frameon=False, fontsize=8
    )
    return figure


def _panel(axes: Any, tools: Sequence[Mapping[str, Any]], kind: str) -> None:
    for tool in tools:
        seconds, dice = tool[kind]["cpu_seconds"]["median"], tool[kind]["dsc_mean"]["mean"]
        label = f"{tool['program']} ({tool['drive']})"
        colour, marker = COLOURS[tool["program"]], MARKERS[tool["drive"]]
        axes.scatter([seconds], [dice], s=34, color=colour, marker=marker, label=label, zorder=2)
        axes.annotate(
            tool["name"].partition("-")[2],
            (seconds, dice),
            xytext=(4, 3),
            textcoords="offset points",
            fontsize=6,
        )
    axes.set_xscale("log")
    axes.set_xlabel("CPU-seconds of the registration, median (lower is better)")
    axes.set_ylabel("Dice, mean (higher is better)")
    counts = sorted({tool[kind]["n"] for tool in tools}, reverse=True)
    axes.set_title(f"{KINDS[kind]}, n = {' or '.join(map(str, counts))}", fontsize=9, loc="left")
    for ticks in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
        ticks(FuncFormatter(lambda seconds, _: f"{seconds:g}" if f"{seconds:g}"[0] in "125" else ""))
    axes.grid(color=LINE_COLOUR, linewidth=0.5)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _peers(peers: Mapping[str, Any]) -> list[str]:
    lines = [*_origin(peers), "", "![Dice against CPU-seconds, all tools](figures/peers.svg)"]
    for kind, title in KINDS.items():
        tools = [tool for tool in peers["tools"] if tool[kind]["n"]]
        if tools:
            lines += ["", f"### {title}", "", *_table(tools, kind)]
    found = peers["vs_greedy_label"]
    if found and "cpu_ratio_at_equal_dice" in found:
        lines += ["", _race(found)]
    return lines


def _table(tools: Sequence[Mapping[str, Any]], kind: str) -> list[str]:
    heads = ["program", "setting", "driven by", "n", *(title for _, _, title, _ in COLUMNS)]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for tool in tools:
        cells = [tool["program"], tool["words"], tool["drive"], str(tool[kind]["n"])]
        cells += [_number(tool[kind][key].get(sum_), digits) for key, sum_, _, digits in COLUMNS]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _race(found: Mapping[str, Any]) -> str:
    return (
        f"On {found['pair']} `{found['ours']}` reaches the Dice of `{found['greedy']}` in both directions "
        f"({found['dsc_mean']:.3f} and {found['dsc_back_mean']:.3f} against {found['greedy_dsc_mean']:.3f} "
        f"and {found['greedy_dsc_back_mean']:.3f}) in {found['cpu_seconds']:.1f} of its "
        f"{found['greedy_cpu_seconds']:.1f} CPU-seconds: {found['cpu_ratio_at_equal_dice']:.2f} of them."
    )


def _heldout(heldout: Mapping[str, Any]) -> list[str]:
    heads = ["not shown to the tools", "n", "this app", "greedy", "this app, back", "greedy, back"]
    lines = ["", "### Structures that drove nothing", "", *_origin(heldout), ""]
    lines += ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for name, group in heldout["groups"].items():
        cells = [name, str(group["n"])]
        cells += [
            f"{group[side][key]:.3f}" for key in ("dsc_mean", "dsc_back_mean") for side in ("ours", "greedy")
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _origin(result: Mapping[str, Any]) -> list[str]:
    origin = result["provenance"]
    versions = ", ".join(
        f"{name} {version}"
        for name, version in sorted(origin["versions"].items())
        if name in {"antspyx", "fireants", "metsatlas", "picsl-greedy", "torch"}
    )
    changed = " with uncommitted changes" if origin["uncommitted_changes"] else ""
    place = f"{origin['machine']['class']}; {origin['date']}, commit {origin['commit'][:10]}{changed}"
    return [f"{result['data']}. {place}; {versions}. `{origin['command']}`"]


def _number(value: float | None, digits: int) -> str:
    if value is None:
        return "n/a"
    return "0" if value == 0 else f"{value:.{digits}f}" if digits <= 3 else f"{value:.1e}"


def write_page(results: Path, page: Path, figures: Path) -> None:
    """Fill the page and draw its figure.

    Raises
    ------
    MissingInputError
        If there is neither result nor page.
    """
    found = {
        name: load_json(results / f"{name}.json")
        for name in ("peers", "heldout")
        if (results / f"{name}.json").is_file()
    }
    if not found or not page.is_file():
        raise MissingInputError(f"{page.name} and a result are needed: run python -m benchmark.peers first")
    if "peers" in found:
        save_svg(draw(found["peers"]), figures / "peers.svg")
    block = build_block(found.get("peers"), found.get("heldout"))
    save_text(fill(page.read_text(encoding="utf-8"), block), page)


def main(arguments: Sequence[str] | None = None) -> int:
    """Fill the page and return the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(prog="python -m benchmark.peers.page", description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER")
    parser.add_argument("--page", type=Path, default=PAGE, metavar="FILE")
    parser.add_argument("--figures", type=Path, default=FIGURES, metavar="FOLDER")
    options = parser.parse_args(arguments)
    try:
        write_page(options.results, options.page, options.figures)
    except MetsAtlasError as error:
        logger.error("%s", error)  # noqa: TRY400 (one clear line, no traceback)
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
