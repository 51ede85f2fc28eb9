"""Ten tetrahedra a voxel: by hand, and compiled as in plain numpy."""

import numpy as np
import pytest

from bidsapp.geometry import kernels
from bidsapp.geometry.kernels import reference_points


@pytest.mark.parametrize("amplitude", [0.1, 0.5, 1.0])
def test_the_compiled_twin_agrees_with_plain_numpy(amplitude: float) -> None:
    field = (np.random.default_rng(3).normal(size=(3, 4, 5, 6)) * amplitude).astype(np.float32)
    for found, wanted in zip(kernels.tetrahedra(field), reference_points.tetrahedra(field), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_nothing_moved_leaves_corners_of_one_and_nothing_negative() -> None:
    smallest, negative = kernels.tetrahedra(np.zeros((3, 4, 5, 6), np.float32))
    assert (smallest == 1).all()
    assert not negative.any()


def test_a_plane_pushed_past_its_neighbour_is_negative_on_both_sides() -> None:
    field = np.zeros((3, 4, 5, 6), np.float32)
    field[0, 1] = 1.5
    smallest, negative = kernels.tetrahedra(field)
    assert smallest[1, :-1, :-1] == pytest.approx(-1.0)  # the middle tetrahedra, twice the corner's -0.5
    assert smallest[2] == pytest.approx(-0.5)
    assert (smallest[3] > 0).all()
    assert not negative[3].any()
