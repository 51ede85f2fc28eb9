"""Sum up the methods of `benchmark.network`: scans without and with tumours, and those never seen."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from benchmark.network_methods import FIELD, GENERAL, OVERFITTED, OVERFITTED_PAPER
from benchmark.network_scores import MEASURES
from benchmark.outcomes import describe
from benchmark.tumours_methods import AFFINE, Method
from bidsapp.errors import DataError

PUBLISHED: Mapping[str, str] = {
    "general": GENERAL,
    "overfitted": OVERFITTED,
    "overfitted_paper": OVERFITTED_PAPER,
    "field": FIELD,
}
SIDES: Mapping[str, str] = {"healthy": "scans without tumours", "patients": "scans with tumours"}
OF_TUMOURS = ("volume_factor", "jacobian_ratio")

Row = Mapping[str, Any]


def sum_up(rows: Sequence[Row], methods: Sequence[Method], unseen: Collection[str]) -> dict[str, Any]:
    """Put all turns together.

    Means and standard deviations are over structures and scans together, those of tumours over tumours.

    Parameters
    ----------
    rows
        One a method and scan.
    methods
        In the order of the table.
    unseen
        Scans that the general model never saw.

    Raises
    ------
    DataError
        If there is nothing to sum up.
    """
    if not rows:
        raise DataError("there must be a result to sum up: measure at least one method on one scan")
    scans = sorted({row["scan"] for row in rows})
    found: dict[str, Any] = {}
    for method in methods:
        mine = [row for row in rows if row["method"] == method.name]
        if mine:
            fresh = [row for row in mine if row["scan"] in unseen]
            found[method.name] = {
                "words": method.words,
                **{side: figures([row[side] for row in mine]) for side in SIDES},
                "unseen": {side: figures([row[side] for row in fresh]) for side in SIDES} if fresh else None,
            }
    return {
        "data": f"{len(scans)} OASIS scans with manual labels, and the same with five virtual tumours each, "
        "to the embedded atlas",
        "n_scans": len(scans),
        "unseen": sorted(set(scans) & set(unseen)),
        "commits": sorted({row["commit"] for row in rows}),
        "methods": found,
        **_published(found),
        "rows": [_short(row) for row in rows],
    }


def figures(parts: Sequence[Row]) -> dict[str, Any]:
    """Describe some scans by what is published."""
    numbers: dict[str, Any] = {"n": len(parts)}
    for name in MEASURES:
        numbers |= _spread(name, [value for part in parts for value in part[name]])
        numbers[f"{name}_sd_over_scans"] = describe(np.array([_mean(part[name]) for part in parts]))["sd"]
    numbers["folded_fraction_mean"] = float(np.mean([part["folded_fraction"] for part in parts]))
    tumours = [tumour for part in parts for tumour in part.get("tumours", ())]
    if tumours:
        numbers["n_tumours"] = len(tumours)
        numbers["lost"] = sum(tumour["lost"] for tumour in tumours)
        for name in OF_TUMOURS:
            numbers |= _spread(name, [tumour[name] for tumour in tumours])
    for name in ("cpu_seconds", "wall_seconds"):
        numbers[f"{name}_median"] = round(float(np.median([part[name] for part in parts])), 2)
    return numbers


def _published(found: Mapping[str, Any]) -> dict[str, Any]:
    """Give what the list of figures reads; the gain only where there are scans the model never saw."""
    published: dict[str, Any] = {
        key: {"n": found[name]["healthy"]["n"], "dsc_mean": found[name]["healthy"]["dsc_mean"]}
        for key, name in PUBLISHED.items()
        if name in found
    }
    general, affine = (found.get(name, {}).get("unseen") for name in (GENERAL, AFFINE.name))
    if general and affine:
        there, before = general["healthy"], affine["healthy"]
        gain = round(there["dsc_mean"] - before["dsc_mean"], 5)
        published["general"] |= {"gain_over_affine": gain, "n_unseen": there["n"]}
    return published


def _spread(name: str, values: Sequence[float | None]) -> dict[str, Any]:
    described = describe(np.array(values, dtype=np.float64))
    sd = described["sd"] if described["n"] > 1 else None
    return {f"{name}_mean": described.get("mean"), f"{name}_sd": sd}


def _mean(values: Sequence[float | None]) -> float:
    return float(np.nanmean(np.array(values, dtype=np.float64)))


def _short(row: Row) -> dict[str, Any]:
    """Keep means in place of the values of every structure."""
    return {
        **{key: row[key] for key in ("scan", "method", "commit")},
        **{
            side: {**row[side], **{name: round(_mean(row[side][name]), 5) for name in MEASURES}}
            for side in SIDES
        },
    }
