"""Transforms: other programs send a point to the place we say."""

import errno
import json
import time
from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - its documentation calls it so
from hypothesis import given, settings
from hypothesis import strategies as st
from nitransforms.manip import load
from scipy.ndimage import map_coordinates

from bidsapp.bids.transforms import (
    MAX_VOXELS,
    read_itk_h5,
    write_fixed_to_moving,
    write_itk_h5,
    write_moving_to_fixed,
)
from bidsapp.errors import DataError, MissingInputError, ReadWriteError, ShapeError
from bidsapp.geometry.space import Space
from bidsapp.images.alignment import Alignment

ATLAS = "MNI152NLin2009aSym"
RNG = np.random.default_rng(7)
ROTATION = np.array([[2, -1, 2], [2, 2, -1], [-1, 2, 2]]) / 3.0
OBLIQUE = Space(
    (4, 5, 6), np.vstack([np.column_stack([ROTATION * [-2.0, 1.0, 3.0], [31.0, -12.0, 5.0]]), [0, 0, 0, 1]])
)
SHEARED = Space(OBLIQUE.shape, np.array([[2, 0.3, 0, 5], [0, 1.5, 0.2, -9], [0.1, 0, 3, 2], [0, 0, 0, 1.0]]))
AFFINE = np.array([[1.1, 0.1, -0.05, 11.0], [-0.2, 0.9, 0.07, -3.0], [0.02, 0.1, 1.2, 4.0], [0, 0, 0, 1.0]])
DISPLACEMENT = RNG.normal(size=(3, *OBLIQUE.shape)).astype(np.float32)


def displaced(points, displacement, space):
    """x + d(x), trilinear: the reference, in five lines of scipy."""
    voxels = space.world_to_voxel(points).T
    return points + np.stack(
        [map_coordinates(each, voxels, order=1, mode="nearest") for each in displacement], 1
    )


def transformed(points, affine):
    return points @ affine[:3, :3].T + affine[:3, 3]


def itk_points(path, points):
    transform = sitk.ReadTransform(str(path))
    flip = np.array([-1, -1, 1])
    return np.array([transform.TransformPoint((point * flip).tolist()) for point in points]) * flip


def points_inside(space, n=50):
    return space.voxel_to_world(RNG.uniform(0, np.array(space.shape) - 1.0, size=(n, 3)))


def test_the_test_space_is_left_handed_oblique_and_anisotropic():
    assert np.linalg.det(OBLIQUE.affine) < 0
    assert (np.abs(OBLIQUE.affine[:3, :3]) > 0.01).all()
    assert OBLIQUE.voxel_sizes_mm == pytest.approx((2, 1, 3))


@pytest.mark.parametrize("space", [OBLIQUE, SHEARED], ids=["left-handed", "sheared"])
def test_simpleitk_sends_atlas_points_to_the_patient(tmp_path, space):
    write_fixed_to_moving(AFFINE, DISPLACEMENT, space, tmp_path / "a.h5", ATLAS)
    points = points_inside(space)
    expected = transformed(displaced(points, DISPLACEMENT, space), AFFINE)
    assert np.abs(itk_points(tmp_path / "a.h5", points) - expected).max() < 1e-3


@pytest.mark.parametrize("space", [OBLIQUE, SHEARED], ids=["left-handed", "sheared"])
def test_simpleitk_sends_patient_points_to_the_atlas(tmp_path, space):
    write_moving_to_fixed(AFFINE, DISPLACEMENT, space, tmp_path / "a.h5", ATLAS)
    points = transformed(points_inside(space), AFFINE)
    expected = displaced(transformed(points, np.linalg.inv(AFFINE)), DISPLACEMENT, space)
    assert np.abs(itk_points(tmp_path / "a.h5", points) - expected).max() < 1e-3


def test_simpleitk_and_the_alignment_agree(tmp_path):
    alignment = Alignment(AFFINE, OBLIQUE, DISPLACEMENT, np.zeros_like(DISPLACEMENT))
    write_fixed_to_moving(alignment.affine, alignment.displacement, alignment.space, tmp_path / "a.h5", ATLAS)
    points = points_inside(OBLIQUE)
    assert np.abs(itk_points(tmp_path / "a.h5", points) - alignment.fixed_to_moving(points)).max() < 1e-3


