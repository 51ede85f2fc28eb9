"""Every compiled kernel against plain torch in double precision, value and gradient."""

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from bidsapp.geometry import kernels
from bidsapp.geometry.kernels import reference
from bidsapp.geometry.kernels.compiled.landing import slab_starts

SHAPE = (5, 6, 7)
TURN = torch.tensor([[0.9, 0.2, -0.1], [-0.15, 0.8, 0.1], [0.05, -0.1, 1.1]])
INDEX_MAP = torch.cat([TURN, torch.tensor([[1.3], [0.7], [0.9]])], dim=1)


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


def test_squared_curvature_matches_plain_torch() -> None:
    agree(kernels.squared_curvature, field(9))


def test_curvature_of_a_parabola_is_that_of_its_inner_voxels() -> None:
    ramp = torch.arange(6.0)
    parabola = (ramp.square()[None, None, None, :] + 3 * ramp[None, :4, None, None]).expand(3, 4, 5, 6)
    assert kernels.squared_curvature(parabola.contiguous()).item() == pytest.approx(3 * 4 * 5 * 4 * 2.0**2)


def test_products_along_each_axis_match_plain_torch() -> None:
    generator = torch.Generator().manual_seed(4)
    i, j, k = (torch.randn(sizes, generator=generator) for sizes in ((7, 4), (3, 5), (8, 6)))
    i[i.abs() < 0.8] = 0.0
    small = field(4, 1.0, (3, 4, 5, 6))
    agree(lambda f: kernels.separable(f, (i.to(f.dtype), j.to(f.dtype), k.to(f.dtype))), small)


@pytest.mark.parametrize("phase", [0, 1])
def test_log_jacobian_moments_match_plain_torch_also_where_the_field_folds(phase: int) -> None:
    cells = labels((4, 5, 6), 3, 0)
    agree(lambda u: kernels.log_jacobian_moments(u, cells, 3, phase), field(3, 0.3))


@pytest.mark.parametrize("ease", [0.0, 1.0])
@pytest.mark.parametrize("grid_step", [1.0, 2.0])
def test_votes_match_plain_torch_on_an_oblique_moving_grid(grid_step: float, ease: float) -> None:
    fixed, moving = labels((9, 10, 11), 4, 1), labels((12, 9, 13), 4, 2)
    # blocks of equal labels, so that the shortcut for uniform corners is taken too
    moving[2:8, 2:7, 3:9] = 2
    to_grid = torch.tensor([[1 / grid_step, 0.1], [1 / grid_step, -0.2], [1 / grid_step, 0.0]])
    fixed[::3, ::2] = kernels.LEFT_OUT

    def votes(displacement: Tensor) -> tuple[Tensor, Tensor]:
        kind = displacement.dtype
        maps = (INDEX_MAP.to(kind), TURN.to(kind))
        return kernels.label_votes(displacement, to_grid.to(kind), fixed, moving, maps, 4, ease=ease)

    agree(votes, field(4, 0.7, (3, 10, 9, 11)))


@pytest.mark.parametrize("grid_step", [1.0, 2.0])
def test_sampling_an_image_matches_plain_torch_on_an_oblique_moving_grid(grid_step: float) -> None:
    image = field(11, 1.0, (12, 9, 13))
    to_grid = torch.tensor([[1 / grid_step, 0.1], [1 / grid_step, -0.2], [1 / grid_step, 0.0]])

    def read(displacement: Tensor) -> Tensor:
        kind = displacement.dtype
        maps = (INDEX_MAP.to(kind), TURN.to(kind))
        return kernels.sample_image(displacement, to_grid.to(kind), image.to(kind), maps, (9, 10, 11))

    agree(read, field(4, 0.7, (3, 10, 9, 11)))


@pytest.mark.parametrize("planes", [70, 36])
def test_slabs_of_a_taller_grid_vote_sample_and_grow_as_plain_torch_does(planes: int) -> None:
    """Work is cut into slabs that write into one result; with every point a voxel, rows are read in step."""
    shape = (70, 4, 6)
    fixed, moving, image = labels(shape, 3, 1), labels((72, 6, 7), 3, 2), field(11, 1.0, (72, 6, 7))
    fixed[:, :, 0] = fixed[5, 1, 4:] = fixed[6, :, 3] = fixed[::7, 2] = kernels.LEFT_OUT
    cells = labels((planes - 1, 3, 8), 3, 0)
    to_grid = torch.tensor([[1.0 if planes == 70 else 0.5, 0.0], [1.0, 0.0], [1.0, 2.0]])

    def all_of_them(displacement: Tensor) -> tuple[Tensor, ...]:
        kind = displacement.dtype
        maps = (INDEX_MAP.to(kind), TURN.to(kind))
        placed = to_grid.to(kind)
        return (
            *kernels.label_votes(displacement, placed, fixed, moving, maps, 3, ease=1.0),
            kernels.sample_image(displacement, placed, image.to(kind), maps, shape),
            *kernels.log_jacobian_moments(0.2 * displacement, cells, 3, 1),
        )

    agree(all_of_them, field(4, 0.7, (3, planes, 4, 9)))


