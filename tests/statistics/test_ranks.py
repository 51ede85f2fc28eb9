import numpy as np
import pytest
from scipy.stats import kruskal

from bidsapp.statistics.ranks import RankTest, kruskal_between_patients, kruskal_within_patients


def clustered(rng: np.random.Generator, n_patients: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Values with a strong habit of each patient, and the patients."""
    sizes = 1 + rng.negative_binomial(1, 0.3, n_patients)
    patients = np.repeat(np.arange(n_patients), sizes)
    return rng.normal(size=n_patients)[patients] + 0.3 * rng.normal(size=len(patients)), patients


def test_the_statistic_is_scipys() -> None:
    rng = np.random.default_rng(0)
    values, patients = clustered(rng)
    groups = np.array(["a", "b", "c"])[patients % 3]
    test = kruskal_between_patients(values, groups, patients, rng, n_permutations=9)
    wanted = kruskal(*(values[groups == name] for name in "abc"))
    assert (test.statistic, test.p_value) == pytest.approx((wanted.statistic, wanted.pvalue))
    assert (test.degrees_of_freedom, test.n_groups, test.n_permutations) == (2, 3, 9)


def test_centres_of_like_patients_are_told_apart_five_times_in_a_hundred() -> None:
    rng = np.random.default_rng(1)
    tests = []
    for _ in range(300):
        values, patients = clustered(rng)
        tests.append(kruskal_between_patients(values, patients % 3, patients, rng, n_permutations=99))
    naive = np.mean([test.p_value is not None and test.p_value <= 0.05 for test in tests])
    kept = np.mean([found is not None and found <= 0.05 for found in permuted(tests)])
    assert naive > 0.3
    assert 0.02 <= kept <= 0.08


def test_regions_that_patients_prefer_do_not_pass_for_an_effect_of_the_region() -> None:
    rng = np.random.default_rng(2)
    tests = []
    for _ in range(300):
        values, patients = clustered(rng)
        habit = rng.integers(3, size=40)[patients]
        groups = np.where(rng.random(len(patients)) < 0.8, habit, rng.integers(3, size=len(patients)))
        tests.append(kruskal_within_patients(values, groups, patients, rng, n_permutations=99))
    naive = np.mean([test.p_value is not None and test.p_value <= 0.05 for test in tests])
    kept = np.mean([found is not None and found <= 0.05 for found in permuted(tests)])
    assert naive > 0.2
    assert 0.02 <= kept <= 0.08


def permuted(tests: list[RankTest]) -> list[float | None]:
    return [test.permutation_p_value for test in tests]


def test_a_real_difference_between_regions_is_found() -> None:
    rng = np.random.default_rng(3)
    values, patients = clustered(rng, 80)
    groups = rng.integers(2, size=len(values))
    test = kruskal_within_patients(values + groups, groups, patients, rng, n_permutations=199)
    assert test.permutation_p_value == pytest.approx(1 / 200)


def test_single_lesions_of_many_patients_are_exchanged_between_them() -> None:
    rng = np.random.default_rng(4)
    groups = np.repeat(["a", "b"], 30)
    test = kruskal_within_patients(
        rng.normal(size=60) + 3 * (groups == "b"), groups, np.arange(60), rng, n_permutations=99
    )
    assert test.permutation_p_value == pytest.approx(0.01)


@pytest.mark.parametrize("run", [kruskal_between_patients, kruskal_within_patients])
@pytest.mark.parametrize(
    ("values", "groups", "reason"),
    [
        ([], [], "no lesion has a value"),
        ([np.nan], ["a"], "no lesion has a value"),
        ([1.0], ["a"], "fewer than two groups"),
        ([1.0, 1.0], ["a", "b"], "all values are equal"),
        ([1.0, 2.0], ["a", None], "fewer than two groups"),
    ],
)
def test_nothing_to_compare_gives_a_reason(run, values, groups, reason) -> None:  # type: ignore[no-untyped-def]
    patients = np.arange(len(values))
    test = run(
        np.array(values, dtype=np.float64), np.array(groups, dtype=object), patients, np.random.default_rng(0)
    )
    assert (test.p_value, test.permutation_p_value) == (None, None)
    assert test.reason.startswith(reason)


def test_one_patient_a_centre_cannot_be_shuffled() -> None:
    test = kruskal_between_patients(
        np.array([1.0, 2.0]), np.array(["a", "b"]), np.array([0, 1]), np.random.default_rng(0)
    )
    assert test.permutation_p_value is None
    assert test.reason == "each group has one patient: no permutation test"


def test_patients_without_anything_to_exchange_have_no_permutation_test() -> None:
    test = kruskal_within_patients(
        np.array([1.0, 2.0, 3.0]), np.array(list("aab")), np.array([0, 0, 1]), np.random.default_rng(0)
    )
    assert test.permutation_p_value is None
    assert test.reason.startswith("no patient has lesions to exchange")
