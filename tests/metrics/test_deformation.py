import numpy as np
import pytest

from bidsapp.errors import DataError, ShapeError
from bidsapp.geometry.displacement import jacobian_determinant, non_diffeomorphic_volume_mm3
from bidsapp.geometry.space import Space
from bidsapp.metrics import deformation
from bidsapp.metrics.deformation import inverse_error_mm, regularity

SHEAR = np.array([[0.2, 0.1, -0.05], [0.0, -0.1, 0.15], [0.1, 0.05, 0.3]])
MIRROR = np.diag([-2.0, 0.0, 0.0])


def linear(matrix: np.ndarray, space: Space) -> np.ndarray:
    """Displacement (3, i, j, k) of x -> x + matrix x."""
    return (space.voxel_centres_mm() @ matrix.T).T.reshape(3, *space.shape).astype(np.float32)


def random_field(space: Space, amplitude_mm: float) -> np.ndarray:
    noise = np.random.default_rng(4).normal(size=(3, *space.shape))
    return (amplitude_mm * noise).astype(np.float32)


def everywhere(space: Space) -> np.ndarray:
    return np.ones(space.shape, dtype=bool)


def inside(space: Space) -> np.ndarray:
    mask = np.zeros(space.shape, dtype=bool)
    mask[1:-1, 1:-1, 1:-1] = True
    return mask


@pytest.mark.parametrize("scale", [0.5, 1.2])
def test_uniform_scaling_multiplies_volumes_by_its_cube_even_in_the_corners(
    oblique: Space, scale: float
) -> None:
    determinant = jacobian_determinant(linear((scale - 1) * np.eye(3), oblique), oblique)
    np.testing.assert_allclose(determinant, scale**3, rtol=1e-4)


def test_a_linear_map_has_its_own_determinant_in_any_space(oblique: Space) -> None:
    determinant = jacobian_determinant(linear(SHEAR, oblique), oblique)
    np.testing.assert_allclose(determinant, np.linalg.det(np.eye(3) + SHEAR), rtol=1e-4)


def test_a_quadratic_stretch_grows_linearly_inside() -> None:
    space = Space((9, 4, 5), np.diag([2.0, 1.0, 1.0, 1.0]))
    x = space.voxel_centres_mm()[:, 0].reshape(space.shape)
    field = np.stack([0.01 * x**2, 0 * x, 0 * x]).astype(np.float32)
    # d/dx (x + 0.01 x^2) = 1 + 0.02 x, and central differences are exact on parabolas
    np.testing.assert_allclose(jacobian_determinant(field, space)[1:-1], (1 + 0.02 * x)[1:-1], rtol=1e-5)


def test_the_identity_scores_zero_three_times(oblique: Space) -> None:
    found = regularity(np.zeros((3, *oblique.shape), dtype=np.float32), oblique, everywhere(oblique))
    assert (found.folded_fraction, found.ndv_percent) == (0.0, 0.0)
    assert found.sd_log_jacobian == pytest.approx(0.0, abs=1e-6)


def test_a_map_that_turns_nothing_inside_out_has_no_folded_volume(oblique: Space) -> None:
    assert non_diffeomorphic_volume_mm3(linear(SHEAR, oblique), oblique, everywhere(oblique)) == 0.0


def test_a_mirrored_space_is_folded_everywhere_by_its_whole_volume(oblique: Space) -> None:
    field = linear(MIRROR, oblique)
    found = regularity(field, oblique, inside(oblique))
    assert found.folded_fraction == 1.0
    assert found.ndv_percent == pytest.approx(100.0, rel=1e-4)
    assert np.isnan(found.sd_log_jacobian)
    n_cubes = np.prod(np.array(oblique.shape) - 1)
    volume = non_diffeomorphic_volume_mm3(field, oblique, everywhere(oblique))
    assert volume == pytest.approx(n_cubes * oblique.voxel_volume_mm3, rel=1e-4)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_checkerboard_that_central_differences_miss_is_seen(axis: int) -> None:
    space = Space((8, 10, 12), np.diag([1.0, 2.0, 3.0, 1.0]))
    voxel_mm = space.voxel_sizes_mm[axis]
    field = np.zeros((3, *space.shape), dtype=np.float32)
    field[axis] = voxel_mm * (-1.0) ** np.indices(space.shape)[axis]
    found = regularity(field, space, inside(space))
    assert found.folded_fraction == 0.0
    # every other layer of cubes is turned inside out, keeping its size
    assert found.ndv_percent == pytest.approx(50.0)


