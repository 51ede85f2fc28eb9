"""Table 4 as a cohort, one patient a lesion, through the functions that the group level calls."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2, power_divergence

from bidsapp.statistics.beta_binomial import clustered_p_value
from bidsapp.statistics.heterogeneity import HeterogeneityTest
from bidsapp.statistics.regions import PAPER_CELLS, region_table
from bidsapp.statistics.shrinkage import gamma_prior
from bidsapp.statistics.strata import StratumAnalysis, analyse_stratum, compare_centres
from tests.statistics.conftest import stratum_counts

SIX_DIGITS = 5e-7
SPECIFIED = Path(__file__).resolve().parents[3] / "shared" / "specs" / "golden_table4.json"
PAPER_REGIONS = (*PAPER_CELLS, "Putamen", "Elsewhere")


def one_lesion_patients(regions: list[str], counts: list[int], site: str = "a") -> pd.DataFrame:
    names = np.repeat(np.array(regions, dtype=object), counts)
    subjects = [f"{site}{number}" for number in range(len(names))]
    return pd.DataFrame({"subject": subjects, "site": site, "region": names, "hemisphere": None})


@pytest.fixture(scope="module")
def combined(golden: dict[str, Any], golden_regions: pd.DataFrame) -> StratumAnalysis:
    """All centres; the two lesions by which expected counts fall short are one more region's."""
    rows = golden_regions[golden_regions["stratum"] == "combined"]
    names, expected = [*rows["region"], "Elsewhere"], [*rows["n_expected"], 517.0 - rows["n_expected"].sum()]
    observed = [*rows["n_observed"], 517 - rows["n_observed"].sum()]
    volumes = pd.DataFrame(
        {"left": 0.0, "right": 0.0, "none": expected}, index=pd.Index(names, name="region")
    )
    assert golden["n_lesions"]["combined"] == 517
    return analyse_stratum(one_lesion_patients(names, observed), volumes)


def test_a_cohort_with_the_counts_of_table_4_has_its_statistics(
    combined: StratumAnalysis, golden_regions: pd.DataFrame
) -> None:
    found = combined.regions.set_index("region")
    wanted = golden_regions[golden_regions["stratum"] == "combined"].set_index("region")
    for column in ("n_observed", "n_expected", "chi2", "z", "chi2_p_value", "exact_p_value", "ratio"):
        np.testing.assert_allclose(
            found.loc[wanted.index, column], wanted[column], rtol=SIX_DIGITS, atol=1e-15
        )


def test_the_four_cells_of_that_cohort_are_the_papers(
    combined: StratumAnalysis, golden: dict[str, Any]
) -> None:
    wanted = {row[0]: row for row in golden["omnibus"]}["combined"]
    assert combined.paper_omnibus.chi2 == pytest.approx(wanted[3], rel=SIX_DIGITS)
    assert combined.paper_omnibus.p_value == pytest.approx(wanted[4], rel=SIX_DIGITS)


def test_single_lesions_have_the_binomial_p_value_of_the_convolution(combined: StratumAnalysis) -> None:
    """Without a second lesion nobody is alike: the clustered p-value doubles the binomial tail."""
    found = combined.regions.set_index("region")
    assert (found["design_effect"] == 1).all()
    for name in PAPER_CELLS:
        observed, share = int(found.loc[name, "n_observed"]), found.loc[name, "n_expected"] / 517
        wanted = clustered_p_value(observed, [1] * 517, share, 0.0)
        assert found.loc[name, "clustered_p_value"] == pytest.approx(wanted, rel=SIX_DIGITS)


@pytest.mark.parametrize(
    ("region", "low", "high"),
    [
        ("Cerebral White Matter", 0.565, 0.801),
        ("Cerebral Cortex", 1.230, 1.542),
        ("Putamen", 2.443, 6.178),
        ("Cerebellum Cortex", 0.560, 1.108),
    ],
)
def test_the_exact_poisson_intervals_are_those_specified(
    combined: StratumAnalysis, region: str, low: float, high: float
) -> None:
    row = combined.regions.set_index("region").loc[region]
    assert (row["poisson_ratio_low"], row["poisson_ratio_high"]) == pytest.approx((low, high), abs=5e-4)


@pytest.fixture(scope="module")
def unrounded(golden: dict[str, Any], golden_regions: pd.DataFrame) -> pd.DataFrame:
    """All 19 regions: lesions, and the middle of what rounding in four columns leaves of each share."""
    counts = golden_regions.pivot(index="region", columns="stratum", values="n_expected").fillna(0)
    sizes = pd.Series(golden["n_lesions"])
    lowest, highest = ((counts + half).div(sizes) for half in (-0.5, 0.5))
    shares = (lowest.max(axis=1).clip(lower=0) + highest.min(axis=1)) / 2
    combined = golden_regions[golden_regions["stratum"] == "combined"].set_index("region")["n_observed"]
    observed = combined.reindex(counts.index).fillna(0).astype(int)
    unseen = pd.Series(0.25 / 517, index=["Third", "Inferior", "Other"])
    assert observed.sum() == 516
    return pd.DataFrame(
        {
            "observed": pd.concat([observed, pd.Series([1, 0, 0], index=unseen.index)]),
            "share": pd.concat([shares, unseen]),
        }
    )


