"""The calibration study as a figure and as tables."""

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from benchmark.figures import AFFINE_COLOUR, FINAL_COLOUR, LINE_COLOUR

NOTE = "<!-- written by python -m benchmark.calibration --docs docs: change the study, not these lines -->"
NOMINAL = 0.01


def _nulls(result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = [part for name, part in result["parts"].items() if name.startswith("null_")]
    return sorted(found, key=lambda part: float(part["paper"]))


def draw_false_findings(result: Mapping[str, Any]) -> Figure:
    """Draw, for every null scenario, the share of cohorts with a false finding by either preset."""
    rows = _nulls(result)
    heights = range(len(rows))
    least = 0.5 / float(result["n_cohorts"])
    paper, ours = ([max(float(row[name]), least) for row in rows] for name in ("paper", "ours"))
    figure = Figure(figsize=(7.6, 1.4 + 0.27 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    axes.hlines(heights, ours, paper, color=LINE_COLOUR, linewidth=2, zorder=1)
    axes.scatter(paper, heights, s=28, color=AFFINE_COLOUR, label="paper preset", zorder=2)
    axes.scatter(ours, heights, s=28, color=FINAL_COLOUR, label="patients kept together", zorder=2)
    axes.axvline(NOMINAL, color="black", linewidth=1, label="nominal")
    axes.set_xscale("log")
    axes.set_xlim(least * 0.8, 1)
    ticks = [0.001, 0.01, 0.1, 1.0]
    axes.set_xticks(ticks, [f"{100 * tick:g} %" for tick in ticks])
    axes.set_yticks(heights, [str(row["words"]) for row in rows], fontsize=8)
    axes.set_xlabel("simulated cohorts without any preference in which a region is called significant")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    figure.legend(loc="outside upper right", ncols=3, frameon=False, fontsize=8)
    return figure


def write_tables(result: Mapping[str, Any]) -> str:
    """Write the study as Markdown."""
    parts, n_cohorts = result["parts"], result["n_cohorts"]
    start = (
        f"False findings: share of {n_cohorts} cohorts without any preference in which some region is called "
        "significant at a nominal 1 %; 209 patients with 521 lesions unless said otherwise."
    )
    rows = [
        f"| {part['words']} | {part['design_effect_min']:.1f} to {part['design_effect_max']:.1f} "
        f"| {_percent(part['paper'])} | {_percent(part['ours'])} |"
        for part in reversed(_nulls(result))
    ]
    lines = [
        NOTE,
        "![False findings in simulated cohorts, by both presets](figures/calibration.svg)",
        *("", start, ""),
        "| lesions of a patient | design effects | paper preset | patients kept together |",
        "|---|---|---|---|",
        *rows,
        *("", "Power: share of cohorts in which a region with the paper's ratio is found.", ""),
        "| region, ratio | paper preset | kept together | paper preset, ICC 0.1 | kept together, ICC 0.1 |",
        "|---|---|---|---|---|",
    ]
    alike = parts["power_icc10"]["regions"]
    for region, one in parts["power_independent"]["regions"].items():
        numbers = (one["paper"], one["ours"], alike[region]["paper"], alike[region]["ours"])
        lines.append(f"| {region}, {one['ratio']:g} | " + " | ".join(map(_percent, numbers)) + " |")
    lines += ["", *_coverage(parts), "", _distances(parts)]
    return "\n".join(lines)


def _coverage(parts: Mapping[str, Any]) -> list[str]:
    """Tell what the cohorts with known enrichment say."""
    lines = []
    for name, words in (("coverage_independent", "independent lesions"), ("coverage_icc10", "ICC 0.1")):
        part = parts[name]
        values = part["coverage"].values()
        found = ", ".join(f"{region} in {_percent(share)}" for region, share in part["found"].items())
        lines.append(
            f"Known enrichment (cortex 1.38, putamen 4, taken from the white matter), {words}, "
            f"{part['n_cohorts']} cohorts: 95 % intervals hold the true ratio in {_percent(min(values))} to "
            f"{_percent(max(values))} of cohorts, by region; found: {found}; any other region in "
            f"{_percent(part['any_other_found'])}."
        )
        lines.append("")
    return lines[:-1]


def _distances(parts: Mapping[str, Any]) -> str:
    one, near = parts["distances_independent"], parts["distances_near20"]
    return (
        "Rank test of the earth mover's distance to the junction, rejections at a nominal 5 %: "
        f"{_percent(one['kept_together'])} of {one['n_cohorts']} cohorts of independent lesions; with half "
        f"of the later lesions 20 mm from an earlier one {_percent(near['kept_together'])} with patients "
        f"kept together and {_percent(near['independent'])} with every lesion independent "
        f"({near['n_cohorts']} cohorts)."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
