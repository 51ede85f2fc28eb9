import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bidsapp.errors import DataError, UsageError
from bidsapp.geometry.space import Space
from bidsapp.images.volume import Volume
from bidsapp.lesions.instances import Lesion, find_lesions, instance_map
from tests.lesions.conftest import oblique_space

SPACE = oblique_space((4, 5, 6), (0.8, 1.0, 2.5))
MASKS = arrays(np.bool_, (4, 5, 6), elements=st.booleans())


def mask_of(*voxels: tuple[int, int, int], space: Space = SPACE) -> Volume:
    data = np.zeros(space.shape, dtype=bool)
    for voxel in voxels:
        data[voxel] = True
    return Volume(data, space)


def test_voxels_that_touch_by_a_corner_are_one_lesion() -> None:
    assert len(find_lesions(mask_of((1, 1, 1), (2, 2, 2)), "binary")) == 1
    assert len(find_lesions(mask_of((1, 1, 1), (3, 1, 1)), "binary")) == 2


def test_an_empty_mask_has_no_lesion() -> None:
    for kind in ("binary", "instances"):
        assert find_lesions(mask_of(), kind) == ()


def test_volume_and_centre_come_through_an_oblique_affine() -> None:
    (lesion,) = find_lesions(mask_of((0, 0, 0), (0, 0, 1), (0, 1, 0)), "binary")
    assert lesion.volume_mm3 == pytest.approx(3 * 0.8 * 1.0 * 2.5)
    wanted = SPACE.voxel_to_world(np.array([[0.0, 1 / 3, 1 / 3]]))[0]
    np.testing.assert_allclose(lesion.centre_mm, wanted)


def test_the_largest_lesion_comes_first_and_equals_are_ordered_by_place() -> None:
    space = Space((4, 5, 6), np.eye(4))
    lesions = find_lesions(mask_of((3, 4, 5), (0, 0, 0), (0, 4, 0), (0, 4, 1), space=space), "binary")
    assert [lesion.index for lesion in lesions] == [1, 2, 3]
    assert [lesion.centre_mm.tolist() for lesion in lesions] == [[0, 4, 0.5], [0, 0, 0], [3, 4, 5]]


def test_instances_keep_lesions_apart_that_touch() -> None:
    data = np.zeros((4, 5, 6), dtype=np.int16)
    data[1, 1, 1:3], data[2, 1, 1] = 300, 7
    lesions = find_lesions(Volume(data, SPACE), "instances")
    assert [len(lesion.voxels) for lesion in lesions] == [2, 1]


def test_an_instance_in_two_pieces_stays_one_lesion_and_is_mentioned(
    caplog: pytest.LogCaptureFixture,
) -> None:
    data = np.zeros((4, 5, 6), dtype=np.uint8)
    data[0, 0, 0] = data[3, 4, 5] = 2
    with caplog.at_level(logging.WARNING):
        (lesion,) = find_lesions(Volume(data, SPACE), "instances")
    assert len(lesion.voxels) == 2
    assert "1 lesions of the instance map lie in 2 pieces" in caplog.text


@given(MASKS)
def test_painting_the_lesions_gives_the_mask_back(data: np.ndarray) -> None:
    lesions = find_lesions(Volume(data, SPACE), "binary")
    painted = instance_map(lesions, SPACE)
    np.testing.assert_array_equal(painted.data > 0, data)
    again = find_lesions(painted, "instances")
    assert [lesion.voxels.tolist() for lesion in again] == [lesion.voxels.tolist() for lesion in lesions]


@given(MASKS, st.permutations([0, 1, 2]))
def test_turning_the_grid_keeps_every_lesion(data: np.ndarray, order: list[int]) -> None:
    turned = np.transpose(data, order)
    affine = SPACE.affine[:, [*order, 3]]
    plain = find_lesions(Volume(data, SPACE), "binary")
    other = find_lesions(Volume(turned, Space(turned.shape, affine)), "binary")
    assert [lesion.volume_mm3 for lesion in plain] == pytest.approx([lesion.volume_mm3 for lesion in other])
    ordered = [
        np.array(sorted(lesion.centre_mm.round(6).tolist() for lesion in each)) for each in (plain, other)
    ]
    np.testing.assert_allclose(ordered[0], ordered[1], atol=1e-5)


@pytest.mark.parametrize(
    ("volume_mm3", "name"),
    [
        (24.9, "micro"),
        (25.0, "small"),
        (124.9, "small"),
        (125.0, "medium"),
        (999.0, "medium"),
        (1000.0, "large"),
    ],
)
def test_size_classes_have_the_published_limits(volume_mm3: float, name: str) -> None:
    assert Lesion(1, np.zeros((1, 3), dtype=np.int64), np.zeros(3), volume_mm3).size_class == name


def test_the_diameter_is_that_of_a_ball() -> None:
    lesion = Lesion(1, np.zeros((1, 3), dtype=np.int64), np.zeros(3), 4 / 3 * np.pi * 5**3)
    assert lesion.diameter_mm == pytest.approx(10)


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(UsageError, match="binary or instances, got 'tissue'"):
        find_lesions(mask_of((0, 0, 0)), "tissue")


def test_a_binary_mask_with_several_values_is_refused() -> None:
    data = np.zeros((4, 5, 6), dtype=np.uint8)
    data[0, 0, :3] = [1, 2, 3]
    with pytest.raises(DataError, match=r"one value besides 0, got \[0, 1, 2, 3\]"):
        find_lesions(Volume(data, SPACE), "binary")


@pytest.mark.parametrize("value", [-1.0, 0.5])
def test_an_instance_map_of_broken_numbers_is_refused(value: float) -> None:
    with pytest.raises(DataError, match="whole numbers from 0 up"):
        find_lesions(Volume(np.full((4, 5, 6), value), SPACE), "instances")


def test_a_lesion_without_voxels_is_refused() -> None:
    with pytest.raises(DataError, match="a lesion needs an index from 1 up"):
        Lesion(1, np.zeros((0, 3), dtype=np.int64), np.zeros(3), 1.0)


def test_lesions_of_another_grid_are_refused() -> None:
    with pytest.raises(DataError, match="must lie on its own grid"):
        instance_map(find_lesions(mask_of((3, 4, 5)), "binary"), Space((3, 3, 3), np.eye(4)))
