import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2

from bidsapp.statistics.omnibus import simulated_omnibus
from tests.statistics.conftest import null_cohort

FRACTIONS = pd.Series({"A": 0.4, "B": 0.4, "C": 0.15, "D": 0.05})


def one_each(totals: dict[str, int]) -> pd.DataFrame:
    """Patients with one lesion each."""
    return pd.DataFrame(
        np.repeat(np.eye(len(totals), dtype=int), list(totals.values()), axis=0), columns=list(totals)
    )


def test_with_many_lesions_it_agrees_with_the_chi_square_distribution() -> None:
    test = simulated_omnibus(one_each({"A": 170, "B": 160, "C": 45, "D": 25}), FRACTIONS, n_draws=4999)
    expected = FRACTIONS * 400
    measured = float(((np.array([170, 160, 45, 25]) - expected) ** 2 / expected).sum())
    assert test.chi2 == pytest.approx(measured)
    assert test.independent_p_value == pytest.approx(chi2.sf(measured, 3), abs=0.02)


def test_one_lesion_is_compared_with_all_places_it_could_have_had() -> None:
    test = simulated_omnibus(one_each({"A": 0, "B": 0, "C": 0, "D": 1}), FRACTIONS, n_draws=4999)
    assert test.independent_p_value == pytest.approx(0.05, abs=0.01)
    assert test.clustered_p_value == pytest.approx(0.05, abs=0.01)


def test_patients_with_all_their_lesions_together_are_no_surprise_when_kept_together() -> None:
    counts = pd.DataFrame({"A": [9, 0, 0, 9, 9], "B": [0, 9, 0, 0, 0], "C": [0, 0, 9, 0, 0], "D": [0] * 5})
    test = simulated_omnibus(counts, FRACTIONS)
    assert test.independent_p_value is not None
    assert test.clustered_p_value is not None
    assert test.independent_p_value < 0.02
    assert test.clustered_p_value > 0.1


def test_the_same_seed_gives_the_same_cohorts() -> None:
    counts = null_cohort(np.random.default_rng(1), FRACTIONS, 30, 0.2)
    assert simulated_omnibus(counts, FRACTIONS, seed=3) == simulated_omnibus(counts, FRACTIONS, seed=3)


@pytest.mark.parametrize(
    ("rows", "fractions", "reason"),
    [
        ([], FRACTIONS, "no lesions"),
        ([[1, 0, 0, 0]], pd.Series({"A": 0.0, "B": 0.4, "C": 0.4, "D": 0.2}), "without a volume"),
        ([[1, 0, 0, 0]], pd.Series({"A": 1.0, "B": 0.0, "C": 0.0, "D": 0.0}), "fewer than two regions"),
        ([[3, 0, 1, 0]], FRACTIONS, "one patient"),
    ],
)
def test_what_cannot_be_tested_is_said(rows: list[list[int]], fractions: pd.Series, reason: str) -> None:
    test = simulated_omnibus(pd.DataFrame(rows, columns=list("ABCD"), dtype=int), fractions)
    assert test.clustered_p_value is None
    assert reason in test.reason
