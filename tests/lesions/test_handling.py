"""How the lesions of a scan are handled, and on which mask that rests."""

import numpy as np
import pytest

from bidsapp.errors import MissingInputError
from bidsapp.geometry.space import Space
from bidsapp.images.volume import Volume
from bidsapp.lesions.handling import Guide, guide, settle_handling, suspect

SPACE = Space((4, 5, 6), np.diag([1.0, 1.5, 2.0, 1.0]))


def labels() -> Volume:
    data = np.full(SPACE.shape, 3, dtype=np.uint8)
    data[2, 2, 2] = 0
    return Volume(data, SPACE)


def mask() -> Volume:
    data = np.zeros(SPACE.shape, dtype=bool)
    data[2, 2, 2] = True
    return Volume(data, SPACE)


@pytest.mark.parametrize("wanted", ["auto", "mask"])
def test_with_a_mask_the_labels_are_healed_and_the_mask_steers(wanted):
    guided = guide(labels(), mask(), wanted)
    assert guided.handling == "mask"
    assert guided.labels.data[2, 2, 2] == 3
    assert guided.lesions is not None


@pytest.mark.parametrize("wanted", ["volume", "none"])
def test_a_mask_that_is_not_asked_for_does_not_steer(wanted):
    guided = guide(labels(), mask(), wanted)
    assert (guided.handling, guided.lesions) == (wanted, None)
    assert guided.labels.data[2, 2, 2] == 0


def test_without_a_mask_the_volume_is_what_is_left():
    assert guide(labels(), None, "auto").handling == "volume"


def test_a_mask_that_is_asked_for_must_be_there():
    with pytest.raises(MissingInputError, match="needs a lesion mask of every scan"):
        settle_handling("mask", has_mask=False)


def brain() -> tuple[Volume, Volume, Volume]:
    """An atlas that is a box of two tissues, a patient with a hole in it, and the hole; the image is flat."""
    space = Space((24, 25, 26), np.diag([1.5, 2.0, 1.0, 1.0]))
    atlas = np.zeros(space.shape, dtype=np.uint8)
    atlas[2:-2, 2:-2, 2:-2] = 3
    atlas[4:-4, 4:-4, 4:-4] = 1
    hole = np.zeros(space.shape, dtype=bool)
    hole[10:14, 11:14, 10:16] = True
    patient = np.where(hole, 0, atlas).astype(np.uint8)
    return Volume(atlas, space), Volume(patient, space), Volume(hole, space)


def test_where_no_mask_steers_what_is_suspected_is_healed_and_steers():
    atlas, patient, hole = brain()
    image = Volume(np.ones(atlas.space.shape, dtype=np.float32), atlas.space)
    guided = suspect(guide(patient, None, "auto"), image, atlas, np.eye(4))
    assert guided.handling == "volume"
    assert (guided.lesions.data[hole.data] > 0).all()
    np.testing.assert_array_equal(guided.labels.data, atlas.data)
    n_voxels = int((guided.lesions.data > 0).sum())
    assert guided.suspected_ml == pytest.approx(n_voxels * 3.0 / 1000, abs=0.005)
    assert hole.data.sum() <= n_voxels < 3 * hole.data.sum()


@pytest.mark.parametrize("wanted", ["mask", "none"])
def test_with_a_mask_or_without_handling_nothing_is_suspected(wanted):
    atlas, patient, hole = brain()
    image = Volume(np.ones(atlas.space.shape, dtype=np.float32), atlas.space)
    before = guide(patient, hole, wanted)
    assert suspect(before, image, atlas, np.eye(4)) is before
    assert before.suspected_ml == 0


def test_a_scan_in_which_nothing_is_suspected_stays_as_it_was():
    atlas, _, _ = brain()
    image = Volume(np.ones(atlas.space.shape, dtype=np.float32), atlas.space)
    before = guide(atlas, None, "volume")
    assert suspect(before, image, atlas, np.eye(4)) is before
    assert before.suspected_ml == 0


def test_what_is_suspected_is_told_in_ml_whatever_the_voxels():
    data = np.zeros(SPACE.shape, dtype=np.uint8)
    data[1:3, 1:5, 1:5] = 1  # 32 voxels of 3 mm3
    assert Guide("volume", labels(), Volume(data, SPACE)).suspected_ml == 0.1
    assert Guide("mask", labels(), Volume(data, SPACE)).suspected_ml == 0
