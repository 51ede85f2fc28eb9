"""Neighbours of voxels: the same as scipy's morphology, on small grids of unequal sides."""

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, binary_erosion

from bidsapp.images.neighbours import all_along_axes, any_in_box


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
