import numpy as np
import pandas as pd
import pytest

from bidsapp.statistics.heterogeneity import contingency_test, heterogeneity_test, pool_regions
from tests.statistics.conftest import null_cohort

FRACTIONS = pd.Series({"A": 0.4, "B": 0.4, "C": 0.2})


def test_centres_of_opposite_habits_differ() -> None:
    counts = pd.DataFrame([[2, 0, 0]] * 15 + [[0, 2, 0]] * 15, columns=FRACTIONS.index)
    result = heterogeneity_test(counts, pd.Series(["x"] * 15 + ["y"] * 15), n_permutations=199)
    assert result.contingency.p_value is not None
    assert result.contingency.p_value < 1e-9
    assert result.permutation_p_value == 1 / 200


def test_moving_whole_patients_keeps_its_level_where_chi_square_does_not() -> None:
    rng = np.random.default_rng(5)
    centres = pd.Series(["x", "y"] * 20)
    naive, ours = [], []
    for seed in range(60):
        result = heterogeneity_test(
            null_cohort(rng, FRACTIONS, 40, 0.5), centres, n_permutations=99, seed=seed
        )
        naive.append(result.contingency.p_value)
        ours.append(result.permutation_p_value)
    assert np.mean(np.array(naive) < 0.05) > 0.15
    assert np.mean(np.array(ours) <= 0.05) < 0.12


def test_the_same_seed_gives_the_same_p_value() -> None:
    counts = null_cohort(np.random.default_rng(6), FRACTIONS, 30, 0.1)
    centres = pd.Series(["x", "y", "z"] * 10)
    assert heterogeneity_test(counts, centres, seed=1) == heterogeneity_test(counts, centres, seed=1)
    assert heterogeneity_test(counts, centres, seed=1) != heterogeneity_test(counts, centres, seed=2)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([[1, 2, 3]], "fewer than two centres have lesions"),
        ([[1, 2, 3], [0, 0, 0]], "fewer than two centres have lesions"),
        ([[4, 0, 0], [5, 0, 0]], "all lesions lie in one cell"),
    ],
)
def test_nothing_to_compare_gives_a_reason(rows: list[list[int]], reason: str) -> None:
    counts = pd.DataFrame(rows, columns=FRACTIONS.index)
    assert contingency_test(counts).reason == reason
    result = heterogeneity_test(counts, pd.Series(range(len(rows))))
    assert (result.permutation_p_value, result.n_permutations) == (None, 0)


def test_one_patient_a_centre_cannot_be_shuffled() -> None:
    counts = pd.DataFrame([[4, 1, 0], [1, 4, 0]], columns=FRACTIONS.index)
    result = heterogeneity_test(counts, pd.Series(["x", "y"]))
    assert result.contingency.p_value is not None
    assert result.permutation_p_value is None
    assert "one patient" in result.contingency.reason


def test_pooling_keeps_every_lesion() -> None:
    counts = null_cohort(np.random.default_rng(7), FRACTIONS, 5, 0.0)
    assert pool_regions(counts, ["B"]).to_numpy().sum() == counts.to_numpy().sum()
