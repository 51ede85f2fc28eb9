"""Each term of the objective against closed forms, and what must not change it."""

import numpy as np
import pytest
import torch

from bidsapp.geometry import kernels
from bidsapp.geometry.space import Space
from bidsapp.images.volume import Volume
from bidsapp.registration.grids import N_LABELS, pad, pair_labels
from bidsapp.registration.losses.curvature import mean_squared_curvature
from bidsapp.registration.losses.similarity import label_dissimilarity
from bidsapp.registration.losses.smoothness import mean_squared_gradient
from bidsapp.registration.losses.volume_preservation import uneven_growth
from tests.registration.conftest import FIXED, phantom


def dissimilarity(fixed: Volume, moving: Volume) -> float:
    grid = fixed.space.with_spacing(4.0)
    pair = pair_labels(fixed, pad(moving), np.eye(4), grid, "cpu")
    overlap, volume = kernels.label_votes(
        torch.zeros((3, *grid.shape)), pair.to_grid, pair.fixed, pair.moving, pair.maps, N_LABELS
    )
    return label_dissimilarity(overlap, volume, pair.fixed_volume, pair.present).item()


def shifted(by_mm: float) -> Volume:
    points = FIXED.voxel_centres_mm() + np.array([by_mm, 0.0, 0.0])
    return Volume(phantom(points).reshape(FIXED.shape), FIXED)


def test_a_brain_on_itself_costs_nothing_and_a_shift_costs_more_the_farther_it_goes(fixed: Volume) -> None:
    costs = [dissimilarity(fixed, shifted(by)) for by in (0.0, 2.0, 4.0, 8.0)]
    assert costs[0] == pytest.approx(0.0, abs=1e-6)
    assert costs == sorted(costs)
    assert costs[1] > 0.05


def test_renumbering_both_maps_alike_changes_nothing(fixed: Volume) -> None:
    new = np.zeros(35, dtype=np.uint8)
    new[1:] = np.random.default_rng(0).permutation(np.arange(1, 35))
    moving = shifted(3.0)
    renumbered = dissimilarity(Volume(new[fixed.data], FIXED), Volume(new[moving.data], FIXED))
    assert renumbered == pytest.approx(dissimilarity(fixed, moving), rel=1e-9)


def test_mirroring_both_maps_alike_changes_nothing(fixed: Volume) -> None:
    moving = shifted(3.0)
    mirrored = dissimilarity(
        Volume(np.ascontiguousarray(fixed.data[::-1]), FIXED),
        Volume(np.ascontiguousarray(moving.data[::-1]), FIXED),
    )
    assert mirrored == pytest.approx(dissimilarity(fixed, moving), rel=1e-6)


def test_permuted_axes_change_nothing(fixed: Volume) -> None:
    moving = shifted(3.0)
    turned = Space((44, 40, 48), FIXED.affine @ np.eye(4)[:, [2, 0, 1, 3]])
    permuted = dissimilarity(fixed, Volume(np.ascontiguousarray(moving.data.transpose(2, 0, 1)), turned))
    assert permuted == pytest.approx(dissimilarity(fixed, moving), rel=1e-5)


def test_structures_weigh_as_the_square_root_of_their_volume_and_a_share_of_the_mean() -> None:
    """Square roots 4 and 12, mean 8, hence 0.4 x 8 = 3.2 for each besides."""
    fixed = torch.tensor([100.0, 16.0, 144.0, 256.0], dtype=torch.float64)
    warped = torch.tensor([100.0, 8.0, 432.0, 0.0], dtype=torch.float64)
    overlap = torch.tensor([0.0, 6.0, 144.0, 0.0], dtype=torch.float64)
    present = torch.tensor([False, True, True, False])
    cost = label_dissimilarity(overlap, warped, fixed, present).item()
    assert cost == pytest.approx(1 - (7.2 * 0.5 + 15.2 * 0.5) / (7.2 + 15.2))
    warped[2], cost_of_half = 144.0, 1 - (7.2 * 0.5 + 15.2 * 1.0) / (7.2 + 15.2)
    assert label_dissimilarity(overlap, warped, fixed, present).item() == pytest.approx(cost_of_half)


