import numpy as np
import pytest
from scipy.stats import ttest_ind

from bidsapp.errors import DataError
from bidsapp.statistics.voxelwise import compare_voxels


def cohort(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    hits = rng.random((60, 40)) < 0.2
    hits[:2] = [[True], [False]]
    return hits, np.arange(60) < 25


def test_voxels_that_only_one_group_has_are_found_and_no_others() -> None:
    hits, is_first = cohort(0)
    hits[:25, :3] = True
    result = compare_voxels(hits, is_first, n_permutations=199, seed=1)
    assert (result.p_value[:3] <= 0.01).all()
    assert (result.p_value[3:] > 0.05).all()
    np.testing.assert_allclose(result.difference, hits[:25].mean(axis=0) - hits[25:].mean(axis=0))
    assert (result.t[:3] > 0).all()


def test_t_is_students_t_of_the_two_groups() -> None:
    hits, is_first = cohort(1)
    wanted = ttest_ind(hits[is_first].astype(float), hits[~is_first].astype(float)).statistic
    np.testing.assert_allclose(
        compare_voxels(hits, is_first, n_permutations=9).t, wanted, rtol=1e-6, atol=1e-9
    )


def test_the_same_seed_gives_the_same_p_values() -> None:
    hits, is_first = cohort(2)
    first, second = (compare_voxels(hits, is_first, n_permutations=49, seed=5) for _ in range(2))
    np.testing.assert_array_equal(first.p_value, second.p_value)


def test_one_patient_in_a_group_or_a_constant_voxel_is_refused() -> None:
    hits, _ = cohort(3)
    with pytest.raises(DataError, match="two patients in each group"):
        compare_voxels(hits, np.arange(60) < 1)
    hits[:, 4] = False
    with pytest.raises(DataError, match="same value in all patients"):
        compare_voxels(hits, np.arange(60) < 25)
