from typing import Any

import numpy as np
import pandas as pd
import pytest

from bidsapp.statistics.beta_binomial import clustered_p_value, sum_distribution
from bidsapp.statistics.clustered import (
    clustered_table,
    largest_design_effect,
)
from bidsapp.statistics.heterogeneity import contingency_test
from bidsapp.statistics.multiple_comparisons import adjust
from bidsapp.statistics.regions import PAPER_CELLS, RegionSettings, omnibus_test, region_table
from tests.statistics.conftest import stratum_counts

SIX_DIGITS = 5e-7
STRATA = ["centre1", "centre2", "centre3", "combined"]


@pytest.mark.parametrize("stratum", STRATA)
@pytest.mark.parametrize("column", ["chi2", "z", "chi2_p_value", "exact_p_value", "ratio"])
def test_every_region_of_table_4_is_reproduced_to_six_digits(
    golden: dict[str, Any], golden_regions: pd.DataFrame, stratum: str, column: str
) -> None:
    observed, fractions = stratum_counts(golden, golden_regions, stratum)
    table = region_table(observed, fractions).set_index("region")
    wanted = golden_regions[golden_regions["stratum"] == stratum].set_index("region")[column]
    np.testing.assert_allclose(table.loc[wanted.index, column], wanted, rtol=SIX_DIGITS, atol=1e-15)


def test_the_paper_preset_tests_four_regions_and_finds_the_papers_three(
    golden: dict[str, Any], golden_regions: pd.DataFrame
) -> None:
    table = region_table(*stratum_counts(golden, golden_regions, "combined")).set_index("region")
    assert set(table.index[table["tested"]]) == {*PAPER_CELLS, "Putamen"}
    assert set(table.index[table["significant"]]) == {"Cerebral White Matter", "Cerebral Cortex", "Putamen"}
    expected = 4 * table.loc["Putamen", "chi2_p_value"]
    assert table.loc["Putamen", "bonferroni_p_value"] == pytest.approx(expected)


def test_centre_2_keeps_white_matter_with_four_tests_and_loses_it_with_35(
    golden_regions: pd.DataFrame,
) -> None:
    p_value = golden_regions.set_index(["stratum", "region"]).loc[
        ("centre2", "Cerebral White Matter"), "chi2_p_value"
    ]
    assert adjust(pd.Series([p_value] + [1.0] * 3), "bonferroni")[0] < 0.01
    assert adjust(pd.Series([p_value] + [1.0] * 34), "bonferroni")[0] > 0.01


def test_the_omnibus_over_four_cells_is_reproduced(golden: dict[str, Any]) -> None:
    for stratum, observed, expected, chi2, p_value in golden["omnibus"]:
        index = [*PAPER_CELLS, "Rest"]
        counts = pd.Series(observed, index=index)
        result = omnibus_test(counts, pd.Series(expected, index=index) / sum(expected), PAPER_CELLS)
        assert result.chi2 == pytest.approx(chi2, rel=1e-6), stratum
        assert result.p_value == pytest.approx(p_value, rel=1e-6), stratum
        assert result.degrees_of_freedom == 3


def test_the_heterogeneity_of_centres_is_reproduced(golden: dict[str, Any]) -> None:
    wanted = golden["heterogeneity"]
    table = pd.DataFrame(wanted["counts"])
    for counts, figures in ((table, wanted), (table.iloc[:2], wanted["first_two_centres"])):
        result = contingency_test(counts)
        assert result.chi2 == pytest.approx(figures["chi2"], rel=SIX_DIGITS)
        assert result.p_value == pytest.approx(figures["p_value"], rel=2e-6)
        assert result.degrees_of_freedom == figures["degrees_of_freedom"]


def test_the_wilson_intervals_of_the_ratios_are_reproduced(
    golden: dict[str, Any], golden_regions: pd.DataFrame
) -> None:
    table = region_table(*stratum_counts(golden, golden_regions, "combined")).set_index("region")
    for region, (low, high) in golden["wilson_ratios"].items():
        assert table.loc[region, "ratio_low"] == pytest.approx(low, abs=0.005 if low > 2 else 0.0005)
        assert table.loc[region, "ratio_high"] == pytest.approx(high, abs=0.005 if high > 2 else 0.0005)


def test_the_largest_design_effects_are_reproduced(
    golden: dict[str, Any], golden_regions: pd.DataFrame
) -> None:
    wanted = golden["largest_design_effect"]
    for stratum in ("combined", "centre1", "centre2"):
        table = region_table(*stratum_counts(golden, golden_regions, stratum)).set_index("region")
        for region, figure in wanted[stratum].items():
            found = largest_design_effect(table.loc[region, "chi2"], wanted["alpha"], wanted["n_tests"])
            assert found == pytest.approx(figure, abs=0.005), (stratum, region)


def test_the_clustered_table_shows_the_same_largest_design_effects(
    golden: dict[str, Any], golden_regions: pd.DataFrame
) -> None:
    observed, fractions = stratum_counts(golden, golden_regions, "combined")
    names = [f"Region {number}" for number in range(19 - (len(fractions) - 1))]
    fractions = pd.concat([fractions, pd.Series(1e-9, index=names)])
    observed = pd.concat([observed, pd.Series(0, index=names)])
    one_each = pd.DataFrame(
        np.repeat(np.eye(len(observed), dtype=int), observed, axis=0), columns=observed.index
    )
    table = clustered_table(one_each, fractions, RegionSettings()).set_index("region")
    for region, figure in golden["largest_design_effect"]["combined"].items():
        assert table.loc[region, "largest_design_effect"] == pytest.approx(figure, abs=0.005)


def test_the_beta_binomial_convolution_is_reproduced(golden: dict[str, Any]) -> None:
    wanted = golden["beta_binomial"]
    for icc, p_value, none in wanted["values"]:
        arguments = (wanted["sizes"], wanted["probability"], icc)
        assert clustered_p_value(wanted["count"], *arguments) == pytest.approx(p_value, rel=SIX_DIGITS)
        assert sum_distribution(*arguments)[0] == pytest.approx(none, rel=SIX_DIGITS)


def test_the_corrections_of_the_lateral_ventricle_are_reproduced(
    golden: dict[str, Any], golden_regions: pd.DataFrame
) -> None:
    combined = golden_regions[golden_regions["stratum"] == "combined"].set_index("region")
    p_values = combined.loc[combined["n_expected"] >= 5, "chi2_p_value"]
    assert len(p_values) == 8
    for method, figure in golden["lateral_ventricle_of_eight"].items():
        assert adjust(p_values, method)["Lateral Ventricle"] == pytest.approx(figure, abs=5e-5)