def test_larger_voxels_change_no_weight() -> None:
    fixed, warped, overlap = (8.0 * torch.rand(5, 35, dtype=torch.float64).sort(dim=0).values)[[4, 2, 0]]
    present = torch.arange(35) > 0
    small = label_dissimilarity(overlap, warped, fixed, present).item()
    assert label_dissimilarity(overlap / 8, warped / 8, fixed / 8, present).item() == pytest.approx(small)


@pytest.mark.parametrize("spacing_mm", [2.0, 3.0])
def test_curvature_is_the_squared_second_derivative_per_millimetre(spacing_mm: float) -> None:
    ni, nj, nk = 7, 8, 9
    x_mm, y_mm, _ = spacing_mm * np.indices((ni, nj, nk))
    zero = np.zeros_like(x_mm)
    velocity_mm = np.stack([0.05 * x_mm**2, -0.02 * y_mm**2, zero])
    velocity = torch.from_numpy((velocity_mm / spacing_mm).astype(np.float32))
    expected = 0.10**2 * (ni - 2) / ni + 0.04**2 * (nj - 2) / nj  # planes at the border have no neighbour
    assert mean_squared_curvature(velocity, spacing_mm).item() == pytest.approx(expected, rel=1e-4)


def test_a_linear_velocity_is_straight() -> None:
    i, j, k = np.indices((5, 6, 7))
    velocity = torch.from_numpy(np.stack([i - 2 * j, 3 * k + 1, 4 * i]).astype(np.float32))
    assert mean_squared_curvature(velocity, 2.0).item() == pytest.approx(0.0, abs=1e-10)


def test_a_structure_that_one_map_lacks_takes_no_part(fixed: Volume) -> None:
    without = Volume(np.where(fixed.data == 33, 1, fixed.data).astype(np.uint8), FIXED)
    pair = pair_labels(fixed, without, np.eye(4), FIXED.with_spacing(4.0), "cpu")
    assert not pair.present[33]
    assert not pair.present[0]


def test_smoothness_does_not_depend_on_the_grid() -> None:
    def wave(step_mm: float) -> torch.Tensor:
        x = torch.arange(0, 64, step_mm)
        return torch.sin(x / 10).reshape(1, -1, 1, 1).expand(3, -1, 8, 9) / step_mm  # voxels of the grid

    coarse, fine = mean_squared_gradient(wave(2.0)).item(), mean_squared_gradient(wave(1.0)).item()
    assert fine == pytest.approx(coarse, rel=0.05)


def test_a_structure_that_grows_as_one_costs_nothing_whatever_its_growth() -> None:
    cells = torch.zeros((5, 6, 7), dtype=torch.uint8)
    cells[3:] = 1
    i = torch.arange(6.0).reshape(6, 1, 1).expand(6, 7, 8)
    counts = 4.0 * torch.bincount(cells.flatten()).double()

    def cost(along_i: torch.Tensor) -> float:
        field = torch.stack([along_i, torch.zeros_like(i), torch.zeros_like(i)])
        return uneven_growth(*kernels.log_jacobian_moments(field, cells, 2, 0), counts).item()

    by_structure = torch.where(i <= 3, 0.5 * i, 1.5 - 0.25 * (i - 3))
    assert cost(by_structure) == pytest.approx(0.0, abs=1e-6)
    within_structure = torch.where(i <= 2, 0.5 * i, 1.0 - 0.25 * (i - 2))
    shares = np.array([2 / 3, 1 / 3])
    logs = np.log([1.5, 0.75])
    variance = float(shares @ logs**2 - (shares @ logs) ** 2) * 3 / 5
    assert cost(within_structure) == pytest.approx(variance, rel=1e-4)
