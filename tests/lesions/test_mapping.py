import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bidsapp.geometry.space import Space
from bidsapp.images.volume import Volume
from bidsapp.lesions.instances import Lesion, find_lesions
from bidsapp.lesions.mapping import Location, WarpedLesion, locate, warp_lesion
from tests.lesions.conftest import (
    LosingAlignment,
    ScalingAlignment,
    ball,
    centred_space,
    oblique_space,
    rotation,
)

NATIVE = oblique_space((30, 24, 22), (0.8, 1.0, 1.3))
SHIFT_MM = st.tuples(*[st.floats(-30, 30)] * 3)


def moved(shift_mm: tuple[float, float, float] = (0.0, 0.0, 0.0), degrees: float = 0.0) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = rotation(degrees)
    affine[:3, 3] = shift_mm
    return affine


def one_lesion(mask: Volume) -> Lesion:
    (lesion,) = find_lesions(mask, "binary")
    return lesion


def warped_at(*points_mm: tuple[float, float, float]) -> WarpedLesion:
    points = np.array(points_mm, dtype=np.float64)
    return WarpedLesion(points, float(len(points)), points.mean(axis=0))


@settings(max_examples=15, deadline=None)
@given(SHIFT_MM, st.floats(-90, 90))
def test_a_rigid_motion_moves_the_centre_and_keeps_the_volume(
    shift_mm: tuple[float, float, float], degrees: float
) -> None:
    lesion = one_lesion(ball(NATIVE, (1.0, -2.0, 0.5), 4.0))
    alignment = ScalingAlignment(moved(shift_mm, degrees))
    warped = warp_lesion(lesion, NATIVE, alignment, centred_space((40, 41, 42)))
    wanted = rotation(degrees).T @ (lesion.centre_mm - np.array(shift_mm))
    np.testing.assert_allclose(warped.centre_mm, wanted, atol=0.1)
    np.testing.assert_allclose(warped.point_mm, wanted, atol=1e-9)
    assert warped.volume_mm3 == pytest.approx(lesion.volume_mm3, rel=0.01)
    assert warped.source == "mask"
    assert warped.discrepancy_mm < 0.2


@settings(max_examples=15, deadline=None)
@given(st.tuples(*[st.floats(-2, 2)] * 3))
def test_a_lesion_of_one_voxel_neither_vanishes_nor_grows(shift_mm: tuple[float, float, float]) -> None:
    space = oblique_space((6, 7, 8), (1.0, 1.2, 3.0))
    data = np.zeros(space.shape, dtype=bool)
    data[3, 3, 3] = True
    lesion = one_lesion(Volume(data, space))
    warped = warp_lesion(lesion, space, ScalingAlignment(moved(shift_mm)), centred_space((40, 41, 42)))
    assert warped.volume_mm3 == pytest.approx(3.6, rel=0.03)
    half_a_voxel_mm = 0.5  # of the atlas: finer than its grid no single voxel can be placed
    np.testing.assert_allclose(warped.centre_mm, lesion.centre_mm - np.array(shift_mm), atol=half_a_voxel_mm)


def test_a_lesion_at_the_border_of_its_mask_keeps_its_volume() -> None:
    space = oblique_space((6, 7, 8), (1.0, 1.2, 2.0))
    data = np.zeros(space.shape, dtype=bool)
    data[:2, :2, :2] = True
    lesion = one_lesion(Volume(data, space))
    warped = warp_lesion(lesion, space, ScalingAlignment(), centred_space((10, 11, 12)))
    assert warped.volume_mm3 == pytest.approx(8 * 2.4, rel=0.02)


def test_a_coarse_or_oblique_atlas_grid_gives_the_same_answer() -> None:
    lesion = one_lesion(ball(NATIVE, (1.0, -2.0, 0.5), 4.0))
    alignment = ScalingAlignment(moved((3.0, 1.0, -2.0), 10), 1.1)
    grids = (
        centred_space((40, 41, 42)),
        centred_space((20, 21, 22), 2.0),
        oblique_space((20, 40, 30), (2, 0.9, 1.5)),
    )
    found = [warp_lesion(lesion, NATIVE, alignment, grid) for grid in grids]
    for other in found[1:]:
        np.testing.assert_allclose(other.centre_mm, found[0].centre_mm, atol=0.05)
        assert other.volume_mm3 == pytest.approx(found[0].volume_mm3, rel=0.01)