@pytest.mark.parametrize(
    ("region", "ratio", "low", "high"),
    [
        ("Putamen", 3.38, 2.10, 4.96),
        ("Lateral Ventricle", 0.14, 0.01, 0.47),
        ("Hippocampus", 0.23, 0.01, 0.77),
        ("Brain Stem", 0.33, 0.07, 0.78),
    ],
)
def test_shrunken_ratios_are_those_specified(
    unrounded: pd.DataFrame, region: str, ratio: float, low: float, high: float
) -> None:
    names = [str(name) for name in unrounded.index]
    volumes = pd.DataFrame(
        {"left": 0.0, "right": 0.0, "none": unrounded["share"]}, index=pd.Index(names, name="region")
    )
    table = analyse_stratum(one_lesion_patients(names, list(unrounded["observed"])), volumes).regions
    row = table.set_index("region").loc[region]
    found = row[["shrunken_ratio", "shrunken_ratio_low", "shrunken_ratio_high"]].tolist()
    assert found == pytest.approx([ratio, low, high], abs=0.0051)


def test_the_prior_of_the_ratios_is_the_one_specified(unrounded: pd.DataFrame) -> None:
    expected = (517 * unrounded["share"] / unrounded["share"].sum()).to_numpy()
    shape, rate = gamma_prior(unrounded["observed"].to_numpy(), expected)
    assert (shape, rate) == pytest.approx((1.228, 1.424), abs=5e-4)


def centres(golden: dict[str, Any], n: int) -> HeterogeneityTest:
    rows = golden["heterogeneity"]["counts"][:n]
    parts = [
        one_lesion_patients(list(PAPER_REGIONS), row, site) for row, site in zip(rows, "xyz", strict=False)
    ]
    return compare_centres(pd.concat(parts, ignore_index=True), pd.Index(PAPER_REGIONS), seed=0)


def test_the_centres_of_table_4_differ_as_specified_by_distribution_and_by_permutation(
    golden: dict[str, Any],
) -> None:
    """Moving patients with one lesion each is moving lesions, of which the specification's p is .391."""
    found = centres(golden, 3)
    assert found.contingency.chi2 == pytest.approx(8.321008, rel=SIX_DIGITS)
    assert found.contingency.p_value == pytest.approx(0.402758, abs=SIX_DIGITS)
    assert found.contingency.degrees_of_freedom == 8
    spread = np.sqrt(0.391 * 0.609 / found.n_permutations)
    assert found.permutation_p_value == pytest.approx(0.391, abs=3 * spread)
    first_two = centres(golden, 2).contingency
    assert (first_two.chi2, first_two.p_value) == pytest.approx((6.046767, 0.195683), rel=3e-6)


@pytest.fixture(scope="module")
def specified() -> dict[str, Any]:
    if not SPECIFIED.is_file():
        pytest.skip("the specification's own figures are not beside this clone (../shared/specs)")
    return json.loads(SPECIFIED.read_text(encoding="utf-8"))["tests"]


@pytest.mark.parametrize("stratum", ["centre1", "centre2", "centre3", "combined"])
def test_every_figure_of_the_specification_is_reproduced(
    specified: dict[str, Any], golden: dict[str, Any], golden_regions: pd.DataFrame, stratum: str
) -> None:
    """One cell alone and the likelihood ratio are readings the app does not offer; its table yields both."""
    table = region_table(*stratum_counts(golden, golden_regions, stratum)).set_index("region")
    for region, wanted in specified[stratum].items():
        if region not in table.index:
            assert wanted["E"] < 0.5, region
            continue
        row, n_lesions = table.loc[region], wanted["N"]
        both = [row["n_observed"], n_lesions - row["n_observed"]]
        expected = [row["n_expected"], n_lesions - row["n_expected"]]
        one_cell = row["z"] ** 2 * (1 - row["n_expected"] / n_lesions)
        ratio_test = power_divergence(both, expected, lambda_="log-likelihood")
        found = {
            "O": row["n_observed"], "E": row["n_expected"], "chi2": row["chi2"], "p": row["chi2_p_value"],
            "z": row["z"], "ratio": row["ratio"], "p_binom_exact": row["exact_p_value"],
            "chi2_one_cell": one_cell, "p_one_cell": chi2.sf(one_cell, 1),
            "G": ratio_test.statistic, "p_G": ratio_test.pvalue,
        }  # fmt: skip
        assert set(wanted) == {*found, "N"}
        for name, value in found.items():
            assert value == pytest.approx(wanted[name], rel=SIX_DIGITS, abs=1e-12), (region, name)
