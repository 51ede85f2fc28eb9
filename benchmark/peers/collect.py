"""Sum up all turns: one row a tool, and how soon we reach what greedy reaches."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmark.outcomes import sum_up
from benchmark.peers.cases import PAIRS, RACE
from benchmark.peers.tools import FAMILIES, GREEDY_LABELS, Tool
from bidsapp.errors import DataError

Row = Mapping[str, Any]
Rows = Mapping[tuple[str, str], Row]
"""Case and tool name to what was measured."""

MEASURED = (
    "n_structures", "dsc_mean", "dsc_back_mean", "assd_mm_mean", "sd_log_jacobian", "folded_fraction",
    "ndv_percent", "cpu_seconds", "wall_seconds", "process_cpu_seconds", "process_wall_seconds", "peak_gib",
)  # fmt: skip


def collect(rows: Rows, tools: Sequence[Tool], cases: Sequence[str], provenance: Row) -> dict[str, object]:
    """Put all turns together.

    Parameters
    ----------
    rows
        Case and tool name to what was measured; turns that are missing are left out, and counted.
    tools
        In the order of the table.
    cases
        All there are.
    provenance
        Of the run that collects.

    Raises
    ------
    DataError
        If there is nothing to collect.
    """
    if not rows:
        raise DataError("there must be a result to collect: measure at least one tool on one case")
    due = sum(tool.works_on(case) for tool in tools for case in cases)
    n_scans = len([case for case in cases if case not in PAIRS])
    return {
        "case": "peers",
        "sloppy": len(rows) < due,
        "provenance": {**provenance, "versions": {**provenance["versions"], **_versions(rows)}},
        "data": f"{len(PAIRS)} pairs of OASIS scans and {n_scans} scans to the embedded atlas, manual labels",
        "n_turns": len(rows),
        "n_turns_due": due,
        "tools": [_sum_up_tool(tool, rows, cases) for tool in tools],
        "vs_greedy_label": race(rows, tools),
        "rows": [_short(row) for row in rows.values()],
    }


def race(rows: Rows, tools: Sequence[Tool]) -> dict[str, object] | None:
    """Find the least CPU-seconds in which we reach the label-driven Dice of greedy, in both directions.

    Returns
    -------
    race
        None if greedy or all of ours are missing; without a ratio if none of ours reaches it.
    """
    greedy = rows.get((RACE, GREEDY_LABELS.name))
    ours = [rows[RACE, tool.name] for tool in tools if tool.family == "ours" and (RACE, tool.name) in rows]
    if greedy is None or not ours:
        return None
    found: dict[str, object] = {
        "n": 1,
        "pair": RACE,
        "greedy": greedy["tool"],
        "greedy_dsc_mean": greedy["dsc_mean"],
        "greedy_dsc_back_mean": greedy["dsc_back_mean"],
        "greedy_cpu_seconds": greedy["cpu_seconds"],
    }
    there = [row for row in ours if all(row[key] >= greedy[key] for key in ("dsc_mean", "dsc_back_mean"))]
    if there:
        best = min(there, key=lambda row: float(row["cpu_seconds"]))
        found |= {
            "ours": best["tool"],
            "dsc_mean": best["dsc_mean"],
            "dsc_back_mean": best["dsc_back_mean"],
            "cpu_seconds": best["cpu_seconds"],
            "cpu_ratio_at_equal_dice": round(best["cpu_seconds"] / greedy["cpu_seconds"], 4),
        }
    return found


def _sum_up_tool(tool: Tool, rows: Rows, cases: Sequence[str]) -> dict[str, object]:
    mine = {case: rows[case, tool.name] for case in cases if (case, tool.name) in rows}
    kinds = {
        "pairs": [case for case in mine if case in PAIRS],
        "atlas": [case for case in mine if case not in PAIRS],
    }
    return {
        "name": tool.name,
        "program": FAMILIES[tool.family],
        "words": tool.words,
        "drive": tool.drive,
        **{
            kind: {"n": len(names), **sum_up([{key: mine[name][key] for key in MEASURED} for name in names])}
            for kind, names in kinds.items()
        },
    }


def _short(row: Row) -> dict[str, object]:
    return {key: row[key] for key in ("case", "tool", *MEASURED, "threads", "machine")}


def _versions(rows: Rows) -> dict[str, str]:
    """List the versions of all programs.

    Raises
    ------
    DataError
        If a program was changed between two turns.
    """
    found: dict[str, str] = {}
    for row in rows.values():
        for name, version in row["versions"].items():
            if found.setdefault(name, version) != version:
                raise DataError(
                    f"one run must use one version of {name}, got {found[name]} and {version}: delete the "
                    "results of single turns and measure again"
                )
    return found
