import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import binary_erosion
from scipy.spatial.distance import cdist

from bidsapp.errors import ShapeError
from bidsapp.geometry.space import Space
from bidsapp.images.volume import Volume
from bidsapp.metrics.surface import is_surface, surface_distances

label_data = arrays(np.uint8, (4, 5, 6), elements=st.integers(0, 3))


def ball(radius_mm: float, centre_mm: tuple[float, float, float], space: Space, label: int = 5) -> Volume:
    apart = np.linalg.norm(space.voxel_centres_mm() - np.array(centre_mm), axis=1).reshape(space.shape)
    return Volume(np.where(apart <= radius_mm, label, 0).astype(np.uint8), space)


def test_a_ball_moved_along_an_axis_lies_that_many_millimetres_away() -> None:
    space = Space((30, 20, 22), np.diag([1.5, 1.5, 2.0, 1.0]))
    here, there = ball(8, (15, 14, 20), space), ball(8, (21, 14, 20), space)
    assert surface_distances(here, there).hd_mm[5] == pytest.approx(6.0)


def test_two_balls_in_one_another_lie_the_difference_of_their_radii_apart() -> None:
    space = Space((40, 40, 40), np.diag([0.5, 0.5, 0.5, 1.0]))
    inner, outer = ball(5, (10, 10, 10), space), ball(8, (10, 10, 10), space)
    found = surface_distances(inner, outer)
    assert found.hd_mm[5] == pytest.approx(3.0, abs=0.5)
    assert found.hd95_mm[5] == pytest.approx(3.0, abs=0.5)
    assert found.assd_mm[5] == pytest.approx(3.0, abs=0.25)


def test_percentile_and_mean_forgive_one_stray_voxel_and_the_maximum_does_not() -> None:
    space = Space((30, 20, 20), np.eye(4))
    clean = ball(6, (8, 10, 10), space)
    stray = clean.data.copy()
    stray[25, 10, 10] = 5
    found = surface_distances(clean, Volume(stray, space))
    assert found.hd_mm[5] == 11.0
    assert found.hd95_mm[5] == 0.0
    n_surface = int(is_surface(clean.data)[clean.data > 0].sum())
    assert found.assd_mm[5] == pytest.approx(11.0 / (2 * n_surface + 1))


def test_what_lies_far_along_an_axis_is_nearer_than_what_lies_far_across() -> None:
    """Beyond the neighbours that are looked at first, the nearest is still found."""
    for offset in range(2, 20):
        space = Space((24, 22, 5), np.eye(4))
        point, two = np.zeros((2, *space.shape), dtype=np.uint8)
        point[1, 1, 1] = 1
        two[1 + offset, 1, 1] = two[offset, offset, 1] = 1
        found = surface_distances(Volume(point, space), Volume(two, space))
        assert found.hd_mm[1] == pytest.approx(max(offset, np.hypot(offset - 1, offset - 1)))
        there = min(offset, np.hypot(offset - 1, offset - 1))
        assert found.assd_mm[1] == pytest.approx((there + offset + np.hypot(offset - 1, offset - 1)) / 3)


def test_the_larger_of_the_two_directions_counts_for_the_percentile() -> None:
    space = Space((30, 4, 5), np.eye(4))
    point, line = np.zeros((2, *space.shape), dtype=np.uint8)
    point[0, 0, 0] = 1
    line[:21, 0, 0] = 1
    found = surface_distances(Volume(point, space), Volume(line, space))
    # From the line the distances are 0 to 20, the 95th percentile 19; from the point it is 0.
    assert found.hd95_mm[1] == pytest.approx(19.0)


@settings(deadline=None, max_examples=30)
@given(first=label_data, second=label_data)
def test_all_three_measures_agree_with_brute_force(first: np.ndarray, second: np.ndarray) -> None:
    affine = np.array([[-0.9, 0.2, 0.1, 4], [0.1, 1.2, -0.3, 5], [0.0, 0.3, 2.0, 6], [0, 0, 0, 1.0]])
    space = Space(first.shape, affine)
    found = surface_distances(Volume(first, space), Volume(second, space))
    for index in (1, 2, 3):
        masks = first == index, second == index
        if not (masks[0].any() and masks[1].any()):
            assert np.isnan([found.hd_mm[index], found.hd95_mm[index], found.assd_mm[index]]).all()
            continue
        ours, theirs = (
            space.voxel_to_world(np.argwhere(mask & ~binary_erosion(mask)).astype(float)) for mask in masks
        )
        apart = cdist(ours, theirs)
        there, back = apart.min(axis=1), apart.min(axis=0)
        assert found.hd_mm[index] == pytest.approx(max(there.max(), back.max()))
        assert found.hd95_mm[index] == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)))
        assert found.assd_mm[index] == pytest.approx(np.concatenate([there, back]).mean())


@given(first=label_data, second=label_data, scale=st.floats(0.1, 10))
def test_distances_scale_with_the_voxel_size(first: np.ndarray, second: np.ndarray, scale: float) -> None:
    small, large = Space(first.shape, np.eye(4)), Space(first.shape, np.diag([scale, scale, scale, 1.0]))
    before = surface_distances(Volume(first, small), Volume(second, small))
    after = surface_distances(Volume(first, large), Volume(second, large))
    np.testing.assert_allclose(after.hd_mm, scale * before.hd_mm, rtol=1e-9)
    np.testing.assert_allclose(after.assd_mm, scale * before.assd_mm, rtol=1e-9)


@given(first=label_data, second=label_data)
def test_the_order_of_the_maps_does_not_matter(first: np.ndarray, second: np.ndarray) -> None:
    space = Space(first.shape, np.diag([1.0, 2.0, 3.0, 1.0]))
    one = surface_distances(Volume(first, space), Volume(second, space))
    other = surface_distances(Volume(second, space), Volume(first, space))
    np.testing.assert_array_equal(one.hd95_mm, other.hd95_mm)
    np.testing.assert_allclose(one.assd_mm, other.assd_mm)


def test_a_surface_that_is_not_there_has_no_distance() -> None:
    space = Space((9, 10, 11), np.eye(4))
    some, none = ball(3, (4, 5, 5), space), Volume(np.zeros((9, 10, 11), dtype=np.uint8), space)
    for found in (surface_distances(some, none), surface_distances(none, some)):
        assert np.isnan([found.hd_mm[5], found.hd95_mm[5], found.assd_mm[5]]).all()


def test_maps_on_two_grids_are_refused() -> None:
    here, there = Space((9, 10, 11), np.eye(4)), Space((9, 10, 11), np.diag([1.0, 1.0, 2.0, 1.0]))
    with pytest.raises(ShapeError, match="compared on one grid"):
        surface_distances(ball(3, (4, 5, 5), here), ball(3, (4, 5, 5), there))
