"""The last touch: whatever over-fitting left, every lesion grows as the tissue around it."""

import numpy as np
import pytest
import torch

from bidsapp.geometry.space import Space
from bidsapp.images.alignment import Alignment
from bidsapp.images.volume import Volume
from bidsapp.lesions import preservation
from bidsapp.lesions.instances import find_lesions
from bidsapp.lesions.preservation import jacobian_ratio
from bidsapp.registration.deformable import align_deformable
from bidsapp.registration.flow import Flow
from bidsapp.registration.grids import crop_to_labels, pad
from bidsapp.registration.intensities import Intensities
from bidsapp.registration.lesion_levelling import CHARGE_MM, RING_MM, level_lesions
from bidsapp.registration.preparation import Brains
from bidsapp.settings import RegistrationSettings, Stage
from tests.registration.conftest import rotation, scanner, seen_through

TURNED = np.eye(4)
TURNED[:3, :3] = rotation((12, -7, 20)) @ np.diag([1.05, 0.95, 1.1])
TURNED[:3, 3] = (14, -9, 21)
OBLIQUE = rotation((5, 30, -14)) @ np.diag([1.0, 1.2, -0.9])
GRID_MM = 2.5


def brains_with(fixed: Volume, lesions: list[tuple[tuple[float, float, float], float]]) -> Brains:
    """A patient scanned askew; lesions by their places in the atlas, and radii in the patient."""
    native = scanner(TURNED, OBLIQUE)
    labels = seen_through(TURNED, native)
    places = native.voxel_centres_mm()
    inside = np.zeros(len(places), dtype=np.bool_)
    for place, radius in lesions:
        there = TURNED[:3, :3] @ np.array(place) + TURNED[:3, 3]
        inside |= np.linalg.norm(places - there, axis=1) <= radius
    mask = Volume(inside.reshape(native.shape), native)
    image = Volume(labels.data.astype(np.float32), native)
    return Brains(crop_to_labels(fixed, 6.0), pad(labels), TURNED, Intensities(fixed, image, mask))


def pushed(brains: Brains, at: tuple[float, float, float], strength: float) -> tuple[Flow, torch.Tensor]:
    """A velocity of long waves that also grows what lies at a point of the atlas, within 5 mm."""
    grid = brains.box.space.with_spacing(GRID_MM)
    points = grid.voxel_centres_mm()
    waves = 3 * np.sin(points[:, [1, 2, 0]] / 14 + np.array([0.3, 1.1, 2.0]))
    away = points - np.array(at)
    growing = strength * away * np.exp(-0.5 * (np.linalg.norm(away, axis=1, keepdims=True) / 5) ** 2)
    velocity = ((waves + growing) / GRID_MM).T.reshape(3, *grid.shape)
    flow = Flow(grid, brains.box.space.with_spacing(1.0), 4, "cpu")
    return flow, torch.from_numpy(np.ascontiguousarray(velocity, dtype=np.float32))


def ratios(brains: Brains, flow: Flow, velocity: torch.Tensor) -> list[float]:
    """Jacobian ratios as the reports tell them."""
    to_world = flow.fine.affine[:3, :3]
    there, back = (
        np.einsum("ab,bijk->aijk", to_world, flow(way)[1].numpy()).astype(np.float32)
        for way in (velocity, -velocity)
    )
    alignment = Alignment(brains.start, flow.fine, there, back)
    mask = brains.lesions
    assert mask is not None
    lesions = find_lesions(Volume(mask.data.astype(np.uint8), mask.space), "binary")
    return [jacobian_ratio(lesion, lesions, mask.space, alignment, brains.padded) for lesion in lesions]


def test_lesions_are_levelled_with_the_ring_that_reports_look_at():
    assert RING_MM == preservation.RING_MM


@pytest.mark.parametrize("strength", [0.12, -0.2])
@pytest.mark.parametrize("radius", [1.5, 3.0, 8.0])
def test_a_lesion_that_grew_or_shrank_grows_as_the_ring_that_reports_look_at(fixed, radius, strength):
    place = (-14.0, 6.0, 8.0)
    brains = brains_with(fixed, [(place, radius)])
    flow, velocity = pushed(brains, place, strength)
    (before,) = ratios(brains, flow, velocity)
    (after,) = ratios(brains, flow, level_lesions(velocity, flow, brains))
    assert abs(np.log(before)) > 0.08
    assert after == pytest.approx(1, abs=0.007)


def test_lesions_are_levelled_each_by_itself(fixed):
    places = (-14.0, 6.0, 8.0), (2.0, 8.0, 10.0), (10.0, -14.0, -8.0)
    brains = brains_with(fixed, [(place, 2.5) for place in places])
    flow, velocity = pushed(brains, places[0], 0.12)
    velocity = velocity + pushed(brains, places[2], -0.15)[1] - pushed(brains, places[2], 0.0)[1]
    before, after = (
        ratios(brains, flow, velocity),
        ratios(brains, flow, level_lesions(velocity, flow, brains)),
    )
    assert max(before) > 1.05
    assert min(before) < 0.95
    assert after == pytest.approx([1, 1, 1], abs=0.02)