@pytest.mark.parametrize("step", [0.0, 0.3, 1.0, 2.5])
@pytest.mark.parametrize("n_fixed", [1, 5, 33, 200])
def test_slabs_that_are_worked_on_at_once_share_no_plane_of_gradients(n_fixed: int, step: float) -> None:
    """Of even slabs, and of odd ones, several write at the same time."""
    low = (step * np.arange(n_fixed)).astype(np.int64)
    starts = slab_starts(low, n_fixed)
    assert (starts[0], starts[-1]) == (0, n_fixed)
    written = [
        {plane + up for plane in low[first:end].tolist() for up in (0, 1)}
        for first, end in pairwise(starts.tolist())
    ]
    assert all(written)
    for odd in (0, 1):
        at_once = written[odd::2]
        assert sum(map(len, at_once)) == len(set().union(*at_once))


@pytest.mark.parametrize("radius", [1, 2])
def test_local_correlation_matches_plain_torch_where_weights_leave_holes(radius: int) -> None:
    fixed, weights = 90 + 40 * field(12, 1.0, SHAPE), (field(13, 1.0, SHAPE) > -0.8).double()
    weights[0] *= 0.3
    weights[3:, :3] = 0

    def correlation(moving: Tensor) -> Tensor:
        return kernels.local_correlation(fixed.to(moving.dtype), moving, weights.to(moving.dtype), radius)

    agree(correlation, 500 + 0.5 * fixed + 30 * field(14, 1.0, SHAPE))


def test_slabs_of_a_larger_image_correlate_as_plain_torch_does() -> None:
    shape = (37, 9, 10)
    fixed, weights = field(15, 1.0, shape), (field(16, 1.0, shape) > -1).double()

    def correlation(moving: Tensor) -> Tensor:
        return kernels.local_correlation(fixed.to(moving.dtype), moving, weights.to(moving.dtype), 3)

    agree(correlation, fixed + field(17, 0.5, shape))


def test_the_gradient_of_the_reference_is_the_derivative_of_its_value() -> None:
    outer, inner = field(5)[:, :3, :4, :5].requires_grad_(), field(6)[:, :3, :4, :5].requires_grad_()
    assert torch.autograd.gradcheck(reference.compose, (outer, inner))
    cells = labels((2, 3, 4), 2, 3)
    u = field(7, 0.1)[:, :3, :4, :5].requires_grad_()
    assert torch.autograd.gradcheck(lambda x: reference.log_jacobian_moments(x, cells, 2, 0.05, 0), (u,))
    image, to_grid = field(18, 1.0, (6, 5, 7)), torch.tensor([[1.0, 0.1]] * 3, dtype=torch.float64)
    maps = INDEX_MAP.double(), TURN.double()
    read = partial(reference.sample_image, to_grid=to_grid, image=image, index_map=maps[0], step_map=maps[1])
    assert torch.autograd.gradcheck(lambda x: read(x, shape=(3, 4, 5)), (u,))
    moving, weights = field(19, 1.0, (3, 4, 5)).requires_grad_(), labels((3, 4, 5), 3, 6).double()
    correlation = partial(reference.local_correlation, image[:3, :4, :5], weights=weights, radius=1)
    assert torch.autograd.gradcheck(correlation, (moving,))


def test_boxes_correlate_as_counted_by_hand() -> None:
    rng = np.random.default_rng(7)
    fixed, moving = rng.normal(size=(2, 4, 5, 6))
    weights = (rng.uniform(size=(4, 5, 6)) > 0.3).astype(float)
    scores = []
    for i, j, k in np.argwhere(weights > 0):
        box = tuple(slice(max(0, at - 1), at + 2) for at in (i, j, k))
        inside = weights[box] > 0
        if inside.sum() > 1:
            scores.append(np.corrcoef(fixed[box][inside], moving[box][inside])[0, 1] ** 2)
    tensors = [torch.from_numpy(array).float() for array in (fixed, moving, weights)]
    # the floor of flat regions takes a few thousandths
    assert kernels.local_correlation(*tensors, 1).item() == pytest.approx(np.mean(scores), rel=0.01)


