import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from bidsapp.errors import DataError
from bidsapp.images.volume import Volume
from bidsapp.lesions.soft_membership import SOFT_COLUMNS, region_probabilities, soft_region_table
from tests.lesions.conftest import oblique_space

SPACE = oblique_space((60, 45, 46), (0.4, 1.0, 1.3))


def half_space() -> Volume:
    """White matter on the negative side of the first voxel axis, cortex on the other."""
    data = np.full(SPACE.shape, 3, dtype=np.uint8)
    data[:30] = 2
    return Volume(data, SPACE)


LABELS = half_space()
ACROSS = SPACE.affine[:3, 0] / 0.4


@given(st.floats(-3, 3), st.floats(0.1, 2.0))
def test_beside_a_flat_border_the_probability_is_the_normal_integral(x: float, error: float) -> None:
    point = SPACE.voxel_to_world(np.array([[29.5, 22.0, 22.0]])) + x * ACROSS
    found = region_probabilities(point, np.array([error]), LABELS)
    assert found.loc[0, "Cerebral Cortex"] == pytest.approx(norm.cdf(x / error), abs=0.03)
    assert found.sum(axis=1)[0] == pytest.approx(1)


def test_each_lesion_has_its_own_uncertainty() -> None:
    point = SPACE.voxel_to_world(np.array([[29.5, 22.0, 22.0]])) + 1.0 * ACROSS
    errors = np.array([0.0, 0.5, 4.0, np.nan])
    found = region_probabilities(np.repeat(point, 4, axis=0), errors, LABELS)["Cerebral Cortex"]
    assert found[0] == 1
    assert found[0] > found[1] > found[2] > 0.5
    assert np.isnan(found[3])


def test_beyond_the_border_of_the_atlas_is_outside() -> None:
    found = region_probabilities(np.array([[900.0, 0, 0]]), np.array([1.0]), LABELS)
    assert found.loc[0, "outside"] == 1


def test_hard_and_soft_counts_add_up_to_all_lesions() -> None:
    points = SPACE.voxel_to_world(np.random.default_rng(0).uniform(0, 44, (30, 3)))
    errors = np.where(np.arange(30) < 5, np.nan, 1.5)
    table = soft_region_table(points, errors, LABELS)
    assert list(table.columns) == list(SOFT_COLUMNS)
    assert table["n_hard"].sum() == 30
    assert table["n_soft"].sum() == pytest.approx(30)
    assert soft_region_table(np.zeros((0, 3)), np.zeros(0), LABELS)["n_soft"].sum() == 0


@pytest.mark.parametrize("errors", [np.array([-1.0]), np.array([np.inf])])
def test_impossible_standard_errors_are_refused(errors: np.ndarray) -> None:
    with pytest.raises(DataError, match="standard error of at least 0 mm"):
        region_probabilities(np.zeros((1, 3)), errors, LABELS)
