"""python -m benchmark.readme: fill the figures of README.md from the results."""

import argparse
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmark.measure import RESULTS
from benchmark.running import ROOT
from benchmark.summary import FIGURES, NAME, load_json, load_results
from bidsapp.bids.save import save_text
from bidsapp.errors import DataError, MetsAtlasError, MissingInputError

START, END = "<!-- figures:start -->", "<!-- figures:end -->"
NOTE = "<!-- written by python -m benchmark.readme: change the results, not these lines -->"
UNITS = {"1": "", "mm": " mm", "s": " s"}
COLUMNS = (
    ("scan", "scan"),
    ("dice_affine_mean", "Dice affine"),
    ("dice_mean", "Dice final"),
    ("assd_mm_mean", "ASSD mm"),
    ("hd95_mm_mean", "HD95 mm"),
    ("folded_fraction", "folded"),
    ("ndv_percent", "NDV %"),
    ("sd_log_jacobian", "sd log J"),
    ("inverse_error_mm_p99", "inverse mm"),
    ("wall_seconds", "seconds"),
)
LEGEND = (
    "Dice, ASSD and HD95: mean over the structures that both maps have, at 1 mm; higher Dice is better, "
    "lower is better for all others. sd log J: how unevenly the brain was stretched. inverse: 99th "
    "percentile of the distance that going there and back misses. seconds: wall time of everything for one "
    "scan, the first includes compiling."
)

logger = logging.getLogger("benchmark")


def build_block(summary: Mapping[str, Mapping[str, Any]], results: Mapping[str, Mapping[str, Any]]) -> str:
    """Write the figures as Markdown, and every real scan below them.

    Parameters
    ----------
    summary
        The list of figures.
    results
        File name to content of the results they come from.
    """
    lines = [NOTE, "| | value | n | measured on | command |", "|---|---|---|---|---|"]
    for figure in FIGURES:
        entry = summary.get(figure.name)
        if entry is not None:
            value = f"{_number(entry['value'])}{UNITS.get(entry['unit'], ' ' + entry['unit'])}"
            data = results[entry["source"]]["data"]
            lines.append(f"| {figure.words} | **{value}** | {entry['n']} | {data} | `{entry['command']}` |")
    lines += ["", *_machines(results)]
    if "real.json" in results:
        lines += ["", *_real_scans(results["real.json"])]
    return "\n".join(lines)


def _machines(results: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Say where and when each result was measured, one line for those that share it."""
    places: dict[str, list[str]] = {}
    for result in results.values():
        origin = result["provenance"]
        changed = " with uncommitted changes" if origin["uncommitted_changes"] else ""
        place = f"{origin['machine']['class']}; {origin['date']}, commit {origin['commit'][:10]}{changed}"
        places.setdefault(place, []).append(result["case"])
    return [f"Machine ({', '.join(cases)}): {place}." for place, cases in places.items()]


def _real_scans(real: Mapping[str, Any]) -> list[str]:
    """Show every scan: a picture, a table, and who was refused."""
    lesions, aggregates = real["lesions"], real["aggregates"]
    refused = ", ".join(sorted(real["refused"]))
    rows = [dict(row) for row in real["subjects"]]
    rows += [
        {"scan": f"**{name}**"} | {key: aggregates[key][name] for key, _ in COLUMNS[1:]}
        for name in ("mean", "min", "max")
    ]
    return [
        "![Dice of each real scan, affine and final](docs/figures/real_dice.svg)",
        "",
        f"<details><summary>All {real['n_subjects']} real scans</summary>",
        "",
        "| " + " | ".join(title for _, title in COLUMNS) + " |",
        "|" + "---|" * len(COLUMNS),
        *("| " + " | ".join(_number(row[key]) for key, _ in COLUMNS) + " |" for row in rows),
        "",
        LEGEND,
        "",
        _lesion_sentence(lesions),
        _run_sentence(real["run"]),
        *([f"No label map, so refused with the way out: {refused}."] if refused else []),
        "",
        "</details>",
    ]


def _lesion_sentence(lesions: Mapping[str, Any]) -> str:
    return (
        f"{lesions['n']} implanted lesions: volume factor {_spread(lesions['volume_factor'])}, Jacobian "
        f"ratio to the 10 mm around {_spread(lesions['jacobian_ratio'])} (mean ± sd; 1 is preserved)."
    )


def _run_sentence(run: Mapping[str, Any]) -> str:
    wall, cpu, peak = (_number(run[key]) for key in ("wall_seconds", "cpu_seconds", "peak_gib"))
    return f"The whole run: {wall} s, {cpu} processor seconds, at most {peak} GiB."


def _spread(numbers: Mapping[str, Any]) -> str:
    return f"{_number(numbers['mean'])} ± {_number(numbers['sd'])}"


def _number(value: object) -> str:
    """Show three digits, which is more than repeated measurements share; whole numbers in full."""
    if not isinstance(value, float) or value == 0:
        return "n/a" if value is None else f"{value + 0.0:g}" if isinstance(value, float) else str(value)
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:#.3g}"


def fill(text: str, block: str, markers: tuple[str, str] = (START, END), name: str = "README.md") -> str:
    """Put a block between the two markers; everything else stays as it is.

    Parameters
    ----------
    text
        Of the file.
    block
        What comes between the markers.
    markers
        Lines that stand once each, in this order.
    name
        Of the file, for messages.

    Raises
    ------
    DataError
        If the markers are not there once each, in their order.
    """
    start, end = markers
    if text.count(start) != 1 or text.count(end) != 1 or text.index(start) > text.index(end):
        raise DataError(f"{name} must hold the lines {start} and {end} once each, in this order: add them")
    before, _, rest = text.partition(start)
    _, _, after = rest.partition(end)
    return f"{before}{start}\n{block}\n{end}{after}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Fill README.md and return the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(prog="python -m benchmark.readme", description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER")
    parser.add_argument("--readme", type=Path, default=ROOT / "README.md", metavar="FILE")
    options = parser.parse_args(arguments)
    try:
        summary: Mapping[str, Any] = load_json(options.results / NAME)
        block = build_block(summary, load_results(options.results))
        if not options.readme.is_file():
            raise MissingInputError(f"no {options.readme}: write it first, with {START} and {END}")
        save_text(fill(options.readme.read_text(encoding="utf-8"), block), options.readme)
    except MetsAtlasError as error:
        logger.error("%s", error)  # noqa: TRY400 (one clear line, no traceback)
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