def test_slabs_do_not_change_the_answer(oblique: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    field, mask = random_field(oblique, 1.0), inside(oblique)
    whole = inverse_error_mm(field, -field, oblique, mask)
    monkeypatch.setattr(deformation, "_SLAB_VOXELS", 7)
    np.testing.assert_array_equal(inverse_error_mm(field, -field, oblique, mask), whole)


def test_spread_of_the_jacobian_by_hand() -> None:
    space = Space((8, 4, 5), np.eye(4))
    field = np.zeros((3, *space.shape), dtype=np.float32)
    field[0, 4:] = np.arange(4).reshape(4, 1, 1)
    mask = everywhere(space)
    mask[3:5] = False
    # 3 layers of determinant 1 and 3 of 2: the logarithms 0 and ln 2 spread by ln 2 / 2
    assert regularity(field, space, mask).sd_log_jacobian == pytest.approx(np.log(2) / 2)


def test_a_shift_and_its_opposite_come_back_exactly(oblique: Space) -> None:
    shift = np.broadcast_to(np.array([3.0, -2.0, 1.0], dtype=np.float32)[:, None, None, None], (3, 4, 5, 6))
    np.testing.assert_allclose(inverse_error_mm(shift, -shift, oblique, everywhere(oblique)), 0, atol=1e-6)
    forgotten = inverse_error_mm(shift, np.zeros_like(shift), oblique, everywhere(oblique))
    np.testing.assert_allclose(forgotten, np.sqrt(14.0))


def test_a_linear_map_and_its_inverse_come_back(oblique: Space) -> None:
    centred = Space(oblique.shape, oblique.affine.copy())
    middle = centred.voxel_to_world((np.array([centred.shape]) - 1.0) / 2)[0]
    there = linear(SHEAR / 4, centred) - (SHEAR / 4 @ middle).reshape(3, 1, 1, 1).astype(np.float32)
    undo = np.linalg.inv(np.eye(3) + SHEAR / 4) - np.eye(3)
    back = linear(undo, centred) - (undo @ middle).reshape(3, 1, 1, 1).astype(np.float32)
    np.testing.assert_allclose(inverse_error_mm(there, back, centred, inside(centred)), 0, atol=1e-5)
    assert inverse_error_mm(there, -there, centred, inside(centred)).max() > 1e-3


@pytest.mark.usefixtures("_shapes_unchecked")
def test_a_field_of_other_sizes_is_refused(oblique: Space) -> None:
    with pytest.raises(ShapeError, match=r"sizes \(3, 4, 5, 6\) of its space, got \(4, 5, 6, 3\)"):
        jacobian_determinant(np.zeros((4, 5, 6, 3), dtype=np.float32), oblique)


def test_a_single_slice_is_refused() -> None:
    with pytest.raises(ShapeError, match="two voxels along each axis"):
        jacobian_determinant(np.zeros((3, 4, 5, 1), dtype=np.float32), Space((4, 5, 1), np.eye(4)))


def test_an_empty_mask_is_refused(oblique: Space) -> None:
    with pytest.raises(DataError, match="empty mask"):
        regularity(np.zeros((3, 4, 5, 6), dtype=np.float32), oblique, np.zeros((4, 5, 6), dtype=bool))


@pytest.mark.usefixtures("_shapes_unchecked")
def test_a_mask_of_another_grid_is_refused(oblique: Space) -> None:
    with pytest.raises(ShapeError, match="the mask must lie on"):
        regularity(np.zeros((3, 4, 5, 6), dtype=np.float32), oblique, np.ones((5, 5, 6), dtype=bool))
