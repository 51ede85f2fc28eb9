import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, norm

from bidsapp.errors import DataError
from bidsapp.statistics.power import POWER_COLUMNS, needed_lesions, power_of, power_table


@pytest.mark.parametrize(
    ("expected", "ratio", "lesions"),
    [(224, 1.38, 149), (224, 1.2, 543), (194, 0.8, 674), (45, 0.8, 4145), (5, 2, 2051), (5, 4, 280)],
)
def test_the_sample_sizes_of_table_4_are_reproduced_up_to_the_rounding_of_its_counts(
    expected: int, ratio: float, lesions: int
) -> None:
    ends = [needed_lesions((expected + half) / 517, ratio, 0.01 / 8) for half in (0.5, -0.5)]
    assert min(ends) <= lesions <= max(ends)


def test_it_is_the_textbook_formula() -> None:
    null, alternative = 0.2, 0.3
    top = norm.isf(0.005) * np.sqrt(null * 0.8) + norm.isf(0.2) * np.sqrt(alternative * 0.7)
    assert needed_lesions(null, 1.5, 0.01) == int(np.ceil((top / 0.1) ** 2))


@given(st.floats(0.01, 0.4), st.sampled_from([0.3, 0.5, 1.5, 2.0]), st.floats(1, 5))
def test_the_needed_number_has_the_wanted_power(fraction: float, ratio: float, effect: float) -> None:
    needed = needed_lesions(fraction, ratio, 0.001, design_effect=effect)
    assert power_of(fraction, ratio, 0.001, needed, design_effect=effect) == pytest.approx(0.8, abs=0.03)


def test_the_power_is_near_that_of_the_exact_binomial() -> None:
    n, fraction = 500, 0.2
    limits = [binom.isf(0.005, n, fraction), binom.ppf(0.005, n, fraction)]
    exact = binom.sf(limits[0], n, 0.3) + binom.cdf(limits[1] - 1, n, 0.3)
    assert power_of(fraction, 1.5, 0.01, n) == pytest.approx(exact, abs=0.02)


def test_every_region_gets_numbers_or_a_reason() -> None:
    fractions = pd.Series({"large": 0.6, "small": 0.4, "empty": 0.0, "unknown": 0.0001})
    effects = pd.Series({"large": 1.5, "small": 2.0, "unknown": np.nan})
    table = power_table(fractions, effects, 400).set_index("region")
    assert list(table.reset_index().columns) == list(POWER_COLUMNS)
    assert np.isnan(table.loc["large", "power_double"])
    assert table.loc["small", "detectable_ratio_low"] < 1 < table.loc["small", "detectable_ratio_high"]
    assert table.loc["small", "n_lesions_half"] > table.loc["large", "n_lesions_half"]
    assert "no volume" in table.loc["empty", "reason"]
    assert "not known" in table.loc["unknown", "reason"]


def test_without_lesions_nothing_is_detectable_but_the_needed_number_is_known() -> None:
    row = power_table(pd.Series({"A": 0.3, "B": 0.7}), pd.Series({"A": 1.0, "B": 1.0}), 0).iloc[0]
    assert np.isnan(row["detectable_ratio_high"])
    assert row["n_lesions_half"] > 0


def test_no_difference_is_refused() -> None:
    with pytest.raises(DataError, match="a difference to find"):
        needed_lesions(0.6, 2.0, 0.01)
