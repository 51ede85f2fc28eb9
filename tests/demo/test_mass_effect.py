import numpy as np
import pytest

from bidsapp.demo.mass_effect import MassEffect, push, undo_all
from bidsapp.errors import DataError
from bidsapp.geometry.space import Space

CENTRE = np.array([10.0, -20.0, 30.0])


def test_the_push_is_largest_at_the_surface_of_the_tumour() -> None:
    effect = MassEffect(CENTRE, 6.0, 2.0)
    radii = np.linspace(0, 20, 401)
    points = CENTRE + radii[:, None] * np.array([0.6, 0.0, 0.8])
    pushes = np.linalg.norm(points - effect.undo(points), axis=1)
    assert radii[pushes.argmax()] == pytest.approx(6.0, abs=0.05)
    assert pushes.max() == pytest.approx(2.0)
    assert (np.linalg.norm(effect.undo(points) - CENTRE, axis=1) <= radii + 1e-9).all()
    assert (pushes[radii >= 18.0] == 0).all()


def test_the_strongest_push_folds_nothing() -> None:
    effect = MassEffect(np.zeros(3), 6.0, 3.0)
    radii = np.linspace(0, 20, 2001)
    before = effect.undo(radii[:, None] * np.array([[1.0, 0, 0]]))[:, 0]
    assert (np.diff(before) > 0).all()


def test_pushes_are_taken_back_in_the_order_of_the_list() -> None:
    first, second = MassEffect(CENTRE, 6.0, 2.0), MassEffect(CENTRE + 10, 8.0, 3.0)
    points = CENTRE + np.random.default_rng(0).uniform(-8, 12, (20, 3))
    np.testing.assert_array_equal(undo_all([first, second], points), second.undo(first.undo(points)))


def test_a_pushed_image_shows_at_each_point_what_lay_where_the_push_came_from() -> None:
    affine = np.diag([-1.0, 1.5, 2.0, 1.0])
    affine[:3, 3] = [30.0, -40.0, 5.0]
    space = Space((40, 28, 26), affine)
    ramp = (space.voxel_centres_mm() @ [1.0, 2.0, 3.0]).reshape(space.shape)
    effect = MassEffect(CENTRE, 5.0, 2.0)
    pushed = push(ramp, space, [effect], interpolation="linear")
    expected = effect.undo(space.voxel_centres_mm()) @ [1.0, 2.0, 3.0]
    np.testing.assert_allclose(pushed.ravel(), expected, atol=1e-9)
    assert np.abs(pushed - ramp).max() > 4
    far = np.linalg.norm(space.voxel_centres_mm() - CENTRE, axis=1).reshape(space.shape) >= effect.reach_mm
    np.testing.assert_array_equal(pushed[far], ramp[far])


def test_a_push_that_would_fold_is_refused() -> None:
    with pytest.raises(DataError, match=r"can push its surroundings by 0 to 3.0 mm, got 4.0 mm"):
        MassEffect(CENTRE, 6.0, 4.0)
