"""Sum up what became of the tumours: one row a method, then by size, site, push and contents."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from benchmark.tumours_methods import METHODS
from bidsapp.errors import DataError

PUBLISHED: Mapping[str, str] = {
    "mask": "overlap-mask",
    "nomask": "overlap-volume",
    "none": "overlap-none",
    "paper": "paper-volume",
}
PEERS: Mapping[str, str] = {"greedy": "greedy", "ants": "ants"}
DIVISIONS = ("diameter_mm", "structure", "mass_effect", "labels_inside")


def sum_up(rows: Sequence[Mapping[str, Any]]) -> dict[str, object]:
    """Put all turns together.

    Parameters
    ----------
    rows
        One a method and scan, with its tumours.

    Returns
    -------
    found
        `methods`: figures of each, over the scans that it has aligned. `side_by_side`: the same over the
        scans that all of them have.

    Raises
    ------
    DataError
        If there is nothing to sum up.
    """
    if not rows:
        raise DataError("there must be a result to sum up: measure at least one method on one scan")
    table = pd.DataFrame(
        [
            {"scan": row["scan"], "method": row["method"], **tumour}
            for row in rows
            for tumour in row["tumours"]
        ]
    )
    table["centroid_error_mm"] = table.get("centroid_error_mm", np.nan)
    table["mass_effect"] = np.where(table["mass_effect_mm"] > 0, "with", "without")
    found = _methods(rows, table)
    aligned = [{row["scan"] for row in rows if row["method"] == name} for name in found]
    common = set.intersection(*aligned)
    together = _methods([row for row in rows if row["scan"] in common], table[table["scan"].isin(common)])
    published: dict[str, object] = {key: found[name] for key, name in PUBLISHED.items() if name in found}
    for key, name in PEERS.items():
        sides = {"nomask": name, "mask": f"{name}-mask"}
        published[key] = {side: found[one] for side, one in sides.items() if one in found}
    n_scans = len({row["scan"] for row in rows})
    return {
        "data": f"{n_scans} OASIS scans with manual labels, five virtual tumours each, to the embedded atlas",
        "n_scans": n_scans,
        "commits": sorted({str(row["commit"]) for row in rows}),
        "methods": found,
        "side_by_side": {"n_scans": len(common), "methods": together},
        **published,
        "rows": list(rows),
    }


def _methods(rows: Sequence[Mapping[str, Any]], table: pd.DataFrame) -> dict[str, Any]:
    words = {method.name: method.words for method in METHODS}
    found = {}
    for name, part in table.groupby("method", sort=False):
        scans = [row for row in rows if row["method"] == name]
        by = {key: {str(value): figures(group) for value, group in part.groupby(key)} for key in DIVISIONS}
        found[str(name)] = {"words": words[str(name)], **_of_scans(scans), **figures(part), "by": by}
    return found


def figures(part: pd.DataFrame) -> dict[str, object]:
    """Describe some tumours by what is published."""
    numbers: dict[str, object] = {"n": len(part)}
    for name in ("jacobian_ratio", "volume_factor", "volume_vs_control"):
        numbers[f"{name}_mean"] = round(float(part[name].mean()), 4)
        numbers[f"{name}_sd"] = round(float(part[name].std(ddof=0)), 4)
    known = part.dropna(subset=["centroid_error_mm"])  # rows of earlier versions tell the middle alone
    beyond = known["centroid_error_mm"] - known["ring_error_mm"]
    middle = part["middle_error_mm"] - part["ring_error_mm"]
    return {
        **numbers,
        "n_centroids": len(known),
        "centroid_error_mm_median": _median(known["centroid_error_mm"]),
        "centroid_beyond_ring_mm_median": _median(beyond),
        "middle_beyond_ring_mm_median": _median(middle),
        "overlap_mean": round(float(part["overlap"].mean()), 4),
        "lost": int(part["lost"].sum()),
    }


def _median(values: pd.Series) -> float | None:
    return round(float(values.median()), 3) if len(values) else None


def _of_scans(scans: Sequence[Mapping[str, Any]]) -> dict[str, object]:
    change = [row["dsc_mean"] - row["control_dsc_mean"] for row in scans]
    return {
        "n_scans": len(scans),
        "dsc_mean": round(float(np.mean([row["dsc_mean"] for row in scans])), 4),
        "dsc_change_mean": round(float(np.mean(change)), 4),
    }
