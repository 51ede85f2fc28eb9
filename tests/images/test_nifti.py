"""NIfTI and MGZ: what is read is what lies there, and what would mislead is refused."""

import contextlib
import gzip
import os
import struct
import time
import tracemalloc
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from bidsapp.errors import DataError, MissingInputError, OutputError, ReadWriteError
from bidsapp.geometry.space import Space
from bidsapp.images.nifti import read_labels, read_volume, write_volume
from bidsapp.images.volume import Volume

RNG = np.random.default_rng(0)


def oblique_affine(sizes=(0.8, 1.1, 3.0), angles=(10, -25, 40), offset=(-380.0, 12.5, 77.0)):
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() @ np.diag(sizes)
    affine[:3, 3] = offset
    return affine


def volume_of(dtype, affine=None):
    data = RNG.integers(1, 100, (4, 5, 6)).astype(dtype)
    return Volume(data, Space((4, 5, 6), oblique_affine() if affine is None else affine))


def save(path, data, kind=nib.Nifti1Image):
    """Write with nibabel, on an oblique grid."""
    nib.save(kind(data, oblique_affine()), path)
    return path


def patched(path, offset, content):
    """Overwrite bytes of an uncompressed file."""
    raw = bytearray(path.read_bytes())
    raw[offset : offset + len(content)] = content
    path.write_bytes(raw)
    return path


# What is written comes back


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float32"])
def test_values_type_and_place_survive_a_round_trip(tmp_path, name, dtype):
    volume = volume_of(dtype)
    write_volume(volume, tmp_path / name)
    back = read_volume(tmp_path / name)
    assert back.data.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(back.data, volume.data)
    assert back.space.matches(volume.space, tolerance_mm=1e-4)


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.tuples(st.floats(0.3, 7), st.floats(0.3, 7), st.floats(0.3, 7)),
    angles=st.tuples(*3 * [st.floats(-180, 180)]),
    left_handed=st.booleans(),
)
def test_any_oblique_space_survives_in_sform_and_in_qform(tmp_path_factory, sizes, angles, left_handed):
    path = tmp_path_factory.mktemp("spaces") / "a.nii"
    sizes = (-sizes[0], *sizes[1:]) if left_handed else sizes
    volume = volume_of("uint8", oblique_affine(sizes, angles))
    write_volume(volume, path)
    assert read_volume(path).space.matches(volume.space, tolerance_mm=1e-3)
    patched(path, 254, struct.pack("<h", 0))  # sform_code: the qform must say the same
    # Near half a turn three single-precision numbers fix a rotation to about 1 mrad only.
    assert read_volume(path).space.matches(volume.space, tolerance_mm=0.1)


def test_the_header_says_millimetres_and_scanner_codes(tmp_path):
    write_volume(volume_of("float32"), tmp_path / "a.nii.gz")
    header = nib.load(tmp_path / "a.nii.gz").header
    assert header.get_xyzt_units()[0] == "mm"
    assert (header["sform_code"], header["qform_code"]) == (1, 1)
    np.testing.assert_allclose(header.get_zooms(), (0.8, 1.1, 3.0), rtol=1e-6)