def test_a_small_lesion_beside_a_large_one_that_shrinks_is_levelled_too(fixed):
    places = (-18.0, 6.0, 8.0), (-6.0, 6.0, 8.0)
    brains = brains_with(fixed, [(places[0], 2.0), (places[1], 8.0)])
    flow, velocity = pushed(brains, places[1], -0.3)
    levelled = level_lesions(velocity, flow, brains)
    assert ratios(brains, flow, levelled) == pytest.approx([1, 1], abs=0.007)


def test_brain_far_from_lesions_stays_where_it_is(fixed):
    place = (-20.0, 6.0, 8.0)
    brains = brains_with(fixed, [(place, 3.0)])
    flow, velocity = pushed(brains, place, 0.12)
    change = (level_lesions(velocity, flow, brains) - velocity).norm(dim=0).numpy() * GRID_MM
    # from where the lesion comes from to where it goes the waves lead 6 mm at most
    far = np.linalg.norm(flow.grid.voxel_centres_mm() - np.array(place), axis=1) > 3 + 6 + CHARGE_MM
    assert change.max() > 0.1
    assert far.sum() > 1000
    assert change.ravel()[far].max() < 1e-6  # what Fourier transforms leave


def test_what_grows_alike_stays_as_it_is(fixed):
    brains = brains_with(fixed, [((-14.0, 6.0, 8.0), 4.0)])
    flow, velocity = pushed(brains, (0.0, 0.0, 0.0), 0.0)
    still = torch.zeros_like(velocity)
    assert level_lesions(still, flow, brains).abs().max() < 1e-5


def test_without_lesions_or_without_brain_around_them_the_velocity_is_kept(fixed):
    brains = brains_with(fixed, [])
    flow, velocity = pushed(brains, (0.0, 0.0, 0.0), 0.1)
    assert level_lesions(velocity, flow, brains) is velocity
    outside = brains_with(fixed, [((0.0, 46.0 + RING_MM, 0.0), 4.0)])
    assert outside.lesions is not None
    torch.testing.assert_close(level_lesions(velocity, flow, outside), velocity)


@pytest.mark.parametrize("shape", [(4, 5, 6)])
def test_a_mask_that_fills_its_grid_is_survived(fixed, shape):
    brains = brains_with(fixed, [])
    full = Volume(np.ones(shape, dtype=np.bool_), Space(shape, TURNED @ np.diag([3.0, 2.0, 1.0, 1.0])))
    assert brains.images is not None
    covered = Brains(brains.box, brains.padded, TURNED, Intensities(fixed, brains.images.moving, full))
    flow, velocity = pushed(covered, (0.0, 0.0, 0.0), 0.1)
    torch.testing.assert_close(level_lesions(velocity, flow, covered), velocity)


def test_over_fitting_ends_level_if_the_weight_of_lesions_says_so(fixed):
    brains = brains_with(fixed, [((-14.0, 6.0, 8.0), 2.0)])
    images, start = brains.images, TURNED.copy()
    assert images is not None
    assert images.lesions is not None
    start[:3, 3] += (1.5, -2.0, 1.0)
    stages = (Stage(grid_mm=4.0, labels_mm=2.0, smoothing_mm=4.0, step_mm=0.5, iterations=6),)
    lesions = find_lesions(Volume(images.lesions.data.astype(np.uint8), images.lesions.space), "binary")

    def ratio(lesion_weight: float) -> float:
        settings = RegistrationSettings(stages=stages, lesion_weight=lesion_weight, field_mm=2.0)
        found = align_deformable(fixed, brains.padded, start, settings, images=images)
        return jacobian_ratio(lesions[0], lesions, images.lesions.space, found, brains.padded)

    assert ratio(5.0) == pytest.approx(1, abs=0.01)
    assert abs(ratio(0.0) - 1) > 0.02


def test_the_objective_of_the_paper_knows_no_lesions(fixed):
    brains = brains_with(fixed, [((-14.0, 6.0, 8.0), 2.0)])
    assert brains.images is not None
    settings = RegistrationSettings(
        stages=(Stage(grid_mm=4.0, labels_mm=2.0, smoothing_mm=4.0, step_mm=0.5, iterations=4),),
        objective="paper",
        field_mm=2.0,
    )
    found = [
        align_deformable(fixed, brains.padded, TURNED, settings, images=images).displacement
        for images in (brains.images, Intensities(fixed, brains.images.moving, None))
    ]
    np.testing.assert_array_equal(*found)
