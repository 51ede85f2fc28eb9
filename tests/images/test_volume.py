"""Volume: data never leaves its space."""

import numpy as np
import pytest

from bidsapp.errors import ShapeError
from bidsapp.geometry.space import Space
from bidsapp.images.volume import Volume

SPACE = Space((4, 5, 6), np.diag([1.0, 2.0, 3.0, 1.0]))


def test_a_volume_keeps_data_and_space_as_they_came():
    data = np.zeros((4, 5, 6), np.uint8)
    volume = Volume(data, SPACE)
    assert volume.data is data
    assert volume.space is SPACE


@pytest.mark.parametrize("shape", [(6, 5, 4), (4, 5), (1, 4, 5, 6), (4, 5, 6, 1)])
def test_data_of_another_shape_is_refused(shape):
    with pytest.raises(ShapeError, match=r"grid \(4, 5, 6\), got"):
        Volume(np.zeros(shape), SPACE)


def test_a_volume_cannot_be_given_other_data():
    with pytest.raises(AttributeError, match="cannot assign"):
        Volume(np.zeros((4, 5, 6)), SPACE).data = np.ones((4, 5, 6))