def test_nibabel_reads_what_we_write(tmp_path):
    volume = volume_of("int16")
    write_volume(volume, tmp_path / "a.nii.gz")
    image = nib.load(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(np.asarray(image.dataobj), volume.data)
    np.testing.assert_allclose(image.affine, volume.space.affine, atol=1e-4)


def test_a_mask_of_booleans_becomes_uint8(tmp_path):
    volume = Volume(RNG.random((4, 5, 6)) > 0.5, Space((4, 5, 6), np.eye(4)))
    write_volume(volume, tmp_path / "a.nii.gz")
    back = read_labels(tmp_path / "a.nii.gz")
    assert back.data.dtype == np.uint8
    np.testing.assert_array_equal(back.data, volume.data)


def test_the_same_volume_gives_the_same_bytes(tmp_path):
    volume = volume_of("float32")
    write_volume(volume, tmp_path / "a.nii.gz")
    write_volume(Volume(np.asfortranarray(volume.data), volume.space), tmp_path / "b.nii.gz")
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()
    assert (tmp_path / "a.nii.gz").read_bytes()[4:8] == bytes(4)  # the time in a gzip header


# What other programs write


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_both_nifti_versions_are_read(tmp_path, kind):
    data = RNG.integers(0, 9, (4, 5, 6)).astype(np.int16)
    volume = read_volume(save(tmp_path / "a.nii.gz", data, kind=kind))
    np.testing.assert_array_equal(volume.data, data)


def test_big_endian_files_come_back_in_native_order(tmp_path):
    data = RNG.integers(1, 9000, (4, 5, 6)).astype(">i2")
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(">i2")
    nib.save(nib.Nifti1Image(data, oblique_affine(), header), tmp_path / "a.nii")
    assert (tmp_path / "a.nii").read_bytes()[:4] == struct.pack(">i", 348)
    back = read_volume(tmp_path / "a.nii").data
    assert back.dtype.isnative
    np.testing.assert_array_equal(back, data)


@pytest.mark.parametrize("name", ["a.mgz", "a.mgh"])
def test_freesurfer_files_lie_where_nibabel_puts_them(tmp_path, name):
    data = RNG.integers(0, 2035, (4, 5, 6)).astype(np.int32)
    nib.save(nib.MGHImage(data, oblique_affine()), tmp_path / name)
    back = read_volume(tmp_path / name)
    assert back.data.dtype == np.int32
    np.testing.assert_array_equal(back.data, data)
    np.testing.assert_allclose(back.space.affine, oblique_affine(), atol=1e-4)


def test_scaled_integers_become_float32(tmp_path):
    path = save(tmp_path / "a.nii", RNG.integers(1, 9, (4, 5, 6)).astype(np.int16))
    raw = read_volume(path).data
    patched(path, 112, struct.pack("<ff", 0.5, 10.0))
    scaled = read_volume(path).data
    assert scaled.dtype == np.float32
    np.testing.assert_array_equal(scaled, raw * 0.5 + 10)


def test_float64_becomes_float32(tmp_path):
    assert read_volume(save(tmp_path / "a.nii", RNG.random((4, 5, 6)))).data.dtype == np.float32


def test_a_trailing_axis_of_one_frame_is_dropped(tmp_path):
    path = save(tmp_path / "a.nii.gz", RNG.random((4, 5, 6, 1, 1)).astype(np.float32))
    assert read_volume(path).data.shape == (4, 5, 6)


def test_the_sform_wins_over_the_qform(tmp_path):
    image = nib.Nifti1Image(np.ones((4, 5, 6), np.uint8), None)
    image.header.set_sform(oblique_affine(), 2)
    image.header.set_qform(np.diag([2.0, 2.0, 2.0, 1.0]), 1)
    nib.save(image, tmp_path / "a.nii")
    np.testing.assert_allclose(read_volume(tmp_path / "a.nii").space.affine, oblique_affine(), atol=1e-4)


def test_several_gzip_members_in_a_row_are_one_file(tmp_path):
    plain = save(tmp_path / "a.nii", np.ones((4, 5, 6), np.uint8)).read_bytes()
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(plain[:400]) + gzip.compress(plain[400:]))
    assert read_volume(tmp_path / "b.nii.gz").data.sum() == 120


def test_an_uncompressed_file_with_a_compressed_name_is_read(tmp_path):
    save(tmp_path / "a.nii", np.ones((4, 5, 6), np.uint8)).rename(tmp_path / "a.nii.gz")
    assert read_volume(tmp_path / "a.nii.gz").data.sum() == 120


def test_a_one_millimetre_head_is_read_within_a_second_of_work(tmp_path):
    write_volume(
        Volume(np.ones((197, 233, 189), np.int16), Space((197, 233, 189), np.eye(4))), tmp_path / "a.nii.gz"
    )
    start = time.process_time()
    read_volume(tmp_path / "a.nii.gz")
    assert time.process_time() - start < 1


