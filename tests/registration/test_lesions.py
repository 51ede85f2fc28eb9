"""Lesions under a mask: their cells, their cores, and that they keep the size of their surroundings."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt

from bidsapp.geometry.space import Space
from bidsapp.images.alignment import Alignment
from bidsapp.images.volume import Volume
from bidsapp.registration.deformable import Convergence, align_deformable
from bidsapp.registration.grids import crop_to_labels, pad, pair_labels
from bidsapp.registration.intensities import Intensities
from bidsapp.registration.lesion_cells import find_lesion_cells
from bidsapp.registration.lesion_cores import deep_inside, find_lesion_cores
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


def test_only_what_lies_deeper_than_the_depth_is_core():
    deep = deep_inside(ball(CENTRE, RADIUS), 4.0)
    depth = distance_transform_edt(ball(CENTRE, RADIUS).data, sampling=2.0)
    np.testing.assert_array_equal(deep, depth > 4.0)
    assert find_lesion_cores(ball(CENTRE, 3.0), FIXED, "cpu") is None


def test_the_labels_of_a_core_and_what_lands_there_are_not_compared(fixed):
    pair = pair_labels(fixed, pad(fixed), STILL, FIXED, "cpu")
    cores = find_lesion_cores(ball(CENTRE, 9.0), pad(fixed).space, "cpu")
    left = cores.leave_out(pair, torch.zeros((3, *FIXED.shape)))
    core = torch.from_numpy(deep_inside(ball(CENTRE, 9.0), 4.0))
    assert core.any()
    assert (left.fixed[core] == 0).all()
    assert (left.moving[2:-2, 2:-2, 2:-2][core] == 0).all()
    assert torch.equal(left.fixed[~core], pair.fixed[~core])


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
