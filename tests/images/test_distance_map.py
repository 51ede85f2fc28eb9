"""Depth inside labels, worked by hand."""

import numpy as np
import pytest

from bidsapp.geometry.space import Space
from bidsapp.images.distance_map import depth_and_index, label_depth_mm
from bidsapp.images.volume import Volume

SPACE = Space(
    (9, 10, 11), np.array([[0, 0, 2.0, 5], [1.0, 0, 0, -7], [0, -1.5, 0, 300], [0, 0, 0, 1]])
)  # 1 x 1.5 x 2 mm, axes permuted and one of them turned round


def box() -> Volume:
    data = np.zeros(SPACE.shape, dtype=np.uint8)
    data[2:7, 2:7, 3:8] = 4
    return Volume(data, SPACE)


def test_the_depth_of_a_box_is_that_of_its_nearest_face_in_millimetres() -> None:
    depth = label_depth_mm(box())
    assert depth[4, 4, 5] == 2.0  # two voxels of 1 mm from the face along i
    assert depth[3, 4, 5] == 1.0
    assert depth[4, 3, 5] == 1.5
    assert depth[4, 4, 4] == 2.0
    assert depth[2, 4, 5] == depth[6, 6, 7] == 0.0


def test_background_is_a_label_like_any_other() -> None:
    depth = label_depth_mm(box())
    assert depth[1, 4, 5] == 0.0
    assert depth[0, 4, 5] == 1.0
    assert depth[0, 0, 0] == pytest.approx(np.sqrt(2.0**2 + 3.0**2 + 4.0**2))  # to voxel (2, 2, 2)


def test_the_edge_of_the_grid_is_no_border() -> None:
    data = np.zeros((4, 5, 6), dtype=np.uint8)
    data[2:] = 1
    depth = label_depth_mm(Volume(data, Space((4, 5, 6), np.eye(4))))
    assert (depth[3] == 1.0).all()


def test_a_label_that_fills_the_grid_is_infinitely_deep() -> None:
    filled = Volume(np.full((4, 5, 6), 7, dtype=np.uint8), Space((4, 5, 6), np.eye(4)))
    assert np.isinf(label_depth_mm(filled)).all()
    assert (depth_and_index(filled, deepest_mm=10.0, index_weight=1.0).data == 8.0).all()


def test_depth_is_clipped_and_scaled_and_the_label_adds_its_number() -> None:
    found = depth_and_index(box(), deepest_mm=1.5, index_weight=0.5).data
    assert found[4, 4, 5] == 1.0 + 2.0
    assert found[3, 4, 5] == pytest.approx(1.0 / 1.5 + 2.0)
    assert found[1, 4, 5] == 0.0
