import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from bidsapp.errors import DataError
from bidsapp.statistics.beta_binomial import clustered_p_value, sum_distribution
from bidsapp.statistics.clustered import (
    clustered_table,
    estimate_clustering,
    null_iccs,
    region_p_values,
)
from bidsapp.statistics.multiple_comparisons import adjust
from bidsapp.statistics.regions import RegionSettings, region_table
from tests.statistics.conftest import null_cohort

FRACTIONS = pd.Series({"A": 0.4, "B": 0.4, "C": 0.15, "D": 0.05})
SIZES = st.lists(st.integers(1, 9), min_size=1, max_size=8)


@given(SIZES, st.floats(0.01, 0.99), st.floats(0, 0.9))
def test_the_distribution_has_the_mean_and_variance_of_correlated_draws(
    sizes: list[int], probability: float, icc: float
) -> None:
    distribution = sum_distribution(sizes, probability, icc)
    values = np.arange(len(distribution))
    mean = float((values * distribution).sum())
    variance = float(((values - mean) ** 2 * distribution).sum())
    wanted = sum(n * (1 + (n - 1) * icc) for n in sizes) * probability * (1 - probability)
    assert distribution.sum() == pytest.approx(1)
    assert mean == pytest.approx(sum(sizes) * probability)
    assert variance == pytest.approx(wanted, rel=1e-6)


@given(SIZES, st.floats(0.05, 0.95))
def test_without_correlation_it_is_the_binomial(sizes: list[int], probability: float) -> None:
    n = sum(sizes)
    wanted = binom.pmf(np.arange(n + 1), n, probability)
    np.testing.assert_allclose(sum_distribution(sizes, probability, 0.0), wanted, rtol=1e-6, atol=1e-12)


def test_patients_with_one_lesion_each_make_the_icc_irrelevant() -> None:
    np.testing.assert_allclose(sum_distribution([1] * 6, 0.3, 0.0), sum_distribution([1] * 6, 0.3, 0.8))


def test_more_correlation_makes_the_same_count_less_surprising() -> None:
    p_values = [clustered_p_value(9, [3] * 6, 0.1, icc) for icc in (0.0, 0.1, 0.3, 0.6)]
    assert p_values == sorted(p_values)
    assert len(set(p_values)) == 4


def test_the_icc_of_a_large_simulated_cohort_is_found() -> None:
    counts = null_cohort(np.random.default_rng(1), FRACTIONS, 4000, 0.2)
    assert estimate_clustering(counts, FRACTIONS).pooled_icc == pytest.approx(0.2, abs=0.02)


def test_the_design_effect_follows_kish() -> None:
    counts = pd.DataFrame({"A": [4, 0, 1, 1], "B": [0, 2, 0, 0]})
    clustering = estimate_clustering(counts, pd.Series({"A": 0.5, "B": 0.5}))
    assert clustering.icc.to_dict() == {"A": 0.99, "B": 0.99}
    assert clustering.design_effect["A"] == pytest.approx(1 + (22 / 8 - 1) * 0.99)
    assert clustering.effective_patients == pytest.approx(64 / 22)


def test_a_region_is_never_less_clustered_than_all_together() -> None:
    clustering = estimate_clustering(null_cohort(np.random.default_rng(2), FRACTIONS, 60, 0.3), FRACTIONS)
    assert (clustering.icc >= clustering.pooled_icc).all()


def test_a_patient_with_half_of_all_lesions_does_not_decide_alone() -> None:
    rng = np.random.default_rng(3)
    rest = rng.multinomial(1, FRACTIONS, size=40)
    counts = pd.DataFrame(np.vstack([[0, 0, 0, 40], rest]), columns=FRACTIONS.index)
    naive = region_table(counts.sum(), FRACTIONS).set_index("region")
    table = clustered_table(counts, FRACTIONS).set_index("region")
    assert naive.loc["D", "significant"]
    assert naive.loc["D", "chi2_p_value"] < 1e-50
    assert table.loc["D", "clustered_p_value"] > 0.01
    assert not table["clustered_significant"].any()


@pytest.mark.parametrize("n_lesions", [0, 1])
def test_hardly_any_lesions_give_no_verdict(n_lesions: int) -> None:
    counts = pd.DataFrame([[n_lesions, 0, 0, 0]][:n_lesions], columns=FRACTIONS.index, dtype=int)
    table = clustered_table(counts, FRACTIONS)
    assert list(table["region"]) == list(FRACTIONS.index)
    assert not table["clustered_significant"].any()
    assert table["clustered_p_value"].notna().all() == (n_lesions == 1)
    assert (table["clustered_reason"] == ("" if n_lesions else "no lesions")).all()


def test_one_patient_gives_no_p_value_but_a_reason() -> None:
    table = clustered_table(pd.DataFrame([[9, 1, 0, 0]], columns=FRACTIONS.index), FRACTIONS)
    assert table["clustered_p_value"].isna().all()
    assert table["clustered_reason"].str.startswith("one patient").all()