# Labels


def test_whole_numbers_stored_as_floats_are_labels(tmp_path):
    data = RNG.integers(0, 2035, (4, 5, 6))
    labels = read_labels(save(tmp_path / "a.nii.gz", data.astype(np.float32)))
    assert labels.data.dtype == np.int32
    np.testing.assert_array_equal(labels.data, data)


def test_an_empty_mask_is_a_mask(tmp_path):
    path = save(tmp_path / "a.nii.gz", np.zeros((4, 5, 6), np.uint8))
    assert not read_labels(path).data.any()
    with pytest.raises(DataError, match="nothing but zeros"):
        read_volume(path)


@pytest.mark.parametrize("value", [0.5, np.nan, np.inf, 1e30])
def test_values_that_are_no_whole_numbers_are_no_labels(tmp_path, value):
    data = np.ones((4, 5, 6), np.float32)
    data[1, 2, 3] = value
    with pytest.raises(DataError, match="labels must be whole numbers, got"):
        read_labels(save(tmp_path / "a.nii", data))


@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_negative_labels_are_refused(tmp_path, dtype):
    data = np.ones((4, 5, 6), dtype)
    data[1, 2, 3] = -2
    with pytest.raises(DataError, match="must not be negative, got -2"):
        read_labels(save(tmp_path / "a.nii", data))


# Values that cannot be used


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_counted_and_refused(tmp_path, value):
    data = np.ones((4, 5, 6), np.float32)
    data[1, 2, 3:5] = value
    with pytest.raises(DataError, match=r"a\.nii holds 2 values that are not finite"):
        read_volume(save(tmp_path / "a.nii", data))


def test_a_float64_beyond_float32_is_refused_rather_than_made_infinite(tmp_path):
    with pytest.raises(DataError, match="not finite"):
        read_volume(save(tmp_path / "a.nii", np.full((4, 5, 6), 1e300)))


def test_nan_can_mark_missing_voxels_when_asked_for_but_infinity_cannot(tmp_path):
    data = np.ones((4, 5, 6), np.float32)
    data[0] = np.nan
    assert np.isnan(read_volume(save(tmp_path / "a.nii", data), allow_nan=True).data).sum() == 30
    data[1] = np.inf
    with pytest.raises(DataError, match="holds 30 values"):
        read_volume(save(tmp_path / "a.nii", data), allow_nan=True)
    with pytest.raises(DataError, match="nothing but zeros"):
        read_volume(save(tmp_path / "b.nii", np.full((4, 5, 6), np.nan, np.float32)), allow_nan=True)


# Files that are not what they say


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(MissingInputError, match=r"no image file at .*a\.nii\.gz"):
        read_volume(tmp_path / "a.nii.gz")


def test_a_folder_is_no_image(tmp_path):
    with pytest.raises(MissingInputError, match="no image file"):
        read_volume(tmp_path)


def test_a_link_whose_content_was_never_fetched_is_explained(tmp_path):
    (tmp_path / "a.nii.gz").symlink_to(tmp_path / ".git" / "annex")
    with pytest.raises(MissingInputError, match="datalad get"):
        read_volume(tmp_path / "a.nii.gz")


def test_an_empty_file_is_explained(tmp_path):
    (tmp_path / "a.nii.gz").touch()
    with pytest.raises(DataError, match="is empty"):
        read_volume(tmp_path / "a.nii.gz")


@pytest.mark.parametrize(
    "content",
    [b"hello, I am a text file", b"x" * 4000, gzip.compress(b"text" * 900, mtime=0), b"\x5c\x01\0\0"],
)
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.mgz"])
def test_a_file_that_is_no_image_is_refused_by_name(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"{name} is no NIfTI or MGZ image"):
        read_volume(tmp_path / name)


