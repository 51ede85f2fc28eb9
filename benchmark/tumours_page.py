"""python -m benchmark.tumours_page: results/tumour.json -> the tables of docs/tumours.md."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmark.measure import RESULTS
from benchmark.readme import fill
from benchmark.running import ROOT
from benchmark.summary import load_json
from benchmark.tumours_methods import AFFINE, METHODS
from bidsapp.bids.save import save_text

PAGE = ROOT / "docs" / "tumours.md"
_COLUMNS = (
    *("method", "n", "Jacobian ratio", "volume factor", "volume against control", "centroid error mm"),
    *("beyond the ring's", "middle beyond", "shape overlap", "lost", "Dice", "change of Dice"),
)
_TITLES = {
    "diameter_mm": "diameter, mm",
    "structure": "site",
    "mass_effect": "pushed surroundings",
    "labels_inside": "labels inside",
}


def build_block(found: Mapping[str, Any]) -> str:
    """Write all tables as Markdown."""
    provenance = found["provenance"]
    methods = _in_order(found["methods"])
    whole = {name: method for name, method in methods.items() if method["n_scans"] == found["n_scans"]}
    lines = [
        "<!-- written by python -m benchmark.tumours_page: change the results, not these lines -->",
        f"{found['data']}; measured on {provenance['date']}, {provenance['machine']['class']}.",
        "Mean ± standard deviation over `n` tumours, medians of centroid errors.",
        "",
        *_table(whole),
    ]
    for key, title in _TITLES.items():
        lines += ["", *_division(whole, key, title)]
    together = found["side_by_side"]
    if len(whole) < len(methods) and together["n_scans"]:
        lines += [
            "",
            f"All methods, on the {together['n_scans']} scans that each of them has aligned:",
            "",
            *_table(_in_order(together["methods"])),
        ]
    return "\n".join(lines)


def write_page(results: Path = RESULTS, page: Path = PAGE) -> int:
    """Put the tables between the markers of the page; return the exit status."""
    block = build_block(load_json(results / "tumour.json"))
    markers = ("<!-- tumours: start -->", "<!-- tumours: end -->")
    save_text(fill(page.read_text(encoding="utf-8"), block, markers, page.name), page)
    return 0


def _in_order(methods: Mapping[str, Any]) -> dict[str, Any]:
    return {method.name: methods[method.name] for method in METHODS if method.name in methods}


def _table(methods: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return [
        f"| {' | '.join(_COLUMNS)} |",
        "|---" * len(_COLUMNS) + "|",
        *(_row(method) for method in methods.values()),
    ]


def _row(method: Mapping[str, Any]) -> str:
    spread = [
        f"{method[f'{name}_mean']:.2f} ± {method[f'{name}_sd']:.2f}"
        for name in ("jacobian_ratio", "volume_factor", "volume_vs_control")
    ]
    rest = [
        *_of_centroids(method),
        f"{method['middle_beyond_ring_mm_median']:+.2f}",
        f"{method['overlap_mean']:.2f}",
        str(method["lost"]),
        f"{method['dsc_mean']:.3f}",
        f"{method['dsc_change_mean']:+.3f}",
    ]
    return f"| {method['words']} | {method['n']} | {' | '.join([*spread, *rest])} |"


def _of_centroids(method: Mapping[str, Any]) -> tuple[str, str]:
    """Median errors, with the number of tumours where it is not that of the row."""
    n = method["n_centroids"]
    if not n:
        return "not measured", "not measured"
    among = "" if n == method["n"] else f" (n = {n})"
    return (
        f"{method['centroid_error_mm_median']:.2f}{among}",
        f"{method['centroid_beyond_ring_mm_median']:+.2f}{among}",
    )


def _division(methods: Mapping[str, Mapping[str, Any]], key: str, title: str) -> list[str]:
    """Jacobian ratio and volume against control of all methods but the affine step, by one property."""
    methods = {name: method for name, method in methods.items() if name != AFFINE.name}
    if not methods:
        return []
    values = list(next(iter(methods.values()))["by"][key])
    if key == "diameter_mm":
        values.sort(key=float)
    header = " | ".join(method["words"] for method in methods.values())
    lines = [
        f"Jacobian ratio (and volume against control, mean) by {title}:",
        "",
        f"| {title} | {header} |",
        "|---" * (len(methods) + 1) + "|",
    ]
    for value in values:
        cells = []
        for method in methods.values():
            part = method["by"][key].get(value)
            cells.append(
                f"{part['jacobian_ratio_mean']:.2f} ± {part['jacobian_ratio_sd']:.2f} "
                f"({part['volume_vs_control_mean']:.2f})"
                if part
                else ""
            )
        lines.append(f"| {value.removesuffix('.0')} | {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    sys.exit(write_page())
