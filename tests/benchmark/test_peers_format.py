"""Fields of other tools become point maps in world space; all tools see one affine and one grid."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 (its own customary name)

from benchmark.peers.cases import Brain, Case
from benchmark.peers.common_grid import (
    MARGIN_MM,
    cover,
    read_alignment,
    still,
    to_world,
    write_images,
    write_ours,
)
from bidsapp.errors import DataError
from bidsapp.geometry.space import Space
from bidsapp.images.nifti import read_labels, read_volume
from bidsapp.images.volume import Volume

OBLIQUE = Space(
    (4, 5, 6),
    np.array([[-1.9, 0.3, 0.1, 7.0], [0.4, 1.2, -0.6, -3.0], [0.2, 0.5, 2.4, 11.0], [0.0, 0.0, 0.0, 1.0]]),
)
FLIP = np.diag([-1.0, -1.0, 1.0])


def orthonormal(space: Space) -> Space:
    """ITK knows no shear: the same grid with axes at right angles."""
    turn, _ = np.linalg.qr(space.affine[:3, :3])
    affine = space.affine.copy()
    affine[:3, :3] = turn * np.array(space.voxel_sizes_mm)
    return Space(space.shape, affine)


def write_as_itk(displacement: np.ndarray, space: Space, path: Path) -> sitk.Image:
    """Let ITK itself write a world displacement, as greedy, ANTs and FireANTs do."""
    vectors = np.moveaxis(displacement, 0, -1) @ FLIP  # (i, j, k, 3) along left, back, top
    image = sitk.GetImageFromArray(vectors.transpose(2, 1, 0, 3).astype(np.float64), isVector=True)
    sizes = np.array(space.voxel_sizes_mm)
    image.SetSpacing(sizes.tolist())
    image.SetOrigin((FLIP @ space.affine[:3, 3]).tolist())
    image.SetDirection((FLIP @ space.affine[:3, :3] / sizes).ravel().tolist())
    sitk.WriteImage(image, str(path))
    return image


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_a_field_sends_points_where_itk_itself_sends_them(tmp_path: Path, ending: str) -> None:
    space = orthonormal(OBLIQUE)
    rng = np.random.default_rng(3)
    displacement = rng.normal(size=(3, *space.shape))
    image = write_as_itk(displacement, space, tmp_path / f"displacement{ending}")
    affine = np.eye(4)
    affine[:3] += rng.normal(scale=0.1, size=(3, 4))
    alignment = read_alignment(tmp_path, affine, space)

    points = space.voxel_to_world(rng.uniform(0.3, 2.7, size=(20, 3)))
    transform = sitk.DisplacementFieldTransform(image)
    moved = np.array([FLIP @ transform.TransformPoint((FLIP @ point).tolist()) for point in points])
    expected = moved @ affine[:3, :3].T + affine[:3, 3]
    np.testing.assert_allclose(alignment.fixed_to_moving(points), expected, atol=1e-4)
    assert np.abs(moved - points).max() > 0.5


def test_without_an_inverse_the_exact_way_back_is_found_all_the_same(tmp_path: Path) -> None:
    space = cover(Volume(np.ones((4, 5, 6), dtype=np.uint8), OBLIQUE))
    x, y, z = space.voxel_centres_mm().T.reshape(3, *space.shape)
    bend = np.stack([np.sin(y / 9), np.cos(z / 7), 0.8 * np.sin(x / 8)])
    write_as_itk(bend, space, tmp_path / "displacement.nii")
    alignment = read_alignment(tmp_path, np.eye(4), space)
    points = space.voxel_to_world((np.array([space.shape]) - 1) / 2 + np.array([[0.2, 1.4, -2.1]]))
    np.testing.assert_allclose(
        alignment.moving_to_fixed(alignment.fixed_to_moving(points)), points, atol=1e-3
    )


def test_our_own_field_comes_back_on_its_own_grid(tmp_path: Path) -> None:
    displacement = np.random.default_rng(5).normal(size=(3, *OBLIQUE.shape)).astype(np.float32)
    np.savez(
        tmp_path / "alignment.npz", grid=OBLIQUE.affine, displacement=displacement, inverse=-displacement
    )
    alignment = read_alignment(tmp_path, np.eye(4), Space((9, 9, 9), np.eye(4)))
    assert alignment.space == OBLIQUE
    np.testing.assert_array_equal(alignment.inverse_displacement, -displacement)


def test_one_vector_a_voxel_is_turned_from_left_back_top_to_right_front_top() -> None:
    field = np.zeros((4, 5, 6, 1, 3))
    field[1, 2, 3, 0] = (1.0, 2.0, 3.0)
    assert to_world(field, OBLIQUE)[:, 1, 2, 3].tolist() == [-1.0, -2.0, 3.0]


@pytest.mark.parametrize(
    "field", [np.zeros((5, 4, 6, 3)), np.zeros((4, 5, 6)), np.full((4, 5, 6, 3), np.nan)]
)
def test_a_field_of_another_grid_or_without_numbers_is_refused(field: np.ndarray) -> None:
    with pytest.raises(DataError, match="three finite numbers a voxel"):
        to_world(field, OBLIQUE)


def test_a_field_that_lies_elsewhere_is_refused(tmp_path: Path) -> None:
    space = orthonormal(OBLIQUE)
    write_as_itk(np.zeros((3, *space.shape)), space, tmp_path / "displacement.nii")
    with pytest.raises(DataError, match="must lie on the common grid"):
        read_alignment(tmp_path, np.eye(4), Space(space.shape, np.eye(4)))


def test_a_driver_that_wrote_nothing_is_complained_about(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must write its displacement"):
        read_alignment(tmp_path, np.eye(4), OBLIQUE)


def test_the_common_grid_goes_through_the_voxels_of_labels_of_one_millimetre() -> None:
    affine = np.array([[-1.0, 0, 0, 7.3], [0, 0, 1.0, 2.1], [0, -1.0, 0, 5.5], [0, 0, 0, 1]])
    labels = Volume(np.arange(120, dtype=np.uint8).reshape(4, 5, 6) % 35, Space((4, 5, 6), affine))
    grid = cover(labels)
    np.testing.assert_array_equal(grid.affine[:3, :3], np.eye(3))
    occupied = grid.world_to_voxel(labels.space.voxel_to_world(np.argwhere(labels.data > 0).astype(float)))
    np.testing.assert_allclose(occupied, np.rint(occupied), atol=1e-9)
    assert occupied.min() >= MARGIN_MM
    assert (np.array(grid.shape) - 1 - occupied.max(axis=0)).min() >= MARGIN_MM
    on_grid = still(np.eye(4), grid).resample(labels, onto=grid, interpolation="nearest")
    np.testing.assert_array_equal(np.bincount(on_grid.data.ravel())[1:], np.bincount(labels.data.ravel())[1:])


def test_the_moving_images_are_written_through_the_affine(tmp_path: Path) -> None:
    labels = np.zeros((8, 9, 10), dtype=np.uint8)
    labels[2:5, 3:7, 4:8] = 7
    space = Space((8, 9, 10), np.eye(4))
    shifted = np.eye(4)
    shifted[:3, 3] = (20.0, -30.0, 40.0)
    t1w = labels.astype(np.float32) + 1
    brains = [
        Brain(Volume(t1w, place), Volume(labels, place), None)
        for place in (space, Space(space.shape, shifted))
    ]
    case = Case("shift", *brains)
    grid = cover(brains[0].labels)
    write_images(case, shifted, grid, tmp_path)
    write_ours(case, shifted, tmp_path)
    for kind in ("t1w", "labels"):
        fixed, moving = (read_volume(tmp_path / f"{side}_{kind}.nii") for side in ("fixed", "moving"))
        assert fixed.space.matches(grid)
        np.testing.assert_array_equal(fixed.data, moving.data)
    native = [read_labels(tmp_path / f"moving_native_{kind}.nii") for kind in ("t1w", "labels")]
    for found, expected in zip(native, (t1w, labels), strict=True):
        assert found.space.matches(brains[1].labels.space)
        np.testing.assert_array_equal(found.data, expected)
    np.testing.assert_array_equal(np.load(tmp_path / "affine.npy"), shifted)
