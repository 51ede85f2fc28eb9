"""The paper's three terms against closed forms."""

import numpy as np
import pytest
import torch
from torch import Tensor

from bidsapp.registration.losses.correlation import negative_correlation
from bidsapp.registration.losses.growth_ratio import jacobian_determinants, strayed_growth

SHAPE = (6, 7, 8)
FLOOR = 1 / (1 + np.exp(2.5))


def grid(shape: tuple[int, int, int] = SHAPE) -> Tensor:
    return torch.stack(torch.meshgrid(*[torch.arange(n, dtype=torch.float64) for n in shape], indexing="ij"))


def sigmoid(x: float) -> float:
    return float(1 / (1 + np.exp(-x)))


def test_correlation_is_numpys() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(4, 5, 6)), rng.normal(size=(4, 5, 6))
    every = torch.ones(4, 5, 6, dtype=torch.bool)
    found = negative_correlation(torch.from_numpy(a), torch.from_numpy(a + b), every).item()
    assert found == pytest.approx(-np.corrcoef(a.ravel(), (a + b).ravel())[0, 1], rel=1e-12)


def test_correlation_does_not_feel_brightness_and_contrast_but_their_sign() -> None:
    a = grid()[0]
    every = torch.ones(SHAPE, dtype=torch.bool)
    assert negative_correlation(a, 3 * a + 7, every).item() == pytest.approx(-1)
    assert negative_correlation(a, 7 - 3 * a, every).item() == pytest.approx(1)
    assert negative_correlation(a, torch.ones_like(a), every).item() == 0


def test_only_voxels_that_count_enter_the_correlation() -> None:
    a = grid()[0]
    spoilt = a.clone()
    spoilt[2:4, 3, 3] = 99.0
    assert negative_correlation(a, spoilt, spoilt != 99.0).item() == pytest.approx(-1)


def test_the_determinant_of_a_linear_map_is_exact_in_every_corner() -> None:
    linear = torch.tensor([[0.2, 0.1, 0.0], [-0.1, 0.3, 0.2], [0.0, 0.1, -0.2]], dtype=torch.float64)
    field = torch.einsum("ab,bijk->aijk", linear, grid())
    wanted = torch.linalg.det(torch.eye(3, dtype=torch.float64) + linear).item()
    torch.testing.assert_close(jacobian_determinants(field), torch.full(SHAPE, wanted, dtype=torch.float64))


def test_uniform_scaling_costs_the_floor_everywhere_corners_included() -> None:
    labels = torch.zeros(SHAPE, dtype=torch.uint8)
    labels[3:] = 1
    corner = torch.zeros(SHAPE, dtype=torch.uint8)
    corner[0, 0, 0] = 1
    determinant = jacobian_determinants(0.2 * grid())
    assert determinant[0, 0, 0].item() == pytest.approx(1.728)
    for one in (labels, corner):
        assert strayed_growth(determinant, one, 2).item() == pytest.approx(FLOOR, rel=1e-9)
    assert pytest.approx(0.0759, abs=1e-4) == FLOOR


def test_twice_and_half_the_mean_growth_cost_the_same() -> None:
    """Two far-apart halves of one label, so that the box average leaves their middles alone."""
    labels = torch.zeros((12, 3, 3), dtype=torch.uint8)
    determinant = torch.ones((12, 3, 3), dtype=torch.float64)
    determinant[:6] = 3.0
    smooth = np.array([3.0] * 5 + [7 / 3, 5 / 3] + [1.0] * 5)
    ratio = smooth / smooth.mean()
    wanted = np.mean([sigmoid(5 * (max(r, 1 / r) - 1.5)) for r in ratio])
    assert strayed_growth(determinant, labels, 1).item() == pytest.approx(wanted, rel=1e-9)
    mirrored = strayed_growth(determinant.flip(0), labels, 1).item()
    assert mirrored == pytest.approx(wanted, rel=1e-9)


def test_a_structure_is_compared_with_its_own_mean_only() -> None:
    labels = torch.zeros((12, 3, 3), dtype=torch.uint8)
    labels[6:] = 1
    determinant = torch.ones((12, 3, 3), dtype=torch.float64)
    determinant[:6] = 3.0
    apart = strayed_growth(determinant, labels, 2).item()
    together = strayed_growth(determinant, torch.zeros_like(labels), 1).item()
    assert FLOOR < apart < together


def test_folds_cost_more_than_anything_else_and_lead_out() -> None:
    labels = torch.zeros((5, 6, 7), dtype=torch.uint8)
    labels[2:4] = 1  # where the fold is not

    def cost(value: float) -> tuple[float, float]:
        determinant = torch.ones((5, 6, 7), dtype=torch.float64)
        determinant[:2] = value
        determinant.requires_grad_()
        loss = strayed_growth(determinant, labels, 2)
        (slope,) = torch.autograd.grad(loss, determinant)
        return loss.item(), slope[0, 0, 0].item()

    assert cost(-1.0)[0] > cost(-0.5)[0] > cost(1.0)[0]
    assert cost(-1.0)[1] < 0  # more volume, less cost


@pytest.mark.parametrize("seed", [0, 1])
def test_gradients_match_finite_differences(seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 3, (3, 4, 5), generator=rng, dtype=torch.uint8)
    field = 0.3 * torch.randn((3, 3, 4, 5), generator=rng, dtype=torch.float64)
    assert torch.autograd.gradcheck(jacobian_determinants, (field.requires_grad_(),))
    a, b = (torch.randn((3, 4, 5), generator=rng, dtype=torch.float64) for _ in range(2))
    every = labels < 2
    assert torch.autograd.gradcheck(lambda x: negative_correlation(a, x, every), (b.requires_grad_(),))
    # The structure's mean is not differentiated: with one label of mean growth 1, keep the mean at 1.
    growth = 1 + 0.3 * torch.rand((3, 4, 5), generator=rng, dtype=torch.float64)
    growth.requires_grad_()
    (slope,) = torch.autograd.grad(strayed_growth(growth, torch.zeros_like(labels), 1), growth)
    assert slope.abs().max() > 0