def test_where_nothing_arrives_the_centre_is_the_warped_point() -> None:
    lesion = one_lesion(ball(NATIVE, (1.0, -2.0, 0.5), 4.0))
    warped = warp_lesion(lesion, NATIVE, LosingAlignment(moved((5.0, 0.0, 0.0))), centred_space((40, 41, 42)))
    assert warped.source == "point"
    assert warped.volume_mm3 == 0
    assert np.isnan(warped.discrepancy_mm)
    np.testing.assert_allclose(warped.centre_mm, lesion.centre_mm - [5, 0, 0])


def test_a_lesion_across_a_border_belongs_half_to_each_side(atlas_labels: Volume) -> None:
    space = centred_space((20, 21, 22))
    lesion = one_lesion(ball(space, (0.0, 0.0, 0.5), 3.2))
    location = locate(warp_lesion(lesion, space, ScalingAlignment(), atlas_labels.space), atlas_labels)
    assert location.overlap == pytest.approx(
        {"Left Cerebral White Matter": 0.5, "Right Cerebral Cortex": 0.5}, abs=0.01
    )
    assert sum(location.overlap.values()) == pytest.approx(1)


def test_a_centre_outside_goes_to_the_nearest_structure_within_3_mm(atlas_labels: Volume) -> None:
    assert locate(warped_at((12.2, 0.3, 0.4)), atlas_labels) == Location(0, 4, 0, {"outside": 1.0})
    assert locate(warped_at((13.2, 0.3, 0.4)), atlas_labels) == Location(0, 0, 0, {"outside": 1.0})


def test_beyond_the_border_of_the_atlas_is_outside(atlas_labels: Volume) -> None:
    assert locate(warped_at((-19.9, 0, 0)), atlas_labels).centroid == 1
    beyond = locate(warped_at((-20.1, 0.0, 0.0)), atlas_labels)
    assert (beyond.centroid, beyond.nearest) == (0, 1)
    assert locate(warped_at((-500.0, 0.0, 0.0)), atlas_labels).nearest == 0


def test_a_bent_lesion_belongs_to_where_most_of_it_lies(atlas_labels: Volume) -> None:
    location = locate(warped_at((-4, 0, 0), (-4, 1, 0), (-4, 2, 0), (9, 0, 0), (30, 0, 0)), atlas_labels)
    assert (location.centroid, location.majority) == (4, 1)
    assert location.overlap == {
        "outside": 0.2,
        "Left Cerebral White Matter": 0.6,
        "Right Cerebral Cortex": 0.2,
    }


def test_a_lesion_mostly_outside_still_has_a_majority_structure(atlas_labels: Volume) -> None:
    location = locate(warped_at((11, 0, 0), (12, 0, 0), (9, 0, 0)), atlas_labels)
    assert (location.centroid, location.majority) == (0, 4)


def test_overlaps_are_written_with_the_largest_share_first() -> None:
    text = Location(1, 1, 1, {"outside": 0.25, "Left Putamen": 0.75}).overlap_text
    assert text == '{"Left Putamen": 0.75, "outside": 0.25}'
    assert json.loads(text) == {"outside": 0.25, "Left Putamen": 0.75}


def test_the_voxel_that_holds_the_point_decides() -> None:
    data = np.zeros((4, 5, 6), dtype=np.uint8)
    data[1, 2, 3] = 11
    labels = Volume(data, Space((4, 5, 6), np.diag([2.0, 1.0, 3.0, 1.0])))
    assert locate(warped_at((2.9, 2.4, 10.4)), labels).centroid == 11
    assert locate(warped_at((3.1, 2.4, 10.4)), labels).centroid == 0


def test_of_several_structures_within_reach_the_nearest_wins_and_a_tie_goes_to_the_first() -> None:
    data = np.zeros((9, 9, 9), dtype=np.uint8)
    data[2, 4, 4], data[5, 4, 4] = 11, 12
    labels = Volume(data, centred_space((9, 9, 9)))
    assert locate(warped_at((0.0, 0.0, 0.0)), labels).nearest == 12
    data[5, 4, 4], data[6, 4, 4] = 0, 4
    assert locate(warped_at((0.0, 0.0, 0.0)), labels).nearest == 4