def test_nitransforms_sends_atlas_points_to_the_patient(tmp_path):
    write_fixed_to_moving(AFFINE, DISPLACEMENT, OBLIQUE, tmp_path / "a.h5", ATLAS)
    points = OBLIQUE.voxel_centres_mm()
    expected = transformed(displaced(points, DISPLACEMENT, OBLIQUE), AFFINE)
    assert np.abs(load(tmp_path / "a.h5", fmt="itk").map(points) - expected).max() < 1e-3


def test_nitransforms_sends_patient_points_to_the_atlas(tmp_path):
    write_moving_to_fixed(AFFINE, DISPLACEMENT, OBLIQUE, tmp_path / "a.h5", ATLAS)
    centres = OBLIQUE.voxel_centres_mm()
    expected = displaced(centres, DISPLACEMENT, OBLIQUE)
    with pytest.warns(
        UserWarning, match="Reference space not set"
    ):  # nitransforms, on any affine it meets first
        chain = load(tmp_path / "a.h5", fmt="itk")
    mapped = chain.map(transformed(centres, AFFINE))
    assert np.abs(mapped - expected).max() < 1e-3


def test_simpleitk_resamples_the_patient_onto_the_atlas_with_the_file_of_that_name(tmp_path):
    """A bright voxel of the patient lands where the displacement and affine say, on a finer atlas grid."""
    shift = np.broadcast_to(np.float32([3, -2, 4])[:, None, None, None], (3, 7, 8, 9))
    coarse = Space((7, 8, 9), np.diag([2.0, 2, 2, 1]))
    path = tmp_path / "from-T1w_to-S_xfm.h5"
    write_fixed_to_moving(np.eye(4), shift, coarse, path, "S")
    patient = np.zeros((12, 13, 14), np.float32)
    patient[8, 5, 9] = 1
    nib.save(nib.Nifti1Image(patient, np.eye(4)), tmp_path / "t1w.nii")
    nib.save(nib.Nifti1Image(np.zeros((13, 12, 11), np.float32), np.eye(4)), tmp_path / "atlas.nii")
    images = [sitk.ReadImage(str(tmp_path / name)) for name in ("t1w.nii", "atlas.nii")]
    warped = sitk.Resample(*images, sitk.ReadTransform(str(path)), sitk.sitkNearestNeighbor)
    assert np.argwhere(sitk.GetArrayFromImage(warped).T > 0.5).tolist() == [[5, 7, 5]]


@given(
    shape=st.tuples(*[st.integers(2, 5)] * 3),
    order=st.sampled_from(["displacement_first", "affine_first"]),
    seed=st.integers(0, 999),
)
@settings(max_examples=20, deadline=None)
def test_what_is_written_comes_back(tmp_path_factory, shape, order, seed):
    rng = np.random.default_rng(seed)
    space = Space(shape, np.vstack([rng.normal(size=(3, 4)) + np.eye(3, 4) * 4, [0, 0, 0, 1]]))
    affine = np.vstack([rng.normal(size=(3, 4)) + np.eye(3, 4) * 4, [0, 0, 0, 1]])
    displacement = rng.normal(size=(3, *shape)).astype(np.float32)
    path = tmp_path_factory.mktemp("h5") / "a.h5"
    write_itk_h5(affine, displacement, space, path, order=order)
    back = read_itk_h5(path)
    assert back.order == order
    assert np.allclose(back.affine, affine, atol=1e-12)
    assert np.array_equal(back.displacement, displacement)
    assert back.space.matches(space, tolerance_mm=1e-9)


