"""Neighbours of voxels: the same as scipy's morphology, on small grids of unequal sides."""

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, binary_erosion, distance_transform_edt

from bidsapp.images.neighbours import all_along_axes, any_in_ball, any_in_box


@pytest.mark.parametrize("reach", [(1, 1, 1), (0, 0, 0), (1, 2, 3), (2, 0, 1), (4, 5, 6), (7, 7, 7)])
@pytest.mark.parametrize("share", [0.2, 0.9, 1.0])
def test_erosion_by_a_cross_and_dilation_by_a_box_are_those_of_scipy(reach, share):
    flags = np.random.default_rng(3).random((4, 5, 6)) <= share
    kept = flags
    for axis, steps in enumerate(reach):
        arm = np.ones(np.where(np.arange(3) == axis, 2 * steps + 1, 1), dtype=bool)
        kept = kept & binary_erosion(flags, arm)
    np.testing.assert_array_equal(all_along_axes(flags, reach), kept)
    box = np.ones([2 * steps + 1 for steps in reach], dtype=bool)
    np.testing.assert_array_equal(any_in_box(flags, reach), binary_dilation(flags, box))


@pytest.mark.parametrize("mm", [0.0, 0.5, 1.0, 2.0, 3.3, 5.0, 40.0])
@pytest.mark.parametrize("sizes_mm", [(1.0, 1.0, 1.0), (0.9, 1.1, 3.0), (0.9375, 0.5, 1.25)])
@pytest.mark.parametrize("n", [1, 3, 60])
def test_dilation_by_a_ball_is_where_the_euclidean_distance_is_short(n, sizes_mm, mm):
    flags = np.zeros((4, 5, 6), dtype=bool)
    flags.ravel()[np.random.default_rng(5).choice(flags.size, n, replace=False)] = True
    near = distance_transform_edt(~flags, sampling=sizes_mm) <= mm * (1 + 1e-6)
    np.testing.assert_array_equal(any_in_ball(flags, mm, sizes_mm), near)
    assert not any_in_ball(np.zeros_like(flags), mm, sizes_mm).any()


def test_a_distance_of_just_the_radius_is_within_it_however_it_is_rounded():
    flags = np.zeros((4, 5, 6), dtype=bool)
    flags[0] = True
    assert 0.3 / 0.1 < 3
    np.testing.assert_array_equal(any_in_ball(flags, 0.3, (0.1, 1.0, 1.0)), True)