def test_every_cut_of_a_compressed_file_is_refused(tmp_path):
    volume = volume_of("int16")
    write_volume(volume, tmp_path / "a.nii.gz")
    whole = (tmp_path / "a.nii.gz").read_bytes()
    for length in range(1, len(whole), 7):
        (tmp_path / "b.nii.gz").write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"b\.nii\.gz"):
            read_volume(tmp_path / "b.nii.gz")


def test_a_cut_uncompressed_file_is_refused(tmp_path):
    path = save(tmp_path / "a.nii", np.ones((4, 5, 6), np.float32))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match="truncated"):
        read_volume(path)


def test_a_whole_stream_with_half_an_image_is_refused(tmp_path):
    plain = save(tmp_path / "a.nii", np.ones((4, 5, 6), np.float32)).read_bytes()
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(plain[:-200]))
    with pytest.raises(DataError, match="truncated: 632 of 832 bytes"):
        read_volume(tmp_path / "b.nii.gz")


def test_a_flipped_bit_in_a_compressed_file_is_noticed(tmp_path):
    write_volume(Volume(RNG.integers(0, 99, (40, 5, 6)), Space((40, 5, 6), np.eye(4))), tmp_path / "a.nii.gz")
    raw = bytearray((tmp_path / "a.nii.gz").read_bytes())
    raw[len(raw) // 2] ^= 1
    (tmp_path / "a.nii.gz").write_bytes(raw)
    with pytest.raises(DataError, match="truncated or damaged"):
        read_volume(tmp_path / "a.nii.gz")


def test_a_stream_that_goes_on_after_its_image_is_not_unpacked(tmp_path):
    plain = save(tmp_path / "a.nii", np.ones((4, 5, 6), np.uint8)).read_bytes()
    with gzip.open(tmp_path / "bomb.nii.gz", "wb") as file:
        file.write(plain)
        for _ in range(256):
            file.write(bytes(2**20))
    tracemalloc.start()
    with pytest.raises(DataError, match="goes on after"):
        read_volume(tmp_path / "bomb.nii.gz")
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 16 * 2**20  # of the 256 MiB that lie there


def test_a_few_bytes_after_the_image_do_no_harm(tmp_path):
    path = save(tmp_path / "a.nii", np.ones((4, 5, 6), np.uint8))
    path.write_bytes(path.read_bytes() + bytes(500))
    assert read_volume(path).data.sum() == 120


def test_a_header_that_promises_terabytes_is_refused_before_reading(tmp_path):
    path = save(tmp_path / "a.nii", np.ones((4, 5, 6), np.float32))
    patched(path, 42, struct.pack("<3h", 30000, 30000, 30000))
    with pytest.raises(DataError, match=r"promises 100583 GiB \(sizes \(30000, 30000, 30000\)\)"):
        read_volume(path)


def test_a_header_that_promises_more_than_the_file_can_hold_is_refused_before_reading(tmp_path):
    path = save(tmp_path / "a.nii", np.ones((4, 5, 6), np.uint8))
    patched(path, 42, struct.pack("<3h", 1000, 1000, 1000))
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(path.read_bytes()))
    for name in ("a.nii", "b.nii.gz"):
        with pytest.raises(DataError, match="truncated: its header promises"):
            read_volume(tmp_path / name)


@pytest.mark.parametrize("sizes", [(0, 5, 6), (-4, 5, 6)])
def test_sizes_below_one_are_refused(tmp_path, sizes):
    path = patched(save(tmp_path / "a.nii", np.ones((4, 5, 6), np.uint8)), 42, struct.pack("<3h", *sizes))
    with pytest.raises(DataError, match="three axes, got the sizes"):
        read_volume(path)


