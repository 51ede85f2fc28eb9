import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bidsapp.geometry.space import Space
from bidsapp.images.volume import Volume
from bidsapp.reports.planes import (
    EDGE_LETTERS,
    VIEWS,
    WORLD_AXES,
    Mosaic,
    Plane,
    brain_mosaic,
    plane_through,
    sample_points,
    spread,
    world_box,
)


def turned_space() -> Space:
    """An oblique, anisotropic, left-handed grid."""
    cosine, sine = np.cos(0.4), np.sin(0.4)
    affine = np.eye(4)
    affine[:3, :3] = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]]) @ np.diag([-2.0, 3.0, 2.5])
    affine[:3, 3] = (14.0, -20.0, -9.0)
    return Space((14, 15, 16), affine)


def ramp(space: Space, slope: np.ndarray) -> Volume:
    """An image that is linear in world coordinates."""
    return Volume((space.voxel_centres_mm() @ slope).reshape(space.shape), space)


@pytest.mark.parametrize("view", VIEWS)
def test_a_plane_through_an_oblique_grid_reads_the_world_not_the_voxels(view):
    space = turned_space()
    centre = space.voxel_to_world((np.array([space.shape]) - 1.0) / 2)[0]
    plane = plane_through(view, centre, reach_mm=5.0, pixel_mm=0.7)
    slope = np.array([1.0, -2.0, 0.5])
    shown = sample_points(ramp(space, slope), plane.points_mm(), interpolation="linear")
    np.testing.assert_allclose(shown, plane.points_mm() @ slope, atol=1e-4)


@pytest.mark.parametrize(("view", "axis"), [("axial", 0), ("coronal", 0), ("sagittal", 1)])
def test_world_coordinates_grow_to_the_right_and_upwards(view, axis):
    points = Plane(view, 0.0, (-3.0, 3.0), (-2.0, 2.0)).points_mm()
    assert WORLD_AXES[view][0] == axis
    assert (np.diff(points[..., axis], axis=1) > 0).all()
    assert (np.diff(points[..., WORLD_AXES[view][1]], axis=0) > 0).all()


def test_the_letters_name_the_sides_that_the_world_axes_point_to():
    names = {0: ("L", "R"), 1: ("P", "A")}
    for view in VIEWS:
        assert EDGE_LETTERS[view] == names[WORLD_AXES[view][0]]


def test_outside_the_grid_is_black():
    volume = Volume(np.ones((4, 5, 6)), Space((4, 5, 6), np.eye(4)))
    far = np.array([[-5.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0.0, 9.0, 0.0]])
    assert sample_points(volume, far, interpolation="nearest").tolist() == [0.0, 1.0, 0.0]


def test_a_mask_of_truth_values_can_be_sampled():
    volume = Volume(np.ones((4, 5, 6), dtype=bool), Space((4, 5, 6), np.eye(4)))
    assert sample_points(volume, np.array([[1.5, 1.5, 1.5]]), interpolation="linear").tolist() == [1.0]


def test_the_box_of_an_empty_mask_is_that_of_its_grid():
    space = Space((4, 5, 6), np.diag([2.0, 1.0, 1.0, 1.0]))
    low, high = world_box(Volume(np.zeros(space.shape, dtype=bool), space), margin_mm=1.0)
    assert low.tolist() == [-1.0, -1.0, -1.0]
    assert high.tolist() == [7.0, 5.0, 6.0]


@given(st.floats(-100, 100), st.floats(1, 100), st.integers(2, 8), st.lists(st.floats(-150, 250), max_size=1))
def test_positions_stay_in_order_within_their_limits_and_pass_through_what_is_wanted(
    low, size, count, wanted
):
    positions = spread(low, low + size, count, wanted)
    assert len(positions) == count
    assert sorted(positions) == list(positions)
    assert positions[0] >= low
    assert positions[-1] <= low + size
    assert all(each in positions for each in wanted if low <= each <= low + size)


def test_planes_of_a_mosaic_do_not_overlap_and_fill_no_pixel_outside_the_canvas():
    planes = [
        Plane("axial", 0.0, (0.0, width), (0.0, height))
        for width, height in ((10, 7), (4, 9), (6, 3), (5, 5))
    ]
    mosaic = Mosaic(((planes[0], planes[1]), (planes[2],), (planes[3], planes[2], planes[1])))
    taken = np.zeros(mosaic.shape, dtype=int)
    for plane, row, column in mosaic.placed():
        rows, columns = plane.shape
        assert row >= 0
        assert column >= 0
        taken[row : row + rows, column : column + columns] += 1
    assert taken.max() == 1
    assert taken.sum() == sum(plane.shape[0] * plane.shape[1] for plane, _, _ in mosaic.placed())


def test_the_first_row_of_a_mosaic_is_drawn_on_top():
    low, high = Plane("axial", 1.0, (0.0, 2.0), (0.0, 2.0)), Plane("axial", 5.0, (0.0, 2.0), (0.0, 2.0))
    space = Space((4, 5, 6), np.eye(4))
    canvas = Mosaic(((high,), (low,))).sample(ramp(space, np.array([0.0, 0.0, 1.0])), interpolation="linear")
    assert canvas[-1, 0] == 5.0
    assert canvas[0, 0] == 1.0


def test_one_slice_of_each_view_passes_through_the_lesion():
    labels = Volume(np.ones((40, 44, 36), dtype=np.uint8), Space((40, 44, 36), np.diag([3.0, 3.0, 3.0, 1.0])))
    wanted = np.array([61.0, 47.0, 33.0])
    mosaic = brain_mosaic(labels, wanted)
    for row in mosaic.rows:
        axis = WORLD_AXES[row[0].view][2]
        assert wanted[axis] in [plane.position_mm for plane in row]
