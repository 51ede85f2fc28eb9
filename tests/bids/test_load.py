import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bidsapp.bids.find import find_scans
from bidsapp.bids.load import fraction_inside, load_subject
from bidsapp.errors import DataError, MissingInputError
from bidsapp.geometry.space import Space
from bidsapp.images.volume import Volume

SHAPE = (6, 7, 8)
LABELS = "derivatives/seg/sub-01/anat/sub-01_desc-aseg_dseg.nii.gz"
MASK = "derivatives/seg/sub-01/anat/sub-01_label-lesion_mask.nii.gz"
CODES = (2, 41, 3, 42, 10, 49, 12, 51)


def shifted(affine, millimetres):
    moved = affine.copy()
    moved[:3, 3] += millimetres
    return moved


def brain_labels():
    labels = np.zeros(SHAPE, np.int16)
    labels[1:5, 1:6, 1:7] = np.resize(CODES, (4, 5, 6))
    return labels


def lesion():
    mask = np.zeros(SHAPE, np.uint8)
    mask[2:4, 2:4, 3:5] = 1
    return mask


@pytest.fixture
def brain(dataset):
    """Give a participant with a T1w and a label map on an oblique, anisotropic grid."""
    dataset.describe("derivatives/seg")
    rng = np.random.default_rng(1)
    dataset.write_volume("sub-01/anat/sub-01_T1w.nii.gz", rng.random(SHAPE, np.float32) + 1)
    dataset.write_volume(LABELS, brain_labels())
    return dataset


def load(dataset):
    (scan,) = find_scans(dataset.select(), "01")
    return load_subject(scan)


def test_scan_and_label_map_are_loaded_without_a_lesion(brain):
    subject = load(brain)
    assert subject.t1w.data.shape == SHAPE
    assert subject.labels.data.dtype == np.uint8
    assert set(np.unique(subject.labels.data)) == {0, 1, 2, 3, 4, 13, 14, 17, 18}
    assert (subject.lesion_mask, subject.lesion_mask_kind) == (None, "none")
    assert (dict(subject.unmapped), subject.warnings) == ({}, ())


@pytest.mark.parametrize("value", [1, 255])
def test_a_mask_of_two_values_is_binary(brain, value):
    brain.write_volume(MASK, lesion() * np.uint8(value))
    subject = load(brain)
    assert subject.lesion_mask_kind == "binary"
    assert subject.lesion_mask.data.dtype == np.bool_
    assert np.array_equal(subject.lesion_mask.data, lesion() > 0)
    assert subject.warnings == ()


def test_a_mask_stored_as_floating_point_is_binary(brain):
    brain.write_volume(MASK, lesion().astype(np.float32))
    assert load(brain).lesion_mask_kind == "binary"


def test_probabilities_are_cut_at_one_half_with_a_warning(brain):
    mask = lesion().astype(np.float32) * 0.5
    mask[2, 2, 3] = 0.49
    brain.write_volume(MASK, mask)
    subject = load(brain)
    assert subject.lesion_mask.data.sum() == 7
    assert not subject.lesion_mask.data[2, 2, 3]
    assert "holds probabilities" in subject.warnings[0]


def test_probabilities_below_one_half_leave_no_lesion(brain):
    brain.write_volume(MASK, lesion().astype(np.float32) * 0.3)
    subject = load(brain)
    assert subject.lesion_mask is None
    assert any("is empty: no lesion counted" in warning for warning in subject.warnings)


def test_an_empty_mask_is_no_lesion_with_a_warning(brain):
    brain.write_volume(MASK, np.zeros(SHAPE, np.uint8))
    subject = load(brain)
    assert (subject.lesion_mask, subject.lesion_mask_kind) == (None, "none")
    assert subject.warnings == (
        "the lesion mask sub-01_label-lesion_mask.nii.gz is empty: no lesion counted",
    )


@pytest.mark.parametrize(("low", "high"), [(-0.5, 1.0), (0.25, 300.0)])
def test_an_image_in_place_of_a_mask_is_refused(brain, low, high):
    mask = lesion().astype(np.float32) * high
    mask[0, 0, 0] = low
    brain.write_volume(MASK, mask)
    with pytest.raises(DataError, match=r"whole numbers or probabilities from 0 to 1, .*looks like an image"):
        load(brain)


@pytest.mark.parametrize("values", [(1, 2), (2, 2), (1, 4)])
def test_classes_or_instances_that_nothing_tells_apart_are_refused(brain, values):
    mask = lesion()
    mask[2], mask[3] = mask[2] * values[0], mask[3] * values[1]
    brain.write_volume(MASK, mask)
    with pytest.raises(DataError, match=r'got the values .*"LesionInstances": true .*"LesionLabels": \['):
        load(brain)


@pytest.mark.parametrize("key", ["LesionInstances", "instances"])
def test_a_sidecar_declares_instances(brain, key):
    mask = lesion()
    mask[3] *= 3
    brain.write_volume(MASK, mask)
    brain.write(MASK.replace(".nii.gz", ".json"), json.dumps({"Type": "Lesion", key: True}))
    subject = load(brain)
    assert subject.lesion_mask_kind == "instances"
    assert set(np.unique(subject.lesion_mask.data)) == {0, 1, 3}


