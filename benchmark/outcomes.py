"""Read what a run of the app left: its tables, its log, and numbers summed up."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from bidsapp.atlas.builtin import NAME as ATLAS
from bidsapp.bids.names import Kind, LogKind, find_outputs, latest_log, parse_scan, scan_name
from bidsapp.bids.save import load_table
from bidsapp.errors import DataError

_COMPLAINT = re.compile(r" ERROR bidsapp\.cli: (sub-[^\s:]+): (.+)$")


def registration_rows(out: Path) -> list[dict[str, object]]:
    """Read the figures of each scan's alignment, and how long it took."""
    rows: list[dict[str, object]] = []
    for path in find_outputs(out, Kind.REGISTRATION_METRICS, ATLAS):
        subject, entities = parse_scan(path)
        status = latest_log(out, subject, entities, LogKind.STATUS)
        if status is None:
            raise DataError(f"{path.name} has no status beside it: the scan is not done")
        measured = {str(name): value for name, value in load_table(path).iloc[0].items()}
        wall_seconds = json.loads(status.read_text(encoding="utf-8"))["seconds"]
        rows.append({"scan": scan_name(subject, entities), **measured, "wall_seconds": wall_seconds})
    return rows


def lesion_rows(out: Path) -> pd.DataFrame:
    """Join the lesion tables of all scans; ``path`` tells which each row comes from."""
    tables = [load_table(path).assign(path=str(path)) for path in lesion_tables(out)]
    tables = [table for table in tables if len(table)]
    if not tables:
        raise DataError(f"{out} holds no lesion: the implanted ones must be found")
    return pd.concat(tables, ignore_index=True)


def lesion_tables(out: Path) -> tuple[Path, ...]:
    """List the lesion tables of all scans."""
    return find_outputs(out, Kind.LESION_METRICS, ATLAS)


def complaints(out: Path) -> dict[str, str]:
    """Read from the newest log what was said of each scan that could not be worked on."""
    log = max((out / "logs").glob("metsatlas_*.log"), default=None)
    lines = log.read_text(encoding="utf-8").splitlines() if log else []
    found = [match.groups() for line in lines if (match := _COMPLAINT.search(line))]
    return {name: text.replace(f"{out.parent}/", "") for name, text in found}


def sum_up(rows: Sequence[Mapping[str, object]]) -> dict[str, dict[str, float | int]]:
    """Sum up every numeric column over the rows."""
    table = pd.DataFrame([dict(row) for row in rows]).select_dtypes("number")
    return {str(name): describe(table[name].to_numpy(np.float64)) for name in table.columns}


def describe(values: np.ndarray) -> dict[str, float | int]:
    """Sum up numbers; those that are missing are left out, and n counts the others.

    The standard deviation is that of a sample, NaN for fewer than two.
    """
    there = values[~np.isnan(values)]
    if not len(there):
        return {"n": 0}
    return {
        "n": len(there),
        "mean": _short(there.mean()),
        "sd": _short(there.std(ddof=1)) if len(there) > 1 else float("nan"),
        "min": _short(there.min()),
        "median": _short(np.median(there)),
        "p90": _short(np.percentile(there, 90)),
        "max": _short(there.max()),
    }


def _short(value: float) -> float:
    """Keep six significant digits, as the app's tables do."""
    return float(f"{value:.6g}")
