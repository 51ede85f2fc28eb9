"""How the lesions of a scan are handled, and on which mask that rests."""

import numpy as np
import pytest

from bidsapp.errors import MissingInputError
from bidsapp.geometry.space import Space
from bidsapp.images.volume import Volume
from bidsapp.lesions.handling import guide, settle_handling

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
