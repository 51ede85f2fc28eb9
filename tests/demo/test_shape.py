import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bidsapp.demo.shape import ball_box, cover_fractions, draw_shape
from bidsapp.errors import DataError
from bidsapp.geometry.space import Space


def oblique_space(sizes_mm: tuple[float, float, float]) -> Space:
    angle = np.deg2rad(20.0)
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    shape = tuple(int(40 / size) for size in sizes_mm)
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-1.0, 1, 1]) @ np.diag(sizes_mm)
    affine[:3, 3] = np.array([300.0, 20, -50]) - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Space((shape[0], shape[1], shape[2]), affine)


@settings(max_examples=15, deadline=None)
@given(diameter=st.floats(3, 30), seed=st.integers(0, 1000))
def test_a_tumour_fills_the_volume_of_its_sphere_and_has_its_centre(diameter: float, seed: int) -> None:
    space = oblique_space((1.0, 1.0, 1.0))
    centre = np.array([300.3, 20.2, -50.4])
    shape = draw_shape(centre, diameter, np.random.default_rng(seed))
    box, (fraction,) = cover_fractions(shape, space, insets_mm=(0.0,))
    assert fraction.sum() == pytest.approx(np.pi / 6 * diameter**3, rel=0.03)
    index = np.argwhere(fraction > 0) + [part.start for part in box]
    weights = fraction[fraction > 0]
    mean = (space.voxel_to_world(index.astype(float)) * weights[:, None]).sum(axis=0) / weights.sum()
    np.testing.assert_allclose(mean, centre, atol=0.05)


@pytest.mark.parametrize("sizes_mm", [(0.8, 1.0, 1.2), (0.6, 0.6, 3.0)])
def test_the_same_tumour_fills_the_same_millimetres_on_every_grid(
    sizes_mm: tuple[float, float, float],
) -> None:
    shape = draw_shape(np.array([300.0, 20, -50]), 14.0, np.random.default_rng(4))
    fine, coarse = oblique_space((1.0, 1.0, 1.0)), oblique_space(sizes_mm)
    volumes = [
        cover_fractions(shape, space, insets_mm=(0.0,))[1][0].sum() * space.voxel_volume_mm3
        for space in (fine, coarse)
    ]
    assert volumes[1] == pytest.approx(volumes[0], rel=0.01)


def test_a_core_is_the_tumour_less_a_rim() -> None:
    shape = draw_shape(np.array([300.0, 20, -50]), 20.0, np.random.default_rng(1))
    _, (whole, core) = cover_fractions(shape, oblique_space((1.0, 1.0, 1.0)), insets_mm=(0.0, 3.0))
    assert (core <= whole).all()
    assert core.sum() == pytest.approx(np.pi / 6 * 14.0**3, rel=0.06)


def test_the_box_around_a_ball_holds_exactly_the_voxels_that_may_be_in_it() -> None:
    space = Space((10, 11, 12), np.diag([1.0, 2.0, 3.0, 1.0]))
    assert ball_box(np.array([5.0, 10.0, 15.0]), 2.0, space) == (slice(3, 8), slice(4, 7), slice(4, 7))


def test_a_tumour_outside_the_grid_has_an_empty_box() -> None:
    space = Space((10, 11, 12), np.eye(4))
    box = ball_box(np.array([50.0, 5.0, 5.0]), 2.0, space)
    assert np.zeros(space.shape)[box].size == 0


def test_a_tumour_without_a_size_is_refused() -> None:
    with pytest.raises(DataError, match="positive diameter, got 0"):
        draw_shape(np.zeros(3), 0.0, np.random.default_rng(0))
