"""python -m benchmark.compare OLD NEW: which means over the same scans changed by more than noise."""

import argparse
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from benchmark.summary import load_json
from bidsapp.errors import DataError, MetsAtlasError

Word = Literal["better", "worse", "within noise"]

HIGHER_IS_BETTER = ("dice_affine_mean", "dice_mean")
LOWER_IS_BETTER = (
    "assd_mm_mean", "hd95_mm_mean", "folded_fraction", "ndv_percent", "sd_log_jacobian",
    "inverse_error_mm_p99", "wall_seconds",
)  # fmt: skip
LEAST_CHANGE: Mapping[str, float] = {"dice_affine_mean": 0.001, "dice_mean": 0.001, "folded_fraction": 1e-6}
"""Changes below this are none, however regular; 1 % of the old mean where nothing is said."""

LEAST_SHARE: Mapping[str, float] = {"wall_seconds": 0.1}
"""The same as a share of the old mean: clocks of shared machines wander."""

logger = logging.getLogger("benchmark")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one measurement.

    Parameters
    ----------
    metric
        Column of the scans' table.
    before, after
        Mean over the scans that both results have.
    noise
        Changes up to this are noise: two standard errors of the paired differences, or the least change.
    word
        The verdict.
    """

    metric: str
    before: float
    after: float
    noise: float
    word: Word


def compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[Verdict, ...]:
    """Judge every measurement over the scans that both results have, pair by pair.

    Raises
    ------
    DataError
        If no scan is in both.
    """
    before, after = ({row["scan"]: row for row in result.get("subjects", ())} for result in (old, new))
    scans = sorted(before.keys() & after.keys())
    if not scans:
        raise DataError("two results that share scans are needed, such as real.json of two commits")
    verdicts = []
    for metric in (*HIGHER_IS_BETTER, *LOWER_IS_BETTER):
        if all(metric in rows[scan] for rows in (before, after) for scan in scans):
            pairs = np.array([[before[scan][metric], after[scan][metric]] for scan in scans], np.float64)
            verdicts.append(judge(metric, pairs))
    return tuple(verdicts)


def judge(metric: str, pairs: np.ndarray) -> Verdict:
    """Judge one measurement from its (n, 2) values before and after."""
    before, after = (float(mean) for mean in pairs.mean(axis=0))
    change = pairs[:, 1] - pairs[:, 0]
    error = float(change.std(ddof=1)) / len(change) ** 0.5 if len(change) > 1 else 0.0
    least = LEAST_CHANGE.get(metric, LEAST_SHARE.get(metric, 0.01) * abs(before))
    noise = max(2 * error, least)
    gain = (after - before) * (1 if metric in HIGHER_IS_BETTER else -1)
    word: Word = "within noise" if abs(gain) <= noise else "better" if gain > 0 else "worse"
    return Verdict(metric, before, after, noise, word)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the verdicts; the exit status is 1 if anything is worse."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(prog="python -m benchmark.compare", description=__doc__)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    options = parser.parse_args(arguments)
    try:
        verdicts = compare(load_json(options.old), load_json(options.new))
    except MetsAtlasError as error:
        logger.error("%s", error)  # noqa: TRY400 (one clear line, no traceback)
        return error.exit_status
    for each in verdicts:
        print(f"{each.metric:22} {each.before:10.4g} -> {each.after:10.4g}  (±{each.noise:.2g})  {each.word}")
    return int(any(each.word == "worse" for each in verdicts))


if __name__ == "__main__":
    sys.exit(main())
