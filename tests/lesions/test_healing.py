"""Tumours are healed over with the tissue around them."""

import numpy as np

from bidsapp.geometry.space import Space
from bidsapp.images.volume import Volume
from bidsapp.lesions.healing import heal_labels

SPACE = Space((12, 10, 8), np.array([[1.0, 0, 0, 5], [0, 1.0, 0.1, -3], [0, -0.2, 2.0, 7], [0, 0, 0, 1]]))


def halves() -> np.ndarray:
    data = np.full(SPACE.shape, 1, dtype=np.uint8)
    data[6:] = 3
    return data


def test_a_hole_takes_the_labels_on_either_side_of_it() -> None:
    data, mask = halves(), np.zeros(SPACE.shape, dtype=bool)
    mask[4:8, 4:7, 3:5] = True
    data[mask] = 0
    healed = heal_labels(Volume(data, SPACE), Volume(mask, SPACE))
    np.testing.assert_array_equal(healed.data, halves())


def test_wrong_labels_inside_a_lesion_are_forgotten() -> None:
    data, mask = halves(), np.zeros(SPACE.shape, dtype=np.int16)
    mask[2:4, 4:6, 3:5] = 2
    data[mask > 0] = 17
    healed = heal_labels(Volume(data, SPACE), Volume(mask, SPACE))
    np.testing.assert_array_equal(healed.data, halves())


def test_a_mask_on_another_grid_covers_the_same_place() -> None:
    data = halves()
    fine = Space((24, 20, 16), SPACE.affine @ np.array([[0.5, 0, 0, -0.25], [0, 0.5, 0, -0.25],
                                                        [0, 0, 0.5, -0.25], [0, 0, 0, 1]]))  # fmt: skip
    mask = np.zeros(fine.shape, dtype=bool)
    mask[4:8, 8:12, 6:10] = True
    data[2:4, 4:6, 3:5] = 0
    healed = heal_labels(Volume(data, SPACE), Volume(mask, fine))
    np.testing.assert_array_equal(healed.data, halves())


def test_without_a_lesion_or_without_any_healthy_structure_nothing_changes() -> None:
    empty = Volume(np.zeros(SPACE.shape, dtype=bool), SPACE)
    full = Volume(np.ones(SPACE.shape, dtype=bool), SPACE)
    labels = Volume(halves(), SPACE)
    assert heal_labels(labels, empty) is labels
    assert heal_labels(labels, full) is labels
