import numpy as np
import pandas as pd
import pytest
from scipy.stats import poisson

from bidsapp.statistics.shrinkage import RATIO_COLUMNS, gamma_prior, ratio_table

FRACTIONS = pd.Series({"A": 0.5, "B": 0.3, "C": 0.15, "D": 0.05})


def table(*counts: int, fractions: pd.Series = FRACTIONS) -> pd.DataFrame:
    return ratio_table(pd.Series(counts, index=fractions.index), fractions).set_index("region")


def test_the_ends_of_the_poisson_interval_have_a_fortieth_in_each_tail() -> None:
    row, expected = table(60, 20, 15, 5).loc["B"], 30
    assert poisson.sf(19, row["poisson_ratio_low"] * expected) == pytest.approx(0.025)
    assert poisson.cdf(20, row["poisson_ratio_high"] * expected) == pytest.approx(0.025)


def test_no_lesion_leaves_a_low_end_of_zero() -> None:
    row = table(60, 25, 15, 0).loc["D"]
    assert row["poisson_ratio_low"] == 0
    assert row["poisson_ratio_high"] * 5 == pytest.approx(-np.log(0.025))


def test_every_ratio_moves_towards_the_common_one_and_small_regions_more() -> None:
    found = table(800, 900, 150, 150)["shrunken_ratio"]
    raw = pd.Series({"A": 0.8, "B": 1.5, "C": 0.5, "D": 1.5})
    assert ((found - 1).abs() < (raw - 1).abs()).all()
    assert raw["D"] - found["D"] > raw["B"] - found["B"]


def test_regions_that_differ_no_more_than_by_chance_share_one_ratio() -> None:
    found = table(50, 30, 15, 5)
    assert found["shrunken_ratio"].tolist() == pytest.approx([1] * 4, abs=1e-3)


def test_the_prior_of_many_simulated_regions_is_found() -> None:
    rng = np.random.default_rng(0)
    expected = rng.uniform(1, 30, 20_000)
    observed = rng.poisson(expected * rng.gamma(3.0, 1 / 2.0, len(expected)))
    assert gamma_prior(observed, expected) == pytest.approx((3.0, 2.0), rel=0.05)


@pytest.mark.parametrize("counts", [(0, 0, 0, 0), (1, 0, 0, 0), (5, 2, 2, 0)])
def test_hardly_any_lesions_are_not_shrunk(counts: tuple[int, ...]) -> None:
    found = table(*counts)
    assert found.filter(like="shrunken").isna().all(axis=None)
    assert found["poisson_ratio_high"].notna().all() == any(counts)


def test_a_region_without_volume_has_no_ratio_and_spoils_no_other() -> None:
    fractions = pd.Series({**FRACTIONS, "E": 0.0})
    found = table(50, 40, 15, 5, 3, fractions=fractions)
    assert found.loc["E", list(RATIO_COLUMNS)].isna().all()
    assert found.drop(index="E").notna().all(axis=None)