def test_a_lesion_left_out_changes_nothing_whatever_it_looks_like() -> None:
    fixed, moving = field(20, 1.0, SHAPE).float(), field(21, 1.0, SHAPE).float()
    healthy = torch.ones(SHAPE, dtype=torch.bool)
    healthy[2:4, 2:5, 3:6] = False
    bright = torch.where(healthy, moving, 1e3).requires_grad_()
    without = kernels.local_correlation(fixed, moving, healthy, 1)
    seen = kernels.local_correlation(fixed, bright, healthy, 1)
    torch.testing.assert_close(seen, without)
    seen.backward()
    assert bright.grad is not None
    assert (bright.grad[~healthy] == 0).all()


def test_intensities_may_be_scaled_shifted_and_inverted() -> None:
    fixed, moving = field(22, 1.0, (6, 7, 8)).float(), field(23, 1.0, (6, 7, 8)).float()
    everywhere = torch.ones((6, 7, 8), dtype=torch.bool)
    wanted = kernels.local_correlation(fixed, moving, everywhere, 2)
    got = kernels.local_correlation(1000 - 70 * fixed, 3 + 0.01 * moving, everywhere, 2)
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=0)


def test_flat_images_and_empty_masks_correlate_with_nothing() -> None:
    noisy = field(24, 1.0, SHAPE).float()
    step = torch.where(torch.arange(7) < 3, 0.0, 100.0).expand(SHAPE) + 0.01 * noisy
    everywhere = torch.ones(SHAPE, dtype=torch.bool)
    assert kernels.local_correlation(noisy, torch.full(SHAPE, 0.1), everywhere, 1).item() == 0
    assert kernels.local_correlation(noisy, noisy, torch.zeros(SHAPE), 1).item() == 0
    away_from_the_step = everywhere & ((torch.arange(7) < 2) | (torch.arange(7) > 3))
    noise = 0.01 * field(25, 1.0, SHAPE).float()
    assert kernels.local_correlation(step, step + noise, away_from_the_step, 1).item() < 1e-3


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


@pytest.mark.parametrize(("ease", "share"), [(0.0, 0.25), (1.0, 0.15625)])
def test_a_vote_weighs_by_its_distance_or_by_the_smooth_step_of_it(ease: float, share: float) -> None:
    """A quarter of a voxel beyond a border between two labels: ``f^2 (3 - 2 f)`` of 1/4 is 10/64."""
    fixed, moving = torch.zeros((2, 4, 5, 6), dtype=torch.uint8)
    moving[2:] = 1
    moving = torch.nn.functional.pad(moving, (1, 1, 1, 1))
    beside = torch.cat([torch.eye(3), torch.tensor([[0.25], [1.0], [1.0]])], dim=1)
    maps, to_grid = (beside, torch.eye(3)), torch.tensor([[1.0, 0.0]] * 3)
    _, volume = kernels.label_votes(torch.zeros(3, *fixed.shape), to_grid, fixed, moving, maps, 2, ease=ease)
    assert volume[1].item() / 30 == pytest.approx(1 + share, abs=1e-6)


@pytest.mark.parametrize("ease", [0.0, 1.0])
def test_the_slope_of_eased_votes_goes_on_smoothly_from_voxel_to_voxel(ease: float) -> None:
    fixed, moving = labels(SHAPE, 3, 44), labels(tuple(size + 4 for size in SHAPE), 3, 45)
    to_grid = torch.tensor([[1.0, 0.0]] * 3)

    def slope(along_i: float) -> Tensor:
        displacement = torch.zeros(3, *SHAPE)
        displacement[0] = along_i
        displacement.requires_grad_()
        maps = torch.cat([torch.eye(3), torch.full((3, 1), 1.375)], dim=1), torch.eye(3)
        overlap, _ = kernels.label_votes(displacement, to_grid, fixed, moving, maps, 3, ease=ease)
        (found,) = torch.autograd.grad(overlap.sum(), displacement)
        return found[0]

    jump = (slope(-0.375 + 1e-4) - slope(-0.375 - 1e-4)).abs().max().item()
    assert jump < 2e-3 if ease else jump > 0.1


def test_voxels_left_out_neither_vote_nor_agree() -> None:
    fixed, moving = labels(SHAPE, 3, 40), labels(SHAPE, 3, 41)
    to_grid = torch.tensor([[1.0, 0.0]] * 3)
    maps = (torch.eye(3, 4), torch.eye(3))
    fixed[1:] = kernels.LEFT_OUT
    overlap, volume = kernels.label_votes(torch.zeros(3, *SHAPE), to_grid, fixed, moving, maps, 3)
    assert volume.sum() == fixed[0].numel()
    assert (
        overlap.sum()
        == (fixed[0] == moving[0])[:-1, :-1].sum()
        + (fixed[0] == 0)[-1].sum()
        + (fixed[0] == 0)[:-1, -1].sum()
    )


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
