"""Cubic B-splines: exact where they must be, smooth, never beyond their coefficients."""

import numpy as np
import pytest
import torch

from bidsapp.geometry.space import Space
from bidsapp.geometry.spline import spline_refinement

AXES = np.array([[0.0, 2.0, 0.0], [-2.0, 0.0, 0.0], [0.0, 0.0, 2.0]])


def spaces() -> tuple[Space, Space]:
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = AXES, (10, -20, 30)
    coarse = Space((7, 8, 9), affine)
    return coarse, coarse.with_spacing(1.0)


def test_a_linear_field_stays_linear_away_from_the_border() -> None:
    coarse, fine = spaces()
    at_coarse = torch.from_numpy(coarse.voxel_centres_mm().T.reshape(3, *coarse.shape).copy()).float()
    at_fine = fine.voxel_centres_mm().T.reshape(3, *fine.shape)
    found = spline_refinement(coarse, fine, "cpu")(at_coarse).numpy() / 2.0
    inner = (slice(None), slice(3, -3), slice(3, -3), slice(3, -3))
    assert found[inner] == pytest.approx(at_fine[inner], abs=1e-4)


def test_vectors_are_measured_in_the_voxels_of_the_finer_grid() -> None:
    coarse, fine = spaces()
    found = spline_refinement(coarse, fine, "cpu")(torch.ones(3, *coarse.shape))
    assert found.numpy() == pytest.approx(2.0)


def test_one_coefficient_gives_the_bell_of_unser() -> None:
    coarse = Space((9, 9, 9), np.diag([1.0, 1.0, 1.0, 1.0]))
    pulse = torch.zeros(3, 9, 9, 9)
    pulse[0, 4, 4, 4] = 1.0
    found = spline_refinement(coarse, coarse, "cpu")(pulse)
    assert found[0, 4, 4, 4].item() == pytest.approx((4 / 6) ** 3)
    assert found[0, 3, 4, 4].item() == pytest.approx((1 / 6) * (4 / 6) ** 2)
    assert found[0, 2, 4, 4].item() == 0.0
