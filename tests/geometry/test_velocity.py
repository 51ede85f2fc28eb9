"""Scaling and squaring against closed forms."""

import numpy as np
import pytest
import torch

from bidsapp.errors import ShapeError
from bidsapp.geometry import kernels
from bidsapp.geometry.space import Space
from bidsapp.geometry.velocity import exponentiate

OBLIQUE = Space(
    (8, 9, 10), np.array([[1.8, 0.3, 0.1, -5], [-0.2, 1.1, 0.2, 7], [0.1, -0.2, -1.5, 300], [0, 0, 0, 1]])
)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_a_constant_velocity_is_a_shift_also_at_the_border(kind: torch.dtype) -> None:
    shift = torch.tensor([1.0, -2.0, 0.5], dtype=kind)
    velocity = shift.reshape(1, 3, 1, 1, 1).expand(1, 3, 8, 9, 10).contiguous()
    torch.testing.assert_close(exponentiate(velocity, OBLIQUE), velocity, rtol=1e-5, atol=1e-5)


def test_a_linear_velocity_equals_its_matrix_power() -> None:
    steps = 5
    matrix = np.array([[0.02, 0.05, -0.01], [-0.04, 0.01, 0.03], [0.02, -0.03, -0.02]])
    space = Space((16, 17, 18), OBLIQUE.affine)
    centre = space.voxel_centres_mm().mean(axis=0)
    points = space.voxel_centres_mm() - centre
    velocity = torch.from_numpy((points @ matrix.T).T.reshape(1, 3, *space.shape).copy())
    power = np.linalg.matrix_power(np.eye(3) + matrix / 2**steps, 2**steps) - np.eye(3)
    wanted = (points @ power.T).T.reshape(3, *space.shape)
    got = exponentiate(velocity, space, squaring_steps=steps)[0].numpy()
    inner = (slice(None), slice(6, -6), slice(6, -6), slice(6, -6))
    np.testing.assert_allclose(got[inner], wanted[inner], atol=1e-9)


def test_half_the_velocity_followed_twice_is_the_whole() -> None:
    space = Space((12, 13, 14), np.diag([2.0, 2.0, 2.0, 1.0]))
    at = np.indices(space.shape) / 4.0
    wave = np.stack([np.sin(at[1]), np.cos(at[2]), np.sin(at[0])])[None]
    whole = exponentiate(torch.from_numpy(wave), space, squaring_steps=7)
    half = exponentiate(torch.from_numpy(wave / 2), space, squaring_steps=6)
    twice = 2.0 * kernels.compose(half[0] / 2.0, half[0] / 2.0)
    torch.testing.assert_close(twice, whole[0])


def test_a_velocity_on_another_grid_is_refused() -> None:
    with pytest.raises(
        ShapeError, match=r"must be sampled on the space's grid \(8, 9, 10\), got \(8, 9, 9\)"
    ):
        exponentiate(torch.zeros(1, 3, 8, 9, 9), OBLIQUE)
