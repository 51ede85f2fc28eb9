"""python -m benchmark.summary: one list of the project's figures, from all results."""

import argparse
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.measure import RESULTS
from bidsapp.bids.save import save_json
from bidsapp.errors import DataError, MetsAtlasError, MissingInputError

NAME = "summary.json"

logger = logging.getLogger("benchmark")


@dataclass(frozen=True, slots=True)
class Figure:
    """One published number and where it comes from.

    Parameters
    ----------
    name
        ``case.what``, never changed once published.
    words
        What it is, for readers.
    unit
        "1" for a pure number.
    value, n
        Where value and sample size stand in the result of the case, keys joined by dots.
    case
        Whose result it is read from, if that is not what the name begins with.
    """

    name: str
    words: str
    unit: str
    value: str
    n: str
    case: str = ""

    @property
    def source(self) -> str:
        """The result it is read from: the file of its case."""
        return f"{self.case or self.name.partition('.')[0]}.json"


_OF_A_PRESET: tuple[tuple[str, str, str], ...] = (
    ("dsc_mean", "Dice, mean", "1"),
    ("assd_mm_mean", "average surface distance, mean", "mm"),
    ("sd_log_jacobian_mean", "spread of the log Jacobian, mean", "1"),
    ("folded_fraction_max", "folded share of the brain, worst scan", "1"),
    ("ndv_percent_max", "non-diffeomorphic volume, worst scan", "%"),
    ("inverse_error_mm_p99_max", "inverse error at the 99th percentile, worst scan", "mm"),
    ("cpu_seconds_median", "processor time on one thread, median", "s"),
    ("peak_gib_max", "memory, worst scan", "GiB"),
)

_OF_TUMOURS: tuple[tuple[str, str, str], ...] = (
    ("jacobian_ratio_mean", "growth against the 10 mm around, mean", "1"),
    ("jacobian_ratio_sd", "growth against the 10 mm around, standard deviation", "1"),
    ("volume_factor_mean", "volume after both steps over that after the affine step, mean", "1"),
    ("volume_factor_sd", "volume after both steps over that after the affine step, standard deviation", "1"),
    ("volume_vs_control_mean", "growth against the same place without tumour, mean", "1"),
    ("volume_vs_control_sd", "growth against the same place without tumour, standard deviation", "1"),
    ("centroid_error_mm_median", "centroid against where the control sends it, median", "mm"),
    ("lost", "tumours of which nothing arrives", "1"),
)
_TUMOUR_METHODS: tuple[tuple[str, str], ...] = (
    ("mask", "Tumours, with mask"),
    ("nomask", "Tumours, without mask"),
    ("greedy.mask", "Tumours, greedy with mask"),
    ("greedy.nomask", "Tumours, greedy without mask"),
)
_NETWORKS: tuple[tuple[str, str], ...] = (
    ("general", "General model alone"),
    ("overfitted", "Network over-fitted from the general model"),
    ("overfitted_paper", "The same by the paper's objective"),
    ("field", "Field over-fitted from nothing, beside them"),
)
_ON_A_CARD: tuple[tuple[str, str, str], ...] = (
    ("seconds_median", "default, from loaded arrays to final fields, median", "s"),
    ("over_floor", "default, updates alone over the time of the bytes they must move", "1"),
    ("speedup_vs_network", "default against the published network's 1,500 updates, extrapolated", "1"),
    ("peak_gib", "default, whole grid of the atlas, memory", "GiB"),
    ("agreement_mm_p99", "displacements against the processor's, 99th percentile, worst preset", "mm"),
)


def _n_of(of_tumours: str) -> str:
    """Name what tells how many tumours a figure is of."""
    return "n_centroids" if of_tumours.startswith("centroid") else "n"


