import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bidsapp.errors import DataError, ShapeError
from bidsapp.geometry.space import Space
from bidsapp.images.volume import Volume
from bidsapp.metrics.overlap import dice, joint_counts, voxel_counts

GRID = Space((4, 5, 6), np.eye(4))
label_maps = arrays(np.uint8, GRID.shape, elements=st.integers(0, 34)).map(lambda data: Volume(data, GRID))


def block(label: int, start: int, stop: int) -> np.ndarray:
    data = np.zeros(GRID.shape, dtype=np.uint8)
    data[:, :, start:stop] = label
    return data


def test_half_a_block_shared_scores_by_hand() -> None:
    first, second = Volume(block(7, 0, 4), GRID), Volume(block(7, 2, 4), GRID)
    # 80 voxels against 40, 40 shared: 2 * 40 / 120
    assert dice(first, second)[7] == pytest.approx(2 / 3)


def test_both_empty_takes_no_part_and_one_empty_scores_zero() -> None:
    score = dice(Volume(block(7, 0, 4), GRID), Volume(block(8, 0, 4), GRID))
    assert score[7] == 0
    assert score[8] == 0
    assert np.isnan(score[9])


@given(first=label_maps, second=label_maps)
def test_order_does_not_matter_and_scores_lie_between_0_and_1(first: Volume, second: Volume) -> None:
    score = dice(first, second)
    np.testing.assert_array_equal(score, dice(second, first))
    assert ((score >= 0) & (score <= 1) | np.isnan(score)).all()


@given(labels=label_maps)
def test_a_map_agrees_with_itself(labels: Volume) -> None:
    score = dice(labels, labels)
    assert (score[voxel_counts(labels) > 0] == 1).all()
    assert np.isnan(score[voxel_counts(labels) == 0]).all()


@given(first=label_maps, second=label_maps)
def test_every_class_scores_as_its_own_mask_would(first: Volume, second: Volume) -> None:
    score = dice(first, second)
    for index in (0, 1, 34):
        ours, theirs = first.data == index, second.data == index
        if ours.any() or theirs.any():
            assert score[index] == pytest.approx(2 * (ours & theirs).sum() / (ours.sum() + theirs.sum()))


def test_voxels_are_counted_per_class() -> None:
    counts = voxel_counts(Volume(block(3, 0, 2), GRID))
    assert (counts[0], counts[3], counts.sum(), counts.size) == (80, 40, 120, 35)


@given(first=label_maps, second=label_maps)
def test_joint_counts_are_those_of_every_pair_of_labels(first: Volume, second: Volume) -> None:
    counts = joint_counts(first, second)
    for here in np.unique(first.data):
        for there in np.unique(second.data):
            assert counts[here, there] == ((first.data == here) & (second.data == there)).sum()
    np.testing.assert_array_equal(counts.sum(axis=1), voxel_counts(first))
    np.testing.assert_array_equal(counts.sum(axis=0), voxel_counts(second))


def test_maps_on_two_grids_are_refused() -> None:
    moved = Space(GRID.shape, np.diag([2.0, 1.0, 1.0, 1.0]))
    with pytest.raises(ShapeError, match="compared on one grid"):
        dice(Volume(block(1, 0, 2), GRID), Volume(block(1, 0, 2), moved))


def test_freesurfer_codes_are_refused_with_the_way_out() -> None:
    codes = Volume(block(1, 0, 2).astype(np.int32) * 1001, GRID)
    with pytest.raises(DataError, match=r"0 to 1001; translate the codes"):
        dice(codes, codes)


def test_an_image_is_refused_as_a_label_map() -> None:
    image = Volume(block(1, 0, 2).astype(np.float32), GRID)
    with pytest.raises(DataError, match="holds integers, got float32"):
        dice(image, image)
