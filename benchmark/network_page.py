"""python -m benchmark.network_page: results/network.json -> the tables of docs/network.md."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmark.measure import RESULTS
from benchmark.network_methods import plan_methods
from benchmark.network_summary import SIDES
from benchmark.readme import fill
from benchmark.running import ROOT
from benchmark.summary import load_json
from bidsapp.bids.save import save_text

PAGE = ROOT / "docs" / "network.md"
MARKERS = ("<!-- network: start -->", "<!-- network: end -->")
_COLUMNS = ("method", "n", "DSC", "HD mm", "ASSD mm", "folds %")
_OF_TUMOURS = ("tumour volume factor", "Jacobian ratio")
_SECONDS = {"CPU-s": "cpu_seconds_median", "s": "wall_seconds_median"}


def build_block(found: Mapping[str, Any]) -> str:
    """Write all tables as Markdown: scans without and with tumours, then those the model never saw."""
    origin = found["provenance"]
    conditions = (
        f"{found['data']}; {origin['date']}, commit {origin['commit'][:10]}, computed on {found['device']}, "
        f"{origin['machine']['class']}. {_model(found)} Mean ± standard deviation over structures and scans "
        "together, as in the paper; those of tumours over tumours. HD is the largest distance, not a "
        "percentile. Seconds: median of a scan, affine step included."
    )
    lines = [
        "<!-- written by python -m benchmark.network_page: change the results, not these lines -->",
        conditions,
    ]
    names = [method.name for method in plan_methods(Path(), "cpu") if method.name in found["methods"]]
    methods = [found["methods"][name] for name in names]  # JSON knows no order
    # several scans at a time share a processor: there, time by the clock measures nothing
    seconds = tuple(_SECONDS)[:1] if found["device"] == "cpu" else tuple(_SECONDS)
    all_unseen = len(found["unseen"]) == found["n_scans"]
    for title, fresh in (("", False), (", which the general model never saw", True))[
        : 1 if all_unseen else 2
    ]:
        for side, words in SIDES.items():
            lines += _table(methods, side, f"{words.capitalize()}{title}", seconds, fresh=fresh)
    return "\n".join(lines)


def write_page(results: Path = RESULTS, page: Path = PAGE) -> int:
    """Put the tables between the markers of the page; return the exit status."""
    block = build_block(load_json(results / "network.json"))
    save_text(fill(page.read_text(encoding="utf-8"), block, MARKERS, page.name), page)
    return 0


def _model(found: Mapping[str, Any]) -> str:
    model = found["model"]
    if model is None:
        return "No general model was at hand."
    return (
        f"General model: {model['steps']} steps at {model['spacing_mm']:g} mm, seeing {model['sees']}, "
        f"objective `{model['objective']}`, SHA-256 {model['sha256'][:12]}; it never saw "
        f"{len(found['unseen'])} of the {found['n_scans']} scans."
    )


def _table(
    methods: Sequence[Mapping[str, Any]], side: str, title: str, seconds: Sequence[str], *, fresh: bool
) -> list[str]:
    parts = {
        method["words"]: method["unseen"][side] if fresh else method[side]
        for method in methods
        if not fresh or method["unseen"]
    }
    if not parts:
        return []
    heads = [*_COLUMNS, *(_OF_TUMOURS if side == "patients" else ()), *seconds]
    return [
        "",
        f"**{title}**",
        "",
        f"| {' | '.join(heads)} |",
        "|---" * len(heads) + "|",
        *(_row(words, part, seconds) for words, part in parts.items()),
    ]


def _row(words: str, part: Mapping[str, Any], seconds: Sequence[str]) -> str:
    cells = [words, str(part["n"])]
    cells += [_spread(part, name, digits) for name, digits in (("dsc", 3), ("hd_mm", 2), ("assd_mm", 2))]
    cells.append(f"{100 * part['folded_fraction_mean']:.2g}")
    if "n_tumours" in part:
        cells += [_spread(part, name, 2) for name in ("volume_factor", "jacobian_ratio")]
    cells += [f"{part[_SECONDS[head]]:.0f}" for head in seconds]
    return f"| {' | '.join(cells)} |"


def _spread(part: Mapping[str, Any], name: str, digits: int) -> str:
    mean, sd = part[f"{name}_mean"], part[f"{name}_sd"]
    if mean is None:
        return "n/a"
    return f"{mean:.{digits}f}" + ("" if sd is None else f" ± {sd:.{digits}f}")


if __name__ == "__main__":
    sys.exit(write_page())