@pytest.mark.parametrize("name", ["seg-lesions_dseg", "label-lesion_desc-instances_mask"])
def test_a_name_declares_instances(brain, name):
    brain.write_volume(MASK.replace("label-lesion_mask", name), lesion() * np.uint8(7))
    subject = load(brain)
    assert subject.lesion_mask_kind == "instances"
    assert subject.lesion_mask.data.max() == 7


def test_probabilities_declared_as_instances_are_refused(brain):
    brain.write_volume(MASK, lesion().astype(np.float32) * 0.7)
    brain.write(MASK.replace(".nii.gz", ".json"), json.dumps({"LesionInstances": True}))
    with pytest.raises(DataError, match="instances must be whole numbers, got probabilities"):
        load(brain)


def test_a_sidecar_names_the_classes_of_tissue_that_make_the_lesion(brain):
    data = lesion()
    spot = tuple(np.argwhere(data)[0])
    ring = data * 2
    ring[spot] = 3
    brain.write_volume(MASK, ring)
    brain.write(MASK.replace(".nii.gz", ".json"), json.dumps({"LesionLabels": [1, 3]}))
    subject = load(brain)
    assert subject.lesion_mask_kind == "binary"
    assert np.argwhere(subject.lesion_mask.data).tolist() == [list(spot)]
    assert "the classes 1, 3 of" in subject.warnings[0]


@pytest.mark.parametrize(
    ("sidecar", "message"),
    [
        ({"LesionLabels": [1], "LesionInstances": True}, "cannot be both"),
        ({"LesionLabels": []}, r"from 1 up, got \[\]"),
        ({"LesionLabels": [0, 1]}, "whole numbers from 1 up"),
        ({"LesionLabels": [True]}, "whole numbers from 1 up"),
        ({"LesionLabels": 3}, "must list whole numbers"),
    ],
)
def test_classes_that_cannot_be_meant_are_refused(brain, sidecar, message):
    brain.write_volume(MASK, lesion() * 2)
    brain.write(MASK.replace(".nii.gz", ".json"), json.dumps(sidecar))
    with pytest.raises(DataError, match=message):
        load(brain)


def test_a_mask_on_another_grid_in_the_same_place_keeps_its_grid(brain):
    (scan,) = find_scans(brain.select(), "01")
    space = load_subject(scan).t1w.space
    finer = space.with_spacing(1.0)
    voxels = np.rint(finer.world_to_voxel(space.voxel_to_world(np.array([[2.5, 2.5, 3.5]]))))[0].astype(int)
    mask = np.zeros(finer.shape, np.uint8)
    mask[tuple(voxels)] = 1
    brain.write_volume(MASK, mask, finer.affine)
    subject = load(brain)
    assert subject.lesion_mask.space.matches(finer, tolerance_mm=1e-3)
    assert subject.lesion_mask.data.sum() == 1
    (warning,) = subject.warnings
    assert "another grid than the T1w" in warning


def test_a_mask_that_lies_elsewhere_is_refused(brain):
    affine = load(brain).t1w.space.affine
    brain.write_volume(MASK, lesion(), shifted(affine, 100.0))
    with pytest.raises(DataError, match=r"lesion mask must lie where the T1w lies, but 0% of"):
        load(brain)


def test_a_mask_in_the_scan_but_far_from_the_brain_is_refused(brain):
    labels = np.zeros(SHAPE, np.int16)
    labels[:2, :2, :2] = np.resize(CODES, (2, 2, 2))
    brain.write_volume(LABELS, labels)
    mask = np.zeros(SHAPE, np.uint8)
    mask[5, 6, 7] = 1
    brain.write_volume(MASK, mask)
    with pytest.raises(DataError, match=r"lesion mask must lie in the brain, but 0% of"):
        load(brain)


def test_a_mask_that_juts_out_is_used_with_a_warning(brain):
    labels = np.zeros(SHAPE, np.int16)
    labels[:] = np.resize(CODES, SHAPE)
    brain.write_volume(LABELS, labels)
    affine = load(brain).t1w.space.affine
    mask = np.ones((6, 7, 8), np.uint8)
    brain.write_volume(MASK, mask, shifted(affine, affine[:3, 0]))
    assert any("17% of the lesion mask" in warning for warning in load(brain).warnings)


def test_a_label_map_on_another_grid_is_fine(brain):
    affine = load(brain).t1w.space.affine
    padded = np.pad(brain_labels(), 3)
    moved = affine.copy()
    moved[:3, 3] -= affine[:3, :3] @ [3, 3, 3]
    brain.write_volume(LABELS, padded, moved)
    subject = load(brain)
    assert subject.labels.space.shape == (12, 13, 14)
    assert subject.warnings == ()


def test_a_label_map_that_lies_elsewhere_is_refused(brain):
    affine = load(brain).t1w.space.affine
    brain.write_volume(LABELS, brain_labels(), shifted(affine, -50.0))
    with pytest.raises(DataError, match=r"label map must lie where the T1w lies, but 0% .*this very scan"):
        load(brain)


