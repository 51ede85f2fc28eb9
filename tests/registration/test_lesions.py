"""Lesions under a mask: they move as what touches them, and keep the size of their surroundings."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bidsapp.geometry import kernels
from bidsapp.geometry.space import Space
from bidsapp.images.alignment import Alignment
from bidsapp.images.volume import Volume
from bidsapp.registration.deformable import Convergence, align_deformable
from bidsapp.registration.grids import crop_to_labels, grid_points, pad, pair_labels
from bidsapp.registration.intensities import Intensities
from bidsapp.registration.lesion_cells import find_lesion_cells
from bidsapp.registration.lesion_continuation import continue_into_lesions
from bidsapp.registration.lesion_voxels import find_lesion_voxels, leave_out_lesions
from bidsapp.registration.losses.lesion_growth import strayed_lesions
from bidsapp.settings import RegistrationSettings, Stage
from tests.registration.conftest import FIXED, phantom

STILL = np.eye(4)
CENTRE, RADIUS = np.array([-16.0, 2.0, -14.0]), 7.0
ASIDE = np.array([8.0, 0.0, 0.0])
SETTINGS = RegistrationSettings(
    stages=(
        Stage(grid_mm=8.0, labels_mm=4.0, smoothing_mm=8.0, step_mm=1.0, iterations=10),
        Stage(grid_mm=4.0, labels_mm=2.0, smoothing_mm=4.0, step_mm=0.5, iterations=30),
    ),
    field_mm=2.0,
)


def ball(centre: np.ndarray, radius: float, space: Space = FIXED) -> Volume:
    inside = np.linalg.norm(space.voxel_centres_mm() - centre, axis=1) < radius
    return Volume(inside.reshape(space.shape), space)


def nothing(grid: Space) -> tuple[torch.Tensor, Space]:
    return torch.zeros((3, *grid.shape)), grid


def test_what_grows_as_its_ring_costs_nothing_and_the_cost_is_the_squared_difference():
    counts = torch.tensor([10.0, 4.0, 8.0], dtype=torch.float64)
    alike = torch.tensor([0.0, 4 * 0.3, 8 * 0.3]), torch.tensor([0.0, 4 * 0.09, 8 * 0.09])
    assert strayed_lesions(*(part.double() for part in alike), counts).item() == pytest.approx(0, abs=1e-8)
    apart = torch.tensor([0.0, 4 * 0.5, 8 * 0.3]), torch.tensor([0.0, 4 * 0.25, 8 * 0.09])
    cost = strayed_lesions(*(part.double() for part in apart), counts).item()
    assert cost == pytest.approx(4 * 0.2**2 / 22, rel=1e-6)


def test_a_lesion_without_a_ring_pays_for_uneven_growth_alone():
    counts = torch.tensor([10.0, 4.0, 0.0], dtype=torch.float64)
    even = torch.tensor([0.0, 2.0, 0.0]).double(), torch.tensor([0.0, 1.0, 0.0]).double()
    uneven = torch.tensor([0.0, 2.0, 0.0]).double(), torch.tensor([0.0, 2.0, 0.0]).double()
    assert strayed_lesions(*even, counts).item() == pytest.approx(0)
    assert strayed_lesions(*uneven, counts).item() == pytest.approx(1 / 14)


@pytest.mark.parametrize("grid_mm", [8.0, 4.0, 2.0])
def test_the_smallest_lesion_has_cells_and_a_ring_on_every_grid(fixed, grid_mm):
    box = crop_to_labels(fixed, 6.0)
    fine = Space((80, 96, 88), FIXED.affine @ np.diag([0.5, 0.5, 0.5, 1.0]))
    mask = ball(np.array([11.3, -8.2, 14.1]), 1.5, fine)
    cells = find_lesion_cells(mask, box, STILL, nothing(box.space.with_spacing(grid_mm)))
    assert len(cells.maps) == 1
    counts = torch.bincount(cells.maps[0].flatten(), minlength=3)
    assert counts[1] >= 1
    assert counts[2] > 5 * counts[1]


@pytest.mark.parametrize(("radius", "ring_mm"), [(2.0, 10.8), (10.0, 14.0), (22.0, 16.0)])
def test_a_ring_reaches_the_farther_the_larger_the_lesion_is(fixed, radius, ring_mm):
    space = Space((90, 90, 90), FIXED.affine)
    box = Volume(np.full(space.shape, 2, dtype=np.uint8), space)
    centre = space.voxel_to_world(np.full((1, 3), 44.5))[0]
    grid = box.space.with_spacing(1.5)
    cells = find_lesion_cells(ball(centre, radius, space), box, STILL, nothing(grid)).maps[0].numpy()
    middles = grid.voxel_to_world(np.argwhere(cells == 2) + 0.5)
    reach = np.linalg.norm(middles - centre, axis=1).max()
    assert reach == pytest.approx(radius + ring_mm + 1.5, abs=1.2)


def test_cells_follow_the_affine_and_the_displacement_so_far(fixed):
    box = crop_to_labels(fixed, 6.0)
    grid = box.space.with_spacing(4.0)
    there = find_lesion_cells(ball(CENTRE, RADIUS), box, STILL, nothing(grid)).maps[0]
    shift = np.eye(4)
    shift[:3, 3] = ASIDE
    by_affine = find_lesion_cells(ball(CENTRE + ASIDE, RADIUS), box, shift, nothing(grid)).maps[0]
    torch.testing.assert_close(by_affine, there)
    moved = torch.zeros((3, *grid.shape))
    moved[0] = 2.0  # voxels of 4 mm
    by_field = find_lesion_cells(ball(CENTRE + ASIDE, RADIUS), box, STILL, (moved, grid)).maps[0]
    inner = (slice(3, -3),) * 3
    torch.testing.assert_close(by_field[inner], there[inner])


def test_more_lesions_than_one_map_holds_go_to_several(fixed):
    box = crop_to_labels(fixed, 6.0)
    data = np.zeros(FIXED.shape, dtype=bool)
    data[8:32:3, 8:36:4, 8:36:5] = True
    cells = find_lesion_cells(Volume(data, FIXED), box, STILL, nothing(box.space.with_spacing(2.0)))
    n_lesions = int(data.sum())
    assert n_lesions > 127
    numbers = [set(part.unique().tolist()) - {0} for part in cells.maps]
    assert sum(len({n for n in part if n % 2}) for part in numbers) == n_lesions


def test_the_labels_of_a_lesion_and_what_lands_there_are_not_compared(fixed):
    mask = ball(CENTRE, 9.0)
    pair = pair_labels(fixed, pad(fixed), STILL, FIXED, "cpu")
    left_out = find_lesion_voxels(mask, pad(fixed).space, "cpu")
    inside = torch.from_numpy(mask.data)
    still = torch.zeros((3, *FIXED.shape))
    left = left_out.leave_out(pair, still)
    assert (left.fixed[inside] == kernels.LEFT_OUT).all()
    assert torch.equal(left.fixed[~inside], pair.fixed[~inside])
    still[0] = 3.0
    moved = left_out.leave_out(pair, still).fixed == kernels.LEFT_OUT
    assert torch.equal(moved[:-3], inside[3:])


def test_from_the_patient_a_lesion_is_left_out_where_the_affine_step_lays_it(fixed):
    shift = np.eye(4)
    shift[:3, 3] = ASIDE
    seen = leave_out_lesions(fixed, ball(CENTRE + ASIDE, RADIUS), shift, "cpu")
    inside = ball(CENTRE, RADIUS).data
    assert (seen.data[inside] == kernels.LEFT_OUT).all()
    np.testing.assert_array_equal(seen.data[~inside], fixed.data[~inside])


def test_a_linear_field_continues_into_a_ball_as_it_is(fixed):
    """The harmonic continuation of a linear function is that function; other points stay."""
    box = crop_to_labels(fixed, 6.0)
    grid = box.space.with_spacing(2.0)
    mask = ball(np.array([0.0, 0.0, 0.0]), 9.0)
    continued = continue_into_lesions(mask, labelled(box), STILL, nothing(grid))
    points = grid.voxel_to_world(grid_points(grid)).T.reshape(3, *grid.shape)
    slope = np.array([[0.1, -0.2, 0.05], [0.0, 0.1, 0.3], [-0.1, 0.0, 0.2]])
    field = torch.from_numpy(np.einsum("ab,bijk->aijk", slope, points) + 4.0).float()
    inside = continued.hems[0].inside
    emptied = field.clone()
    emptied.flatten(1)[:, inside] = 0
    filled = continued(emptied)
    assert (filled != emptied).any(dim=0).sum() == len(inside) > 300
    assert (filled - field).abs().max() < 0.4
    assert (filled - field).square().mean(dim=0).flatten()[inside].mean().sqrt() < 0.12
    torch.testing.assert_close(continued(torch.full_like(field, 2.5)), torch.full_like(field, 2.5))


def labelled(box: Volume) -> Volume:
    """The same grid, labelled everywhere."""
    return Volume(np.ones_like(box.data), box.space)


def test_a_lesion_takes_no_step_of_its_own(fixed):
    """What is asked of its points is handed on to the tissue around, all of it."""
    box = crop_to_labels(fixed, 6.0)
    grid = box.space.with_spacing(2.0)
    continued = continue_into_lesions(ball(CENTRE, RADIUS), box, STILL, nothing(grid))
    inside, around = continued.hems[0].inside, continued.hems[0].around
    change = torch.zeros((3, *grid.shape), requires_grad=True)
    continued(change).flatten(1)[0, inside].sum().backward()
    gradient = change.grad.flatten(1)
    assert (gradient[:, inside] == 0).all()
    assert gradient[0, around].sum().item() == pytest.approx(len(inside), rel=1e-4)
    assert (gradient[0, around] > 0).all()
    labels = box.data[
        tuple(np.rint(box.space.world_to_voxel(grid.voxel_to_world(grid_points(grid)))).astype(int).T)
    ]
    assert (labels[around.numpy()] > 0).all()


def test_lesions_are_continued_each_from_its_own_surroundings(fixed):
    box = crop_to_labels(fixed, 6.0)
    grid = box.space.with_spacing(2.0)
    mask = Volume(ball(CENTRE, RADIUS).data | ball(CENTRE * [-1, 1, 1], RADIUS).data, FIXED)
    continued = continue_into_lesions(mask, box, STILL, nothing(grid))
    assert len(continued.hems) == 2
    field = torch.zeros((3, *grid.shape))
    field.flatten(1)[:, continued.hems[0].around] = 1.0
    filled = continued(field).flatten(1)
    torch.testing.assert_close(
        filled[:, continued.hems[0].inside], torch.ones(3, len(continued.hems[0].inside))
    )
    assert (filled[:, continued.hems[1].inside] == 0).all()


def test_the_surroundings_of_a_large_lesion_are_taken_in_blocks():
    space = Space((56, 56, 56), np.eye(4))
    box, grid = Volume(np.ones(space.shape, dtype=np.uint8), space), space.with_spacing(1.5)
    continued = continue_into_lesions(ball(np.full(3, 28.0), 18.0, space), box, STILL, nothing(grid))
    hem = continued.hems[0]
    assert 300 < len(hem.weights) <= 2048 < len(hem.around)
    field = torch.from_numpy(grid.voxel_to_world(grid_points(grid)).T.reshape(3, *grid.shape)).float()
    wrong = torch.linalg.norm(continued(field) - field, dim=0).flatten()[hem.inside]
    assert wrong.mean() < 0.3


def test_a_mask_without_tissue_around_changes_nothing(fixed):
    box = crop_to_labels(fixed, 6.0)
    grid = box.space.with_spacing(4.0)
    everything = Volume(np.ones(FIXED.shape, dtype=np.uint8), FIXED)
    assert continue_into_lesions(everything, box, STILL, nothing(grid)).hems == ()


@pytest.fixture(scope="module")
def squeezed() -> tuple[Volume, Volume, Volume]:
    """A brain in which a growing ball has pushed the tissue aside, its labels healed, and the mask."""
    away = FIXED.voxel_centres_mm() - CENTRE
    distance = np.linalg.norm(away, axis=1, keepdims=True)
    before = CENTRE + away * (1 - 0.5 * np.exp(-((distance / 12) ** 2)))
    labels = phantom(before).reshape(FIXED.shape)
    noise = np.random.default_rng(0).normal(0, 1, FIXED.shape).astype(np.float32)
    return Volume(labels, FIXED), ball(CENTRE, RADIUS), Volume(noise, FIXED)


def growth(alignment: Alignment, mask: Volume) -> float:
    points = mask.space.voxel_centres_mm()[mask.data.ravel()]
    return float(alignment.growth_at(points).mean())


def test_a_masked_lesion_keeps_the_size_of_its_surroundings(fixed, squeezed):
    moving, mask, image = squeezed
    history: list[Convergence] = []
    with_mask, without = (
        align_deformable(
            fixed,
            moving,
            STILL,
            SETTINGS,
            images=Intensities(image, image, lesions),
            on_update=history.append,
        )
        for lesions in (mask, None)
    )
    ring = Volume(ball(CENTRE, RADIUS + 10).data & ~mask.data & (moving.data > 0), FIXED)
    ratios = [growth(alignment, mask) / growth(alignment, ring) for alignment in (with_mask, without)]
    assert abs(ratios[0] - 1) < 0.1
    assert abs(ratios[1] - 1) > 2 * abs(ratios[0] - 1)
    assert "lesion_preservation" in history[0].terms
    assert "lesion_preservation" not in history[-1].terms


def test_an_empty_mask_is_no_mask(fixed, squeezed):
    moving, mask, image = squeezed
    short = replace(SETTINGS, stages=SETTINGS.stages[:1])
    empty = Volume(np.zeros_like(mask.data), FIXED)
    found = [
        align_deformable(fixed, moving, STILL, short, images=Intensities(image, image, lesions)).displacement
        for lesions in (empty, None)
    ]
    np.testing.assert_array_equal(*found)
