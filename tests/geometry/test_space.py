"""Space: where voxels sit in the world."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from bidsapp.errors import ShapeError
from bidsapp.geometry.space import Space


@st.composite
def spaces(draw):
    """Draw an oblique, anisotropic space, half of the time left-handed, up to half a metre off."""
    angles = [draw(st.floats(-180, 180)) for _ in range(3)]
    sizes = [draw(st.floats(0.3, 7)) for _ in range(3)]
    sizes[0] *= draw(st.sampled_from([1, -1]))
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() @ np.diag(sizes)
    affine[:3, 3] = [draw(st.floats(-500, 500)) for _ in range(3)]
    return Space((4, 5, 6), affine)


def test_the_first_voxel_sits_at_the_affine_offset():
    affine = np.diag([2.0, 3.0, 4.0, 1.0])
    affine[:3, 3] = 10, 20, 30
    space = Space((4, 5, 6), affine)
    np.testing.assert_allclose(space.voxel_to_world(np.zeros((1, 3))), [[10, 20, 30]])
    np.testing.assert_allclose(space.voxel_to_world(np.array([[1.0, 2.0, 3.0]])), [[12, 26, 42]])


def test_centres_come_with_k_fastest():
    centres = Space((4, 5, 6), np.eye(4)).voxel_centres_mm()
    assert centres.shape == (120, 3)
    np.testing.assert_array_equal(centres[[1, 6, 30]], [[0, 0, 1], [0, 1, 0], [1, 0, 0]])


@given(space=spaces())
def test_world_to_voxel_undoes_voxel_to_world(space):
    points = np.array([[0.0, 0.0, 0.0], [3.0, 4.0, 5.0], [-1.5, 7.25, 2.5]])
    np.testing.assert_allclose(space.world_to_voxel(space.voxel_to_world(points)), points, atol=1e-9)


@given(space=spaces())
def test_the_volume_of_a_voxel_is_the_product_of_its_edges_when_axes_are_orthogonal(space):
    assert space.voxel_volume_mm3 == pytest.approx(np.prod(space.voxel_sizes_mm))


@given(space=spaces(), spacing_mm=st.floats(0.5, 4))
def test_new_spacing_keeps_centre_and_axes_and_covers_the_box(space, spacing_mm):
    other = space.with_spacing(spacing_mm)
    centres = [s.voxel_to_world((np.array([s.shape]) - 1.0) / 2) for s in (space, other)]
    np.testing.assert_allclose(centres[0], centres[1], atol=1e-6)
    np.testing.assert_allclose(other.voxel_sizes_mm, 3 * [spacing_mm])
    cosines = [s.affine[:3, :3] / s.voxel_sizes_mm for s in (space, other)]
    np.testing.assert_allclose(cosines[0], cosines[1], atol=1e-9)
    extent = np.array(space.shape) * space.voxel_sizes_mm
    assert (np.array(other.shape) * spacing_mm >= extent - 1e-4).all()


@given(space=spaces())
def test_a_space_matches_itself_moved_by_less_than_the_tolerance_only(space):
    moved = np.array(space.affine)
    moved[0, 3] += 0.04
    assert space.matches(Space(space.shape, moved))
    assert space != Space(space.shape, moved)
    moved[0, 3] += 0.04
    assert not space.matches(Space(space.shape, moved))
    assert not space.matches(Space((4, 5, 7), space.affine))


def test_a_rotation_too_small_for_the_offset_is_seen_at_the_far_corner():
    turned = np.eye(4)
    turned[:3, :3] = Rotation.from_euler("z", 0.1, degrees=True).as_matrix()
    assert not Space((200, 5, 6), np.eye(4)).matches(Space((200, 5, 6), turned))


def test_equal_spaces_have_equal_hashes():
    assert len({Space((4, 5, 6), np.eye(4)), Space((4, 5, 6), np.eye(4))}) == 1


def test_an_affine_cannot_be_changed_afterwards():
    affine = np.eye(4)
    space = Space((4, 5, 6), affine)
    affine[0, 3] = 7
    assert space.affine[0, 3] == 0
    with pytest.raises(ValueError, match="read-only"):
        space.affine[0, 3] = 7


@pytest.mark.usefixtures("_shapes_unchecked")
@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 6, 1), (0, 5, 6), (4, -5, 6)])
def test_sizes_that_are_not_three_positive_numbers_are_refused(shape):
    with pytest.raises(ShapeError, match="three positive sizes"):
        Space(shape, np.eye(4))


@pytest.mark.usefixtures("_shapes_unchecked")
@pytest.mark.parametrize(
    "affine", [np.eye(3), np.zeros((4, 4)), np.diag([1.0, 1.0, 0.0, 1.0]), np.full((4, 4), np.nan)]
)
def test_a_matrix_that_is_no_invertible_affine_is_refused(affine):
    with pytest.raises(ShapeError, match="invertible, finite 4 x 4"):
        Space((4, 5, 6), affine)
