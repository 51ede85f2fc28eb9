import numpy as np
import pytest
from scipy.stats import kstest, truncnorm

from bidsapp.errors import UsageError
from bidsapp.statistics.jitter import JITTER_COLUMNS, JitterSettings, jitter_table, shifts_mm


def halves(points_mm: np.ndarray) -> np.ndarray:
    """Left of x = 0, right up to 10 mm, nothing beyond."""
    names = np.where(points_mm[:, 0] < 0, "left", "right").astype(object)
    names[points_mm[:, 0] > 10] = None
    return names


def test_shifts_have_the_stated_length_and_no_direction() -> None:
    shifts = shifts_mm(40_000, np.random.default_rng(0))
    lengths = np.linalg.norm(shifts, axis=1)
    assert kstest(lengths, truncnorm(-2, np.inf, loc=1, scale=0.5).cdf).pvalue > 0.01
    assert lengths.mean() == pytest.approx(1.0276, abs=0.01)
    np.testing.assert_allclose(shifts.mean(axis=0), 0, atol=0.02)
    np.testing.assert_allclose(np.corrcoef(shifts.T), np.eye(3), atol=0.03)


def test_without_a_shift_the_range_is_the_measured_count() -> None:
    points = np.random.default_rng(1).uniform(-10, 12, (50, 3))
    still = JitterSettings(n_replicates=5, mean_mm=0.0, sd_mm=0.0)
    table = jitter_table(points, halves, ["left", "right"], np.random.default_rng(2), still)
    assert list(table.columns) == list(JITTER_COLUMNS)
    for column in ("jitter_mean", "jitter_low", "jitter_high"):
        assert table[column].tolist() == table["n_observed"].tolist()


def test_counts_always_add_up_to_all_lesions() -> None:
    points = np.random.default_rng(3).uniform(-10, 12, (50, 3))
    table = jitter_table(points, halves, ["left", "right"], np.random.default_rng(4))
    assert table["n_observed"].sum() == 50
    assert table["jitter_mean"].sum() == pytest.approx(50)
    assert table["region"].tolist() == ["left", "right", "outside"]


def test_a_point_on_a_flat_border_goes_either_way() -> None:
    points = np.tile([[1e-9, 0.0, 0.0]], (4000, 1))
    table = jitter_table(
        points, halves, ["left", "right"], np.random.default_rng(5), JitterSettings(n_replicates=4)
    )
    assert table.loc[0, "jitter_mean"] == pytest.approx(2000, rel=0.05)


def test_without_lesions_all_counts_are_zero() -> None:
    table = jitter_table(np.zeros((0, 3)), halves, ["left"], np.random.default_rng(6))
    assert table[["n_observed", "jitter_mean", "jitter_high"]].to_numpy().max() == 0


def test_a_length_below_zero_is_refused() -> None:
    with pytest.raises(UsageError, match=r"lengths of at least 0, got 100, -1\.0 mm"):
        JitterSettings(mean_mm=-1.0)