def test_the_same_transform_is_the_same_file(tmp_path):
    for name in ("a.h5", "b.h5"):
        write_fixed_to_moving(AFFINE, DISPLACEMENT, OBLIQUE, tmp_path / name, ATLAS)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_the_sidecar_tells_the_direction_of_images_and_points(tmp_path):
    write_fixed_to_moving(AFFINE, DISPLACEMENT, OBLIQUE, tmp_path / "a_xfm.h5", ATLAS)
    write_moving_to_fixed(AFFINE, DISPLACEMENT, OBLIQUE, tmp_path / "b_xfm.h5", ATLAS)
    forward, inverse = (json.loads((tmp_path / f"{each}_xfm.json").read_text()) for each in "ab")
    assert f"image from T1w to {ATLAS}" in forward["Description"]
    assert f"maps points of {ATLAS} to T1w" in forward["Description"]
    assert f"image from {ATLAS} to T1w" in inverse["Description"]
    assert f"maps points of T1w to {ATLAS}" in inverse["Description"]
    assert forward["Units"] == "mm"


def test_a_real_size_field_is_written_fast_and_small(tmp_path):
    space = Space((100, 117, 95), np.diag([2.0, 2, 2, 1]))
    waves = [np.sin(axis / 9) for axis in np.indices(space.shape)]
    displacement = np.stack([4 * waves[1] * waves[2], 3 * waves[0], -2 * waves[0] * waves[1]]).astype(
        np.float32
    )
    start = time.process_time()
    write_fixed_to_moving(AFFINE, displacement, space, tmp_path / "a.h5", ATLAS)
    assert time.process_time() - start < 1.5
    assert (tmp_path / "a.h5").stat().st_size < displacement.nbytes
    with h5py.File(tmp_path / "a.h5") as file:
        large = []
        file.visititems(lambda name, item: large.append(name) if getattr(item, "size", 0) > 18 else None)
        assert large == ["TransformGroup/2/TransformParameters"]
        assert file[large[0]].dtype == np.float32


def test_a_file_that_simpleitk_wrote_is_read(tmp_path):
    field = sitk.GetImageFromArray(RNG.normal(size=(6, 5, 4, 3)), isVector=True)
    field.SetSpacing((2, 1, 3))
    linear = sitk.AffineTransform([1.1, 0.1, 0, 0, 1, 0, 0, 0, 0.9], [5, -3, 2])
    sitk.WriteTransform(
        sitk.CompositeTransform([linear, sitk.DisplacementFieldTransform(field)]), str(tmp_path / "a.h5")
    )
    back = read_itk_h5(tmp_path / "a.h5")
    points = points_inside(back.space)
    expected = transformed(displaced(points, back.displacement, back.space), back.affine)
    assert np.abs(itk_points(tmp_path / "a.h5", points) - expected).max() < 1e-3


def test_a_full_disk_is_an_error_and_no_crash(tmp_path, monkeypatch):
    def write_half(path, content):
        with path.open("wb") as file:
            file.write(content[:5000])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", write_half)
    with pytest.raises(ReadWriteError, match="disk is full"):
        write_itk_h5(AFFINE, DISPLACEMENT, OBLIQUE, tmp_path / "a.h5", order="affine_first")
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_is_refused_whatever_byte_is_wrong(tmp_path):
    path = tmp_path / "a.h5"
    write_fixed_to_moving(AFFINE, DISPLACEMENT, OBLIQUE, path, ATLAS)
    whole, rng = path.read_bytes(), np.random.default_rng(2)
    n_refused = 0
    for _ in range(400):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), 5):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            read_itk_h5(path)
        except DataError:
            n_refused += 1
    assert n_refused > 100


@pytest.mark.usefixtures("_shapes_unchecked")
@pytest.mark.parametrize("shape", [(3, 4, 5, 7), (4, 5, 6, 3), (4, 5, 6)])
def test_a_displacement_off_its_grid_is_refused(tmp_path, shape):
    with pytest.raises(ShapeError, match=r"must have the sizes \(3, 4, 5, 6\)"):
        write_fixed_to_moving(AFFINE, np.zeros(shape, np.float32), OBLIQUE, tmp_path / "a.h5", ATLAS)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_displacement_that_is_not_finite_is_refused(tmp_path, value):
    broken = DISPLACEMENT.copy()
    broken[1, 2, 3, 4] = value
    with pytest.raises(DataError, match="must be finite"):
        write_moving_to_fixed(AFFINE, broken, OBLIQUE, tmp_path / "a.h5", ATLAS)
    assert not (tmp_path / "a.h5").exists()