FIGURES: tuple[Figure, ...] = (
    *(
        Figure(f"engine.{preset}.{key}", f"{preset}: {words}", unit, f"{preset}.{key}", f"{preset}.n_scans")
        for preset in ("fast", "default", "best")
        for key, words, unit in _OF_A_PRESET
    ),
    *(
        Figure(f"tumour.{method}.{key}", f"{who}: {words}", unit, f"{method}.{key}", f"{method}.{_n_of(key)}")
        for method, who in _TUMOUR_METHODS
        for key, words, unit in _OF_TUMOURS
    ),
    Figure(
        "real.affine.dsc_mean", "Dice after the affine step, mean",
        "1", "aggregates.dice_affine_mean.mean", "n_subjects",
    ),
    Figure(
        "real.final.dsc_mean", "Dice after both steps, mean",
        "1", "aggregates.dice_mean.mean", "n_subjects",
    ),
    Figure(
        "real.final.dsc_min", "Dice after both steps, worst scan",
        "1", "aggregates.dice_mean.min", "n_subjects",
    ),
    Figure(
        "real.final.folded_fraction_max", "Folded share of the brain, worst scan",
        "1", "aggregates.folded_fraction.max", "n_subjects",
    ),
    Figure("real.subjects", "Real scans aligned", "1", "n_subjects", "n_subjects"),
    Figure(
        "virtual.centre_error_mm_median", "Lesion centre in the atlas against the truth, median",
        "mm", "errors.centre_error_mm.median", "n_lesions",
    ),
    Figure(
        "engine.heldout_structures.dsc_mean", "Dice of structures that drove nothing, both directions",
        "1", "heldout_structures.dsc_mean", "heldout_structures.n", case="heldout",
    ),
    Figure(
        "engine.heldout_structures.greedy_dsc_mean", "The same with greedy, labels and T1w",
        "1", "heldout_structures.greedy_dsc_mean", "heldout_structures.n", case="heldout",
    ),
    Figure(
        "engine.vs_greedy_label.cpu_ratio_at_equal_dice",
        "CPU-seconds to the Dice of greedy with labels, share of greedy's",
        "1", "vs_greedy_label.cpu_ratio_at_equal_dice", "vs_greedy_label.n", case="peers",
    ),
    Figure(
        "scale.dispatch_ms_per_subject", "What the app itself costs a scan, 1,000 on two processes",
        "ms", "dispatch.ms_per_subject", "dispatch.n_subjects",
    ),
    Figure(
        "scale.index_3000_subjects_seconds", "Finding one participant's files among 3,000",
        "s", "index.seconds", "index.n_repeats",
    ),
    Figure("container.image_mib", "Image for processors", "MiB", "image.mib", "image.n"),
    Figure(
        "faults.kill9_lost", "Files lost by runs killed at random moments, then run again",
        "1", "kill9.lost", "kill9.n_kills",
    ),
    Figure(
        "stats.fwer_ours_max", "False findings at a nominal 1 %, worst null scenario, patients kept together",
        "1", "fwer_ours_max", "n_cohorts", "calibration",
    ),
    Figure(
        "stats.fwer_paper_max", "The same by the paper preset",
        "1", "fwer_paper_max", "n_cohorts", "calibration",
    ),
    Figure(
        "stats.emd_rejection_at_05", "Rank test of the earth mover's distance, rejections at a nominal 5 %",
        "1", "emd_rejection_at_05", "n_distances", "calibration",
    ),
    Figure(
        "stats.coverage_min", "Coverage of the 95 % intervals of ratios, worst region",
        "1", "coverage_min", "n_coverage", "calibration",
    ),
    Figure(
        "stats.group_25k.seconds", "Group of 5,000 patients with 25,000 lesions, without maps",
        "s", "largest.seconds", "largest.n_lesions", "group_scale",
    ),
    Figure(
        "stats.group_25k.peak_gib", "The same, memory",
        "GiB", "largest.peak_gib", "largest.n_lesions", "group_scale",
    ),
    *(
        Figure(f"network.{key}.dsc_mean", f"{words}: Dice, mean", "1", f"{key}.dsc_mean", f"{key}.n")
        for key, words in _NETWORKS
    ),
    Figure(
        "network.general.gain_over_affine", "General model, scans it never saw: Dice above the affine step's",
        "1", "general.gain_over_affine", "general.n_unseen",
    ),
    *(
        Figure(
            f"engine.gpu.{key}", f"CUDA card: {words}",
            unit, f"figures.{key}.value", f"figures.{key}.n", "gpu",
        )
        for key, words, unit in _ON_A_CARD
    ),
    Figure("demo.wall_seconds", "`make demo`, from clone to reports", "s", "run.wall_seconds", "n"),
)  # fmt: skip
"""To publish another number, add a line: everything else follows from it."""


def load_results(folder: Path) -> dict[str, Mapping[str, object]]:
    """Read every result the figures come from, as far as it is there.

    Raises
    ------
    DataError
        If one is no JSON object, or was measured with ``--sloppy``.
    """
    found: dict[str, Mapping[str, object]] = {}
    for name in dict.fromkeys(figure.source for figure in FIGURES):
        path = folder / name
        if not path.is_file():
            continue
        found[name] = load_json(path)
        if found[name].get("sloppy"):
            raise DataError(f"{name} must not be published: it was measured with --sloppy, measure again")
    return found


def load_json(path: Path) -> Mapping[str, object]:
    """Read one JSON object.

    Raises
    ------
    MissingInputError
        If there is no such file.
    DataError
        If it holds something else.
    """
    if not path.is_file():
        raise MissingInputError(f"no {path.name} in {path.parent}: measure first")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} must be JSON: {error}; measure again") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} must hold an object, got {type(content).__name__}; measure again")
    return content


def collect(results: Mapping[str, Mapping[str, object]]) -> dict[str, dict[str, object]]:
    """List the figures whose results are there.

    Parameters
    ----------
    results
        File name to content.

    Raises
    ------
    DataError
        If a result lacks what a figure is read from and does not say which of its parts are missing.
    """
    return {
        figure.name: {
            "value": _look_up(results[figure.source], figure.value, figure.source),
            "unit": figure.unit,
            "n": _look_up(results[figure.source], figure.n, figure.source),
            "source": figure.source,
            "command": _look_up(results[figure.source], "provenance.command", figure.source),
        }
        for figure in FIGURES
        if figure.source in results and _is_measured(figure, results[figure.source])
    }


def _is_measured(figure: Figure, result: Mapping[str, object]) -> bool:
    """Tell whether a result has a figure; one of a run that was cut short says what it lacks."""
    if not result.get("missing"):
        return True
    group, name = figure.value.split(".")[:2]
    part = result.get(group)
    return isinstance(part, Mapping) and name in part


def _look_up(result: Mapping[str, object], keys: str, source: str) -> object:
    """Follow keys joined by dots."""
    found: object = result
    for key in keys.split("."):
        if not isinstance(found, Mapping) or found.get(key) is None:
            raise DataError(f"{source} must hold {keys}, but has no {key}: measure again")
        found = found[key]
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the list and return the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(prog="python -m benchmark.summary", description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER")
    folder = parser.parse_args(arguments).results
    try:
        figures = collect(load_results(folder))
        if not figures:
            raise MissingInputError(f"no result in {folder}: run python -m benchmark.measure first")
        save_json(figures, folder / NAME)
    except MetsAtlasError as error:
        logger.error("%s", error)  # noqa: TRY400 (one clear line, no traceback)
        return error.exit_status
    logger.info("%d figures", len(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
