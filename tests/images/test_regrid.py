"""on_grid: an image on another grid of the same world."""

import numpy as np

from bidsapp.geometry.space import Space
from bidsapp.images.regrid import on_grid
from bidsapp.images.volume import Volume

AFFINE = np.array([[1.9, 0.3, 0, -9], [-0.3, 1.9, 0, -4], [0, 0, 2.5, 7], [0, 0, 0, 1.0]])


def test_labels_keep_their_type_and_lie_where_they_lay():
    labels = Volume(np.arange(120, dtype=np.int16).reshape(4, 5, 6), Space((4, 5, 6), AFFINE))
    turned = AFFINE[:, [2, 0, 1, 3]]  # the same voxels with axes k, i, j
    moved = on_grid(labels, Space((6, 4, 5), turned))
    assert moved.data.dtype == np.int16
    np.testing.assert_array_equal(moved.data, labels.data.transpose(2, 0, 1))


def test_beyond_the_border_is_background():
    labels = Volume(np.ones((4, 5, 6), np.uint8), Space((4, 5, 6), np.eye(4)))
    shifted = np.eye(4)
    shifted[0, 3] = 2.0
    assert on_grid(labels, Space((4, 5, 6), shifted)).data.sum(axis=(1, 2)).tolist() == [30, 30, 0, 0]


def test_no_label_appears_that_was_not_there():
    data = np.array([1, 9], np.uint8)[np.indices((4, 5, 6)).sum(axis=0) % 2]
    fine = Space((4, 5, 6), AFFINE).with_spacing(0.7)
    moved = on_grid(Volume(data, Space((4, 5, 6), AFFINE)), fine)
    assert set(np.unique(moved.data)) <= {0, 1, 9}


def test_a_slope_is_read_exactly_between_voxels_and_zero_beyond():
    space = Space((4, 5, 6), AFFINE)
    slope = (space.voxel_centres_mm() @ [0.5, -0.25, 2.0] + 30).reshape(space.shape)
    fine = space.with_spacing(0.8)
    read = on_grid(Volume(slope.astype(np.float32), space), fine, "linear").data
    voxels = space.world_to_voxel(fine.voxel_centres_mm())
    is_inside = ((voxels >= 0) & (voxels <= np.array(space.shape) - 1)).all(axis=1).reshape(fine.shape)
    wanted = (fine.voxel_centres_mm() @ [0.5, -0.25, 2.0] + 30).reshape(fine.shape)
    assert is_inside.any()
    np.testing.assert_allclose(read[is_inside], wanted[is_inside], atol=1e-4)
    is_beyond = ((voxels < -1) | (voxels > space.shape)).any(axis=1).reshape(fine.shape)
    assert not read[is_beyond].any()


def test_grids_with_the_same_axes_are_read_as_any_others() -> None:
    space = Space((4, 5, 6), AFFINE)
    data = np.random.default_rng(3).integers(1, 9, space.shape).astype(np.uint8)
    inner = np.diag([0.6, 1.3, 0.8, 1.0])
    inner[:3, 3] = [-0.7, 0.2, 1.1]
    onto = Space((9, 5, 8), space.affine @ inner)
    voxels = np.indices(onto.shape).reshape(3, -1).T @ np.diag([0.6, 1.3, 0.8]) + inner[:3, 3]
    at = np.floor(voxels + 0.5).astype(int)
    inside = ((at >= 0) & (at < space.shape)).all(axis=1)
    expected = np.where(inside, data[tuple(np.where(inside[:, None], at, 0).T)], 0).reshape(onto.shape)
    np.testing.assert_array_equal(on_grid(Volume(data, space), onto).data, expected)