@pytest.mark.usefixtures("_shapes_unchecked")
@pytest.mark.parametrize("affine", [np.zeros((4, 4)), np.eye(3), np.eye(4) * 2, np.eye(4) * np.nan])
def test_an_affine_that_is_none_is_refused(tmp_path, affine):
    for write in (write_fixed_to_moving, write_moving_to_fixed):
        with pytest.raises(ShapeError, match="an affine must be an invertible 4 x 4"):
            write(affine, DISPLACEMENT, OBLIQUE, tmp_path / "a.h5", ATLAS)


def _edit(path, name, value):
    with h5py.File(path, "a") as file:
        del file[name]
        if value is not None:
            file[name] = value


FIELD = "TransformGroup/2"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TransformGroup", None),
        ("TransformGroup", np.zeros(3)),
        (FIELD, None),
        (f"{FIELD}/TransformType", [b"BSplineTransform_double_3_3"]),
        (f"{FIELD}/TransformType", [b"DisplacementFieldTransform_double_2_2"]),
        (f"{FIELD}/TransformType", 3),
        (f"{FIELD}/TransformParameters", np.zeros(5)),
        (f"{FIELD}/TransformParameters", np.full(360, np.nan)),
        (f"{FIELD}/TransformParameters", [b"text"]),
        (f"{FIELD}/TransformFixedParameters", np.zeros(18)),
        (f"{FIELD}/TransformFixedParameters", np.full(18, np.nan)),
        (f"{FIELD}/TransformFixedParameters", np.ones(7)),
        ("TransformGroup/1/TransformFixedParameters", np.ones(3)),
        ("TransformGroup/1/TransformParameters", np.zeros(12)),
        ("TransformGroup/1/TransformParameters", np.zeros(5)),
    ],
)
def test_a_foreign_composite_is_refused(tmp_path, name, value):
    path = tmp_path / "a.h5"
    write_fixed_to_moving(AFFINE, DISPLACEMENT, OBLIQUE, path, ATLAS)
    _edit(path, name, value)
    with pytest.raises(DataError, match=r"a\.h5 must be an ITK composite of one affine and one displacement"):
        read_itk_h5(path)


def test_a_field_that_would_fill_the_memory_is_refused_unread(tmp_path):
    """Compressed emptiness: a few bytes on disk, three numbers for each of too many voxels in memory."""
    path = tmp_path / "a.h5"
    write_fixed_to_moving(AFFINE, DISPLACEMENT, OBLIQUE, path, ATLAS)
    _edit(
        path,
        f"{FIELD}/TransformFixedParameters",
        np.array([MAX_VOXELS, 2, 1, *[0] * 3, *[1] * 3, *np.eye(3).flat]),
    )
    _edit(path, f"{FIELD}/TransformParameters", None)
    with h5py.File(path, "a") as file:
        file.create_dataset(
            f"{FIELD}/TransformParameters", shape=(6 * MAX_VOXELS,), dtype="f4", compression="gzip"
        )
    with pytest.raises(DataError, match="its grid has the sizes"):
        read_itk_h5(path)


def test_a_third_transform_is_refused(tmp_path):
    path = tmp_path / "a.h5"
    write_fixed_to_moving(AFFINE, DISPLACEMENT, OBLIQUE, path, ATLAS)
    with h5py.File(path, "a") as file:
        file.copy("TransformGroup/1", "TransformGroup/3")
    with pytest.raises(DataError, match=r"got CompositeTransform.*AffineTransform_double_3_3"):
        read_itk_h5(path)


def test_a_file_that_is_no_hdf5_is_refused(tmp_path):
    path = tmp_path / "a.h5"
    write_fixed_to_moving(AFFINE, DISPLACEMENT, OBLIQUE, path, ATLAS)
    for content in (b"", b"text", path.read_bytes()[:3000]):
        path.write_bytes(content)
        with pytest.raises(DataError):
            read_itk_h5(path)
    with pytest.raises(MissingInputError, match="no transform at"):
        read_itk_h5(tmp_path / "b.h5")