@pytest.mark.parametrize("offset", [0.0, -1.0, 1e12, np.nan])
def test_voxels_that_start_nowhere_are_refused(tmp_path, offset):
    path = patched(save(tmp_path / "a.nii", np.ones((4, 5, 6), np.uint8)), 108, struct.pack("<f", offset))
    with pytest.raises(DataError, match=r"cannot start at byte|vox offset -1 too low"):
        read_volume(path)


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 6, 2), (4, 5, 6, 1, 3)])
def test_images_without_exactly_one_frame_are_refused(tmp_path, shape):
    with pytest.raises(DataError, match="one image with three axes"):
        read_volume(save(tmp_path / "a.nii", np.ones(shape, np.uint8)))


@pytest.mark.parametrize("dtype", [np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]), np.dtype("complex64")])
def test_colours_and_complex_numbers_are_refused(tmp_path, dtype):
    with pytest.raises(DataError, match="plain numbers"):
        read_volume(save(tmp_path / "a.nii", np.ones((4, 5, 6), dtype)))


def test_an_unknown_number_type_is_refused(tmp_path):
    path = patched(save(tmp_path / "a.nii", np.ones((4, 5, 6), np.uint8)), 70, struct.pack("<h", 12345))
    with pytest.raises(DataError, match="makes no sense"):
        read_volume(path)


def test_an_image_that_does_not_say_where_it_lies_is_refused(tmp_path):
    path = patched(save(tmp_path / "a.nii", np.ones((4, 5, 6), np.uint8)), 252, bytes(4))
    with pytest.raises(DataError, match="does not say where it lies"):
        read_volume(path)


def test_a_freesurfer_file_that_does_not_say_where_it_lies_is_refused(tmp_path):
    nib.save(nib.MGHImage(np.ones((4, 5, 6), np.uint8), np.eye(4)), tmp_path / "a.mgh")
    patched(tmp_path / "a.mgh", 28, struct.pack(">h", 0))
    with pytest.raises(DataError, match="goodRASFlag is 0"):
        read_volume(tmp_path / "a.mgh")


@pytest.mark.parametrize("row", [(0.0, 0.0, 0.0, 0.0), (np.nan, 0.0, 0.0, 0.0)])
def test_a_singular_or_undefined_matrix_is_refused(tmp_path, row):
    path = patched(save(tmp_path / "a.nii", np.ones((4, 5, 6), np.uint8)), 280, struct.pack("<4f", *row))
    with pytest.raises(DataError, match=r"voxel-to-world matrix of .*a\.nii is singular or not finite"):
        read_volume(path)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_no_damage_to_a_header_escapes_as_another_error(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("damage") / "a.nii"
    write_volume(volume_of("int16"), path)
    offset = data.draw(st.integers(0, 347))
    patched(path, offset, data.draw(st.binary(min_size=1, max_size=8))[: 348 - offset])
    with contextlib.suppress(DataError):
        assert read_volume(path).data.ndim == 3


# Writing


def test_other_names_are_not_written(tmp_path):
    with pytest.raises(OutputError, match=r"\.nii or \.nii\.gz, got a\.mgz"):
        write_volume(volume_of("uint8"), tmp_path / "a.mgz")


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(OutputError, match=r"the folder of .* does not exist"):
        write_volume(volume_of("uint8"), tmp_path / "nowhere" / "a.nii")


def test_number_types_nifti_does_not_know_are_refused(tmp_path):
    with pytest.raises(OutputError, match="cannot hold float16"):
        write_volume(volume_of("float16"), tmp_path / "a.nii")


def test_an_axis_longer_than_nifti_allows_is_refused(tmp_path):
    volume = Volume(np.ones((4, 40000, 1), np.uint8), Space((4, 40000, 1), np.eye(4)))
    with pytest.raises(OutputError, match="cannot hold the sizes"):
        write_volume(volume, tmp_path / "a.nii")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_reported_in_words(tmp_path):
    (tmp_path / "a.nii").symlink_to("/dev/full")
    with pytest.raises(ReadWriteError, match="No space left on device"):
        write_volume(volume_of("float32"), tmp_path / "a.nii")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_forbidden_folder_is_reported_in_words(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ReadWriteError, match="Permission denied"):
        write_volume(volume_of("float32"), tmp_path / "a.nii")
