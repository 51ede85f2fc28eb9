"""Every compiled kernel against plain torch in double precision, value and gradient."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from bidsapp.geometry import kernels
from bidsapp.geometry.kernels import reference

SHAPE = (5, 6, 7)


def field(seed: int, amplitude: float = 1.5, shape: tuple[int, ...] = (3, *SHAPE)) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return amplitude * torch.randn(shape, generator=rng, dtype=torch.float64)


def labels(shape: tuple[int, ...], n_labels: int, seed: int) -> Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.integers(0, n_labels, shape).astype(np.uint8))


def agree(function: Callable[..., Tensor | tuple[Tensor, ...]], *arguments: Tensor) -> None:
    """Compare the compiled path with the reference, in value and in gradient."""
    exact = [argument.clone().requires_grad_() for argument in arguments]
    single = [argument.float().requires_grad_() for argument in arguments]
    wanted, got = function(*exact), function(*single)
    wanted = wanted if isinstance(wanted, tuple) else (wanted,)
    got = got if isinstance(got, tuple) else (got,)
    total_wanted, total_got = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for number, (a, b) in enumerate(zip(wanted, got, strict=True)):
        torch.testing.assert_close(b.double(), a, rtol=2e-5, atol=2e-5)
        weight = field(99 + number, 1.0, tuple(a.shape))
        total_wanted = total_wanted + (weight * a).sum()
        total_got = total_got + (weight * b.double()).sum()
    total_wanted.backward()
    total_got.backward()
    for a, b in zip(exact, single, strict=True):
        assert a.grad is not None
        assert b.grad is not None
        torch.testing.assert_close(b.grad.double(), a.grad, rtol=1e-3, atol=1e-3 * float(a.grad.abs().max()))


def test_compose_matches_plain_torch_also_beyond_the_border() -> None:
    agree(kernels.compose, field(0), field(1))


def test_smoothing_matches_plain_torch() -> None:
    agree(lambda f: kernels.smooth(f, torch.tensor([0.1, 0.5, 0.3], dtype=f.dtype)), field(2))


def test_squared_differences_match_plain_torch() -> None:
    agree(kernels.squared_differences, field(9))


@pytest.mark.parametrize("phase", [0, 1])
def test_log_jacobian_moments_match_plain_torch_also_where_the_field_folds(phase: int) -> None:
    cells = labels((4, 5, 6), 3, 0)
    agree(lambda u: kernels.log_jacobian_moments(u, cells, 3, phase), field(3, 0.3))


@pytest.mark.parametrize("grid_step", [1.0, 2.0])
def test_votes_match_plain_torch_on_an_oblique_moving_grid(grid_step: float) -> None:
    fixed, moving = labels((9, 10, 11), 4, 1), labels((12, 9, 13), 4, 2)
    # blocks of equal labels, so that the shortcut for uniform corners is taken too
    moving[2:8, 2:7, 3:9] = 2
    to_grid = torch.tensor([[1 / grid_step, 0.1], [1 / grid_step, -0.2], [1 / grid_step, 0.0]])
    turn = torch.tensor([[0.9, 0.2, -0.1], [-0.15, 0.8, 0.1], [0.05, -0.1, 1.1]])
    index_map = torch.cat([turn, torch.tensor([[1.3], [0.7], [0.9]])], dim=1)

    def votes(displacement: Tensor) -> tuple[Tensor, Tensor]:
        kind = displacement.dtype
        maps = (index_map.to(kind), turn.to(kind))
        return kernels.label_votes(displacement, to_grid.to(kind), fixed, moving, maps, 4)

    agree(votes, field(4, 0.7, (3, 10, 9, 11)))


def test_the_gradient_of_the_reference_is_the_derivative_of_its_value() -> None:
    outer, inner = field(5)[:, :3, :4, :5].requires_grad_(), field(6)[:, :3, :4, :5].requires_grad_()
    assert torch.autograd.gradcheck(reference.compose, (outer, inner))
    cells = labels((2, 3, 4), 2, 3)
    u = field(7, 0.1)[:, :3, :4, :5].requires_grad_()
    assert torch.autograd.gradcheck(lambda x: reference.log_jacobian_moments(x, cells, 2, 0.05, 0), (u,))


def test_identical_labels_under_the_identity_agree_completely() -> None:
    fixed = labels(SHAPE, 3, 5)
    padded = torch.zeros(tuple(size + 2 for size in SHAPE), dtype=torch.uint8)
    padded[1:-1, 1:-1, 1:-1] = fixed
    to_grid = torch.tensor([[1.0, 0.0]] * 3)
    maps = (torch.cat([torch.eye(3), torch.ones(3, 1)], dim=1), torch.eye(3))
    overlap, volume = kernels.label_votes(torch.zeros(3, *SHAPE), to_grid, fixed, padded, maps, 3)
    counts = torch.bincount(fixed.flatten().long(), minlength=3).double()
    torch.testing.assert_close(overlap, counts)
    torch.testing.assert_close(volume, counts)


def test_a_uniform_stretch_has_the_logarithm_of_its_volume_everywhere() -> None:
    at = torch.stack(torch.meshgrid(*[torch.arange(float(n)) for n in SHAPE], indexing="ij"))
    cells = torch.zeros((4, 5, 6), dtype=torch.uint8)
    first, second = kernels.log_jacobian_moments(0.2 * at, cells, 1, 1)
    n_corners = 4 * cells.numel()
    assert first.item() / n_corners == pytest.approx(3 * np.log(1.2), rel=1e-5)
    assert second.item() / n_corners == pytest.approx((3 * np.log(1.2)) ** 2, rel=1e-5)


def test_sampling_reproduces_a_linear_field_and_clamps_beyond_the_border() -> None:
    at = np.stack(np.meshgrid(*[np.arange(float(n)) for n in SHAPE], indexing="ij")).astype(np.float32)
    points = np.array([[1.25, 2.5, 3.75], [-1.0, 0.0, 9.0]])
    expected = np.array([[1.25, 2.5, 3.75], [0.0, 0.0, 6.0]])
    np.testing.assert_allclose(kernels.sample_vectors(at, points), expected, atol=1e-6)
    np.testing.assert_allclose(kernels.sample_scalars(at[0], points), [1.25, 0.0], atol=1e-6)


def test_inversion_finds_the_point_that_lands_on_the_target() -> None:
    rng = np.random.default_rng(0)
    smooth = kernels.smooth(field(8, 4.0, (3, 12, 13, 14)).float(), torch.tensor([0.2, 0.6, 0.2]))
    displacement = (0.25 * smooth).numpy()
    x = rng.uniform(2, 10, (50, 3))
    y = x + kernels.sample_vectors(displacement, x)
    found = kernels.invert_at(displacement, y, y)
    np.testing.assert_allclose(found + kernels.sample_vectors(displacement, found), y, atol=2e-3)
