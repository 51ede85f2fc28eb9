from pathlib import Path

import numpy as np
import pytest

from bidsapp.demo.mass_effect import MassEffect
from bidsapp.demo.true_map import (
    LEAST_JACOBIAN,
    TrueMap,
    draw_affine,
    draw_true_map,
    jacobian_determinant,
    load_true_map,
    save_true_map,
)
from bidsapp.errors import DataError
from bidsapp.geometry.space import Space

FIXED = Space((60, 70, 65), np.array([[2.0, 0, 0, -60], [0, 2, 0, -70], [0, 0, 2, -65], [0, 0, 0, 1]]))


@pytest.fixture(scope="module")
def true_map() -> TrueMap:
    rng = np.random.default_rng(7)
    drawn = draw_true_map(FIXED, rng, peak_mm=9.0, smoothness_mm=14.0, far_mm=350.0)
    return drawn.with_mass_effects([MassEffect(drawn.affine[:3, 3] + 5, 8.0, 2.0)])


def points_inside(n: int) -> np.ndarray:
    return np.random.default_rng(1).uniform(-50, 50, (n, 3))


def test_the_inverse_lands_where_it_came_from(true_map: TrueMap) -> None:
    points = points_inside(200)
    native = true_map.fixed_to_moving(points)
    np.testing.assert_allclose(true_map.moving_to_fixed(native), points, atol=0.01)


def test_the_drawn_deformation_is_large_and_folds_nothing(true_map: TrueMap) -> None:
    displacement = true_map.inverse_displacement
    assert jacobian_determinant(displacement, true_map.space).min() >= LEAST_JACOBIAN
    assert 4 < np.sqrt((displacement**2).sum(axis=0)).max() <= 9.0


def test_finite_differences_of_the_map_keep_their_orientation(true_map: TrueMap) -> None:
    native = true_map.fixed_to_moving(points_inside(300))
    step = 0.5
    slopes = [
        (true_map.moving_to_fixed(native + shift) - true_map.moving_to_fixed(native - shift)) / (2 * step)
        for shift in step * np.eye(3)
    ]
    assert np.linalg.det(np.stack(slopes, axis=2)).min() > 0.05


def test_without_displacement_the_map_is_its_affine() -> None:
    affine = draw_affine(np.array([1.0, 2.0, 3.0]), np.random.default_rng(2), far_mm=100.0)
    still = TrueMap(affine, FIXED, np.zeros((3, *FIXED.shape), np.float32))
    points = points_inside(10)
    native = points @ affine[:3, :3].T + affine[:3, 3]
    np.testing.assert_allclose(still.moving_to_fixed(native), points, atol=1e-9)
    np.testing.assert_allclose(still.fixed_to_moving(points), native, atol=0.01)


def test_the_displacement_is_added_in_the_atlas() -> None:
    turn = np.array([[0.0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    displacement = np.zeros((3, *FIXED.shape), np.float32)
    displacement[0] = 4.0
    shifted = TrueMap(turn, FIXED, displacement)
    assert shifted.moving_to_fixed(np.array([[0.0, 10.0, 0.0]])).tolist() == [[14.0, 0.0, 0.0]]


def test_mass_effects_are_taken_back_first() -> None:
    affine = np.diag([2.0, 1.0, 1.0, 1.0])
    effect = MassEffect(np.zeros(3), 6.0, 2.0)
    pushed = TrueMap(affine, FIXED, np.zeros((3, *FIXED.shape), np.float32), (effect,))
    np.testing.assert_allclose(pushed.moving_to_fixed(np.array([[6.0, 0, 0]])), [[2.0, 0, 0]], atol=1e-12)


def test_the_jacobian_of_a_stretch_is_its_volume_ratio() -> None:
    space = Space((4, 5, 6), np.diag([-2.0, 3.0, 1.5, 1.0]))
    stretched = space.voxel_centres_mm() * [0.1, 0.2, -0.3]
    found = jacobian_determinant(stretched.T.reshape(3, 4, 5, 6), space)
    np.testing.assert_allclose(found, 1.1 * 1.2 * 0.7)


def test_a_repositioned_head_is_the_same_head_elsewhere(true_map: TrueMap) -> None:
    rigid = np.array([[0.0, -1, 0, 30], [1, 0, 0, -20], [0, 0, 1, 5], [0, 0, 0, 1]])
    moved = true_map.repositioned(rigid)
    native = true_map.with_mass_effects([]).fixed_to_moving(points_inside(20))
    np.testing.assert_allclose(
        moved.moving_to_fixed(native @ rigid[:3, :3].T + rigid[:3, 3]), points_inside(20), atol=0.01
    )


def test_a_saved_map_is_the_same_map(true_map: TrueMap, tmp_path: Path) -> None:
    save_true_map(true_map, tmp_path / "a_truth.npz")
    again = load_true_map(tmp_path / "a_truth.npz")
    native = true_map.fixed_to_moving(points_inside(20))
    np.testing.assert_array_equal(again.moving_to_fixed(native), true_map.moving_to_fixed(native))


def test_a_map_that_folds_cannot_be_inverted() -> None:
    displacement = np.zeros((3, *FIXED.shape), np.float32)
    displacement[0] = 30 * np.sin(FIXED.voxel_centres_mm()[:, 0]).reshape(FIXED.shape)
    with pytest.raises(DataError, match=r"could not be inverted to 0\.005 mm .* it folds"):
        TrueMap(np.eye(4), FIXED, displacement).fixed_to_moving(points_inside(50))