def test_a_label_map_that_juts_out_is_used_with_a_warning(brain):
    affine = load(brain).t1w.space.affine
    brain.write_volume(LABELS, brain_labels(), shifted(affine, 2 * affine[:3, 0]))
    assert any("25% of the label map" in warning for warning in load(brain).warnings)


def test_unknown_codes_are_counted_in_a_warning(brain):
    labels = brain_labels()
    labels[0, 0, :3] = 7777
    brain.write_volume(LABELS, labels)
    subject = load(brain)
    assert dict(subject.unmapped) == {7777: 3}
    assert any("7777 (3 voxels)" in warning for warning in subject.warnings)


def test_a_label_map_of_zeros_is_refused(brain):
    brain.write_volume(LABELS, np.zeros(SHAPE, np.int16))
    with pytest.raises(DataError, match="must hold labels, got zeros only"):
        load(brain)


def test_a_label_map_of_an_unknown_scheme_is_refused(brain):
    brain.write_volume(LABELS, np.resize(np.arange(4, dtype=np.int16), SHAPE))
    with pytest.raises(DataError, match="cannot tell the label scheme"):
        load(brain)


def test_the_table_of_names_decides_the_scheme(brain):
    labels = np.where(brain_labels() > 0, 44, 0).astype(np.int16)
    brain.write_volume(LABELS, labels)
    brain.write("derivatives/seg/dseg.tsv", "index\tname\n44\tRight Cerebral White Matter\n")
    assert set(np.unique(load(brain).labels.data)) == {0, 2}


def test_a_scan_without_label_map_is_refused_with_the_ways_out(brain):
    (brain.root / LABELS).unlink()
    with pytest.raises(DataError, match=r"got none. Run FreeSurfer, .*SAMSEG .*-d NAME=FOLDER .*none found"):
        load(brain)


def test_a_scan_of_two_frames_is_refused(brain):
    path = brain.root / "sub-01/anat/sub-01_T1w.nii"
    (brain.root / "sub-01/anat/sub-01_T1w.nii.gz").unlink()
    brain.write_volume("sub-01/anat/sub-01_T1w.nii", np.ones((4, 5, 12), np.float32))
    content = bytearray(path.read_bytes())
    content[40:50] = np.array([4, 4, 5, 6, 2], "<i2").tobytes()  # dim: four axes, two frames
    path.write_bytes(content)
    with pytest.raises(DataError, match="one image"):
        load(brain)


def test_a_scan_with_nan_is_refused(brain):
    brain.write_volume("sub-01/anat/sub-01_T1w.nii.gz", np.full(SHAPE, np.nan, np.float32))
    with pytest.raises(DataError, match="not finite"):
        load(brain)


@pytest.mark.parametrize("name", ["sub-01/anat/sub-01_T1w.nii.gz", LABELS, MASK])
def test_text_in_place_of_an_image_is_refused(brain, name):
    brain.write(name, "/annex/objects/MD5E-s1--0.nii.gz\n")
    with pytest.raises(DataError, match="no NIfTI or MGZ image"):
        load(brain)


def test_a_file_that_vanished_is_missing(brain):
    (scan,) = find_scans(brain.select(), "01")
    with pytest.raises(MissingInputError):
        load_subject(replace(scan, lesion_mask=brain.root / "gone.nii.gz"))


@settings(max_examples=40, deadline=None)
@given(steps=st.integers(-9, 9), axis=st.integers(0, 2))
def test_shifting_a_full_box_along_an_axis_leaves_the_overlap_inside(steps, axis):
    affine = np.array(
        [[0.0, -2.0, 0.3, 5.0], [1.0, 0.4, 0.0, -9.0], [0.2, 0.0, 3.0, 1.0], [0.0, 0.0, 0.0, 1.0]]
    )
    shape = (4, 5, 6)
    box = Volume(np.ones(shape, np.uint8), Space(shape, affine))
    moved = Volume(box.data, Space(shape, shifted(affine, steps * affine[:3, axis])))
    expected = max(0, shape[axis] - abs(steps)) / shape[axis]
    assert fraction_inside(moved, box) == pytest.approx(expected)


def test_nothing_lies_inside_anything():
    space = Space((2, 3, 4), np.eye(4))
    empty, full = Volume(np.zeros((2, 3, 4)), space), Volume(np.ones((2, 3, 4)), space)
    assert fraction_inside(empty, full) == 1.0


@pytest.mark.parametrize(("margin_mm", "expected"), [(0.0, 0.5), (1.4, 0.5), (1.6, 0.75), (4.6, 1.0)])
def test_a_margin_widens_the_box_by_millimetres(margin_mm, expected):
    space = Space((1, 1, 4), np.diag([2.0, 2.0, 3.0, 1.0]))
    line, half = np.ones((1, 1, 4)), np.array([[[1, 1, 0, 0]]])
    found = fraction_inside(Volume(line, space), Volume(half, space), margin_mm=margin_mm, only_labelled=True)
    assert found == pytest.approx(expected)
