"""Affine and deformation together: both directions, in oblique spaces."""

import numpy as np
import pytest

from bidsapp.errors import ShapeError
from bidsapp.geometry.space import Space
from bidsapp.images.alignment import Alignment
from bidsapp.images.volume import Volume

FIXED = Space((13, 14, 15), np.array([[2.0, 0, 0, -12], [0, 2.0, 0, -14], [0, 0, 2.0, -13], [0, 0, 0, 1]]))
AFFINE = np.array([[0.9, 0.2, 0.0, 310.0], [-0.2, 1.1, 0.1, -42.0], [0.05, -0.1, 0.95, 17.0], [0, 0, 0, 1]])


def waves(amplitude_mm: float) -> np.ndarray:
    i, j, k = np.indices(FIXED.shape)
    return amplitude_mm * np.stack([np.sin(j / 3), np.cos(k / 4), np.sin(i / 3)]).astype(np.float32)


def alignment(amplitude_mm: float = 1.5) -> Alignment:
    return Alignment(AFFINE, FIXED, waves(amplitude_mm), -waves(amplitude_mm))


def points() -> np.ndarray:
    return np.random.default_rng(0).uniform(-9, 9, (200, 3))


def test_a_point_goes_through_the_deformation_first_and_the_affine_second() -> None:
    at_voxel = FIXED.voxel_to_world(np.array([[3.0, 4.0, 5.0]]))
    wanted = AFFINE[:3, :3] @ (at_voxel[0] + waves(1.5)[:, 3, 4, 5]) + AFFINE[:3, 3]
    np.testing.assert_allclose(alignment().fixed_to_moving(at_voxel)[0], wanted, atol=1e-5)


def test_there_and_back_is_the_starting_point_even_from_a_rough_inverse() -> None:
    there = alignment().fixed_to_moving(points())
    np.testing.assert_allclose(alignment().moving_to_fixed(there), points(), atol=5e-3)


def test_an_image_pulled_through_a_pure_affine_sits_where_the_affine_says() -> None:
    oblique = Space(
        (20, 21, 22), np.array([[1.5, 0.3, 0, 290], [-0.3, 1.6, 0.2, -66], [0.1, 0, -1.4, 30], [0, 0, 0, 1]])
    )
    world = oblique.voxel_centres_mm().reshape(*oblique.shape, 3)
    ramp = Volume(world[..., 0].astype(np.float32), oblique)
    pulled = alignment().affine_only().resample(ramp, onto=FIXED, interpolation="linear")
    wanted = (FIXED.voxel_centres_mm() @ AFFINE[:3, :3].T + AFFINE[:3, 3])[:, 0].reshape(FIXED.shape)
    seen = pulled.data != 0
    assert seen.mean() > 0.5
    np.testing.assert_allclose(pulled.data[seen], wanted[seen], atol=1e-2)


def test_labels_stay_the_labels_they_were() -> None:
    labels = Volume(np.full((40, 40, 40), 7, np.uint8), Space((40, 40, 40), AFFINE @ np.diag([2, 2, 2, 1.0])))
    pulled = alignment().resample(labels, onto=FIXED, interpolation="nearest")
    assert pulled.data.dtype == np.uint8
    assert set(np.unique(pulled.data)) <= {0, 7}


def test_images_pulled_together_are_those_pulled_one_by_one() -> None:
    coarse = Space((40, 40, 40), AFFINE @ np.diag([2, 2, 2, 1.0]))
    fine = Space((50, 41, 42), AFFINE @ np.diag([1.5, 2, 1.9, 1.0]))
    rng = np.random.default_rng(3)
    t1w = Volume(rng.random(coarse.shape, dtype=np.float32), coarse)
    labels, others = (
        Volume(rng.integers(0, 9, space.shape).astype(np.uint8), space) for space in (coarse, fine)
    )
    together = alignment().resample_all(
        [(t1w, "linear"), (labels, "nearest"), (others, "nearest")], onto=FIXED
    )
    alone = [
        alignment().resample(t1w, onto=FIXED, interpolation="linear"),
        alignment().resample(labels, onto=FIXED, interpolation="nearest"),
        alignment().resample(others, onto=FIXED, interpolation="nearest"),
    ]
    for one, other in zip(together, alone, strict=True):
        assert one.space == FIXED
        np.testing.assert_array_equal(one.data, other.data)
        assert one.data.any()


def test_growth_is_one_over_the_jacobian_and_leaves_the_affine_out() -> None:
    stretch = 0.2 * FIXED.voxel_centres_mm().T.reshape(3, *FIXED.shape).astype(np.float32)
    stretched = Alignment(AFFINE, FIXED, stretch, np.zeros_like(stretch))
    np.testing.assert_allclose(stretched.jacobian_determinant().data, 1.2**3, rtol=1e-4)
    at = stretched.fixed_to_moving(points() / 2)
    np.testing.assert_allclose(stretched.growth_at(at), 1 / 1.2**3, rtol=1e-3)


@pytest.mark.usefixtures("_shapes_unchecked")
def test_a_displacement_on_another_grid_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"sizes \(3, 13, 14, 15\), got \(3, 4, 5, 6\)"):
        Alignment(AFFINE, FIXED, waves(1.0), np.zeros((3, 4, 5, 6), np.float32))