def test_a_region_without_volume_is_neither_tested_nor_corrected_for() -> None:
    fractions = pd.Series({"A": 0.5, "B": 0.5, "Nowhere": 0.0})
    counts = pd.DataFrame({"A": [1] * 30, "B": [0] * 30, "Nowhere": [0] * 30})
    table = clustered_table(counts, fractions).set_index("region")
    assert np.isnan(table.loc["Nowhere", "clustered_p_value"])
    p_value = table.loc["A", "clustered_p_value"]
    assert table.loc["A", "clustered_bonferroni_p_value"] == pytest.approx(2 * p_value)


def test_the_interval_widens_with_the_design_effect() -> None:
    alone = pd.DataFrame(np.repeat(np.eye(4, dtype=int), [40, 40, 15, 5], axis=0), columns=FRACTIONS.index)
    together = pd.DataFrame(
        [[5, 0, 0, 0]] * 8 + [[0, 5, 0, 0]] * 8 + [[0, 0, 5, 0]] * 3 + [[0, 0, 0, 5]], columns=FRACTIONS.index
    )
    widths = []
    for counts in (alone, together):
        table = clustered_table(counts, FRACTIONS).set_index("region")
        widths.append(table.loc["C", "clustered_ratio_high"] - table.loc["C", "clustered_ratio_low"])
    assert widths[1] > 1.5 * widths[0]


def test_the_largest_icc_turns_into_the_largest_design_effect() -> None:
    counts = pd.DataFrame([[3, 0, 0, 0], [2, 1, 0, 0], [1, 0, 0, 0]] * 20, columns=FRACTIONS.index)
    row = clustered_table(counts, FRACTIONS).set_index("region").loc["A"]
    inflation = (9 + 9 + 1) * 20 / 140 - 1
    assert 1 + inflation * row["largest_icc"] == pytest.approx(
        min(row["largest_design_effect"], 1 + inflation)
    )


def test_under_clustering_the_naive_test_finds_too_much_and_ours_does_not() -> None:
    rng = np.random.default_rng(4)
    settings = RegionSettings(alpha=0.05, minimum_count=0)
    n_cohorts, naive, ours = 200, 0, 0
    for _ in range(n_cohorts):
        counts = null_cohort(rng, FRACTIONS, 60, 0.3)
        naive += region_table(counts.sum(), FRACTIONS, settings)["significant"].any()
        ours += clustered_table(counts, FRACTIONS, settings)["clustered_significant"].any()
    assert naive / n_cohorts > 0.15
    assert ours / n_cohorts <= 0.07  # nominal 0.05, standard error 0.015


@pytest.mark.parametrize(("probability", "icc"), [(0.0, 0.1), (1.0, 0.1), (0.5, 1.0), (0.5, -0.1)])
def test_impossible_probabilities_are_refused(probability: float, icc: float) -> None:
    with pytest.raises(DataError, match="probability must lie in"):
        sum_distribution([1, 2], probability, icc)


def test_negative_counts_are_refused() -> None:
    with pytest.raises(DataError, match="at least 0"):
        clustered_table(pd.DataFrame([[-1, 2, 0, 0], [3, 0, 0, 0]], columns=FRACTIONS.index), FRACTIONS)


def test_an_unknown_correction_is_refused() -> None:
    with pytest.raises(Exception, match="must be one of bonferroni, holm, benjamini_hochberg"):
        adjust(pd.Series([0.1]), "none")


def test_a_region_that_the_largest_patients_all_miss_is_given_an_icc_that_explains_it() -> None:
    misses = pd.DataFrame({"A": [1, 0, 0, 1, 0, 1] * 20 + [0] * 8, "B": [0, 1, 1, 0, 1, 0] * 20 + [25] * 8})
    shares = pd.Series({"A": 0.3, "B": 0.7})
    clustering = estimate_clustering(misses, shares)
    assert clustering.null_icc["A"] > clustering.icc["A"] + 0.1
    careless = clustered_p_value(60, misses.sum(axis=1).tolist(), 0.3, clustering.icc["A"])
    assert clustered_table(misses, shares).set_index("region").loc["A", "clustered_p_value"] > 3 * careless


def test_the_likeliest_icc_of_a_large_simulated_cohort_is_near_the_true_one() -> None:
    counts = null_cohort(np.random.default_rng(3), FRACTIONS, 4000, 0.2)
    found = null_iccs(counts.to_numpy(), FRACTIONS.to_numpy())
    np.testing.assert_allclose(found, 0.2, atol=0.06)


def test_simulations_use_the_p_values_of_the_table() -> None:
    counts = null_cohort(np.random.default_rng(4), FRACTIONS, 60, 0.3)
    wanted = clustered_table(counts, FRACTIONS)["clustered_p_value"]
    np.testing.assert_allclose(region_p_values(counts.to_numpy(), FRACTIONS.to_numpy()), wanted, rtol=1e-9)


def test_thousands_of_patients_keep_the_digits_of_far_tails() -> None:
    exact = 2 * binom.sf(1399, 20000, 0.05)
    assert clustered_p_value(1400, [1] * 20000, 0.05, 0.0) == pytest.approx(exact, rel=1e-6)
    assert clustered_p_value(1400, [2] * 10000, 0.05, 0.0) == pytest.approx(exact, rel=1e-6)
    assert clustered_p_value(9000, [2] * 10000, 0.05, 0.0) == 1e-50
