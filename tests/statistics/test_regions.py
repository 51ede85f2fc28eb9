import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bidsapp.errors import DataError, UsageError
from bidsapp.statistics.regions import RegionSettings, omnibus_test, region_table, volume_fractions

NUMBERS = ["ratio", "ratio_low", "ratio_high", "chi2", "z", "chi2_p_value", "exact_p_value"]
FRACTIONS = pd.Series({"A": 0.1, "B": 0.3, "C": 0.6, "Nowhere": 0.0})


def counts(*values: int) -> pd.Series:
    return pd.Series(values, index=FRACTIONS.index)


def test_no_lesions_give_a_row_a_region_and_no_number() -> None:
    table = region_table(counts(0, 0, 0, 0), FRACTIONS)
    assert table[[*NUMBERS, "bonferroni_p_value"]].isna().all(axis=None)
    assert table["reason"].eq("no lesions").all()
    assert not table["tested"].any()
    assert not table["significant"].any()
    assert table["n_expected"].eq(0).all()


@pytest.mark.parametrize("values", [(1, 0, 0, 0), (0, 1, 1, 0)])
def test_one_or_two_lesions_give_exact_p_values_and_no_verdict(values: tuple[int, ...]) -> None:
    table = region_table(counts(*values), FRACTIONS)
    there = table[table["region"] != "Nowhere"]
    assert there[NUMBERS].notna().all(axis=None)
    assert there["exact_p_value"].between(0, 1).all()
    assert table["bonferroni_p_value"].isna().all()
    assert not table["tested"].any()
    assert there["reason"].eq("fewer than 10 lesions").all()


def test_one_lesion_has_the_exact_p_value_of_one_draw() -> None:
    assert region_table(counts(1, 0, 0, 0), FRACTIONS).loc[0, "exact_p_value"] == pytest.approx(0.1)


def test_a_region_without_volume_has_no_numbers_even_when_lesions_lie_in_it() -> None:
    table = region_table(counts(10, 30, 60, 3), FRACTIONS).set_index("region")
    assert table.loc["Nowhere", NUMBERS].isna().all()
    assert "yet lesions lie in it" in table.loc["Nowhere", "reason"]
    assert not table.loc["Nowhere", "tested"]


def test_only_regions_with_enough_lesions_are_tested_and_corrected_for() -> None:
    table = region_table(counts(30, 9, 61, 0), FRACTIONS, RegionSettings(minimum_count=10)).set_index(
        "region"
    )
    assert table["tested"].to_dict() == {"A": True, "B": False, "C": True, "Nowhere": False}
    assert table.loc["A", "bonferroni_p_value"] == pytest.approx(2 * table.loc["A", "chi2_p_value"])
    assert np.isnan(table.loc["B", "bonferroni_p_value"])
    assert table.loc["B", "exact_p_value"] < 1e-4


@given(st.lists(st.integers(0, 60), min_size=3, max_size=3).filter(any))
def test_chi_square_is_z_squared_and_expected_counts_add_up(values: list[int]) -> None:
    table = region_table(counts(*values, 0), FRACTIONS)
    there = table[table["region"] != "Nowhere"]
    np.testing.assert_allclose(there["chi2"], there["z"] ** 2, rtol=1e-9, atol=1e-12)
    assert table["n_expected"].sum() == pytest.approx(sum(values))
    assert (there["ratio_low"] <= there["ratio"] + 1e-12).all()
    assert (there["ratio"] <= there["ratio_high"] + 1e-12).all()


@given(st.permutations(range(4)))
def test_the_order_of_regions_changes_nothing(order: list[int]) -> None:
    plain = region_table(counts(12, 30, 58, 0), FRACTIONS)
    shuffled = region_table(counts(12, 30, 58, 0).iloc[order], FRACTIONS)
    pd.testing.assert_frame_equal(plain.iloc[order].reset_index(drop=True), shuffled)


def test_the_omnibus_pools_regions_that_expect_fewer_than_five() -> None:
    fractions = pd.Series({"A": 0.5, "B": 0.44, "C": 0.03, "D": 0.03})
    observed = pd.Series({"A": 60, "B": 30, "C": 5, "D": 5})
    result = omnibus_test(observed, fractions)
    assert result.cells == ("A", "B", "Other")
    assert result.chi2 == pytest.approx(10**2 / 50 + 14**2 / 44 + 4**2 / 6)


def test_the_omnibus_lets_another_region_join_when_the_rest_stays_small() -> None:
    fractions = pd.Series({"A": 0.7, "B": 0.26, "C": 0.04})
    assert omnibus_test(pd.Series({"A": 70, "B": 26, "C": 4}), fractions).cells == ("A", "Other")


@pytest.mark.parametrize("n_lesions", [0, 1, 2])
def test_the_omnibus_of_hardly_any_lesions_says_why_there_is_none(n_lesions: int) -> None:
    result = omnibus_test(counts(0, n_lesions, 0, 0), FRACTIONS)
    assert result.p_value is None
    assert result.chi2 is None
    assert result.reason == "too few lesions for two cells"


def test_the_omnibus_refuses_to_divide_by_an_empty_cell() -> None:
    result = omnibus_test(counts(5, 5, 5, 1), FRACTIONS, cells=["Nowhere"])
    assert (result.p_value, result.reason) == (None, "a cell expects no lesion")


@pytest.mark.parametrize("volumes", [{"A": -1.0, "B": 2.0}, {"A": 0.0}, {"A": np.nan, "B": 1.0}])
def test_impossible_volumes_are_refused(volumes: dict[str, float]) -> None:
    with pytest.raises(DataError, match="region volumes must be at least 0"):
        volume_fractions(pd.Series(volumes))


def test_counts_and_fractions_of_other_regions_are_refused() -> None:
    with pytest.raises(DataError, match="must name the same regions"):
        region_table(pd.Series({"A": 1}), FRACTIONS)
    with pytest.raises(DataError, match="whole numbers"):
        region_table(counts(1, 1, 1, 1) * 0.5, FRACTIONS)
    with pytest.raises(DataError, match="must be probabilities"):
        region_table(counts(1, 1, 1, 1), FRACTIONS * 2)


def test_an_alpha_beyond_one_is_refused() -> None:
    with pytest.raises(UsageError, match="alpha and confidence must lie between 0 and 1"):
        RegionSettings(alpha=5)


def test_cells_that_are_no_regions_are_refused() -> None:
    with pytest.raises(DataError, match="cells must be among the regions"):
        omnibus_test(counts(5, 5, 5, 0), FRACTIONS, cells=["Putamen"])
