"""What counts as a change."""

from typing import Any

import numpy as np
import pytest

from benchmark.compare import compare, judge
from bidsapp.errors import DataError


def test_a_result_does_not_differ_from_itself(real: dict[str, Any]) -> None:
    assert {verdict.word for verdict in compare(real, real)} == {"within noise"}


@pytest.mark.parametrize(
    ("metric", "change", "word"),
    [
        ("dice_mean", 0.02, "better"),
        ("dice_mean", -0.02, "worse"),
        ("dice_mean", 0.0005, "within noise"),
        ("wall_seconds", 5.0, "worse"),
        ("wall_seconds", -0.02, "within noise"),
    ],
)
def test_a_change_of_all_scans_alike_is_judged_by_its_direction(
    metric: str, change: float, word: str
) -> None:
    before = np.array([0.8, 0.85, 0.9])
    assert judge(metric, np.stack([before, before + change], axis=1)).word == word


def test_scans_that_disagree_are_noise() -> None:
    before = np.array([0.8, 0.85, 0.9])
    change = np.array([0.05, -0.04, 0.01])
    verdict = judge("dice_mean", np.stack([before, before + change], axis=1))
    assert verdict.word == "within noise"
    assert verdict.noise == pytest.approx(2 * change.std(ddof=1) / 3**0.5)


def test_results_without_a_common_scan_cannot_be_compared(real: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="share scans"):
        compare(real, {"subjects": []})
