"""python -m benchmark.gpu_page: results/gpu.json -> the tables of docs/benchmark.md."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.measure import RESULTS
from benchmark.readme import fill
from benchmark.running import ROOT
from benchmark.summary import load_json
from bidsapp.bids.save import save_text
from bidsapp.settings import PRESETS

PAGE = ROOT / "docs" / "benchmark.md"
MARKERS = ("<!-- gpu: start -->", "<!-- gpu: end -->")
_COLUMNS = ("preset", "n", "s", "worst", "affine s", "preparation and updates s", "way back s", "GiB", "Dice")


def build_block(found: Mapping[str, Any]) -> str:
    """Write all tables as Markdown."""
    origin, card = found["provenance"], found["card"]
    conditions = (
        f"{found['data']}. {card['name']}, {card['memory_gib']:g} GiB, {origin['machine']['class']}; "
        f"{origin['date']}, commit {origin['commit'][:10]}; {_versions(origin['versions'])}. "
        f"`{origin['command']}`"
    )
    lines = [
        "<!-- written by python -m benchmark.gpu_page: change the results, not these lines -->",
        conditions,
        "",
        *_table(_COLUMNS, [_preset(name, rows) for name, rows in _in_order(found["presets"])]),
        "",
        *_sentences(found),
    ]
    if "fireants" in found:
        lines += ["", *_fireants(found)]
    if found.get("missing"):
        lines += ["", f"Not measured in this run: {', '.join(found['missing']).replace('_', ' ')}."]
    return "\n".join(lines)


def write_page(results: Path = RESULTS, page: Path = PAGE) -> int:
    """Put the tables between the markers of the page; return the exit status."""
    block = build_block(load_json(results / "gpu.json"))
    save_text(fill(page.read_text(encoding="utf-8"), block, MARKERS, page.name), page)
    return 0


def _in_order(by_preset: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Sort presets from quick to slow: JSON knows no order."""
    return [(name, by_preset[name]) for name in PRESETS if name in by_preset]


def _versions(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {versions[name]}" for name in ("metsatlas", "torch") if name in versions)


def _preset(name: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    parts = ("seconds", "affine_seconds", "preparation_and_updates_seconds", "way_back_seconds")
    whole, *others = (f"{np.median([row[part] for row in rows]):.2f}" for part in parts)
    worst = f"{max(row['seconds'] for row in rows):.2f}"
    peaks = [row["peak_gib"] for row in rows if row["peak_gib"] is not None]
    peak = f"{max(peaks):.2f}" if peaks else "n/a"
    dice = f"{np.mean([row['dsc_mean'] for row in rows]):.3f}"
    return [f"`{name}`", str(len(rows)), whole, worst, *others, peak, dice]


def _sentences(found: Mapping[str, Any]) -> list[str]:
    """Say what stands in no table, one paragraph a part."""
    said = [_loop(row) for row in found.get("loops", {}).get("default", ())]
    if "whole_grid" in found:
        whole = found["whole_grid"]
        said.append(f"The whole grid of the atlas, {_sizes(whole)}, `default`: {_gib(whole)} GiB.")
    if "agreement" in found:
        apart = ", ".join(f"`{name}` {row['mm_p99']:.3f}" for name, row in _in_order(found["agreement"]))
        said.append(f"Displacements on card and processor, 99th percentile of their distance, mm: {apart}.")
    if "published_network" in found:
        said.append(_network(found["published_network"], found["figures"]["speedup_vs_network"]["value"]))
    return "\n\n".join(said).split("\n")


def _loop(row: Mapping[str, Any]) -> str:
    return (
        f"Updates alone, {row['case']}, `default`: {row['n_updates']} in {row['loop_seconds']:.3f} s, "
        f"{row['over_floor']:.1f} times what their bytes take at the "
        f"{row['bandwidth_gb_per_second']:.0f} GB/s of a copy; preparation "
        f"{row['preparation_seconds']:.2f} s."
    )


def _network(row: Mapping[str, Any], times: float) -> str:
    return (
        f"Over-fitting the published network on the grid {_sizes(row)} takes "
        f"{row['seconds_per_update']:.3f} s an update ({row['n_updates_measured']} measured after "
        f"{row['n_updates_before']} not counted, {row['precision']}) and {_gib(row)} GiB: "
        f"{row['seconds_extrapolated']:.0f} s for {row['n_updates_extrapolated_to']}, extrapolated; "
        f"{times:.0f} times what `default` takes."
    )


def _fireants(found: Mapping[str, Any]) -> list[str]:
    """Lay FireANTs and every preset beside each other, pair by pair."""
    fireants = found["fireants"]
    if "skipped" in fireants:
        return ["FireANTs did not run on this card (see the JSON)."]
    heads = ["pair", f"FireANTs, {fireants['setting']}: s", "Dice"]
    ours = {name: {row["case"]: row for row in rows} for name, rows in _in_order(found["presets"])}
    heads += [text for name in ours for text in (f"`{name}`: s", "Dice")]
    rows = []
    for row in fireants["rows"]:
        sides = [row, *(cases[row["case"]] for cases in ours.values())]
        numbers = [text for side in sides for text in (f"{side['seconds']:.2f}", f"{side['dsc_mean']:.3f}")]
        rows.append([row["case"], *numbers])
    driven = f"FireANTs sees the {fireants['drive']} alone, this app the labels, too."
    return [*_table(heads, rows), "", driven]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [
        f"| {' | '.join(heads)} |",
        "|---" * len(heads) + "|",
        *(f"| {' | '.join(cells)} |" for cells in rows),
    ]


def _sizes(row: Mapping[str, Any]) -> str:
    return " x ".join(str(size) for size in row["grid"])


def _gib(row: Mapping[str, Any]) -> str:
    return "n/a" if row["peak_gib"] is None else f"{row['peak_gib']:.2f}"


if __name__ == "__main__":
    sys.exit(write_page())
