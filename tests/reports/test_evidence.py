"""What a scan says against its labels and its mask, on heads whose answer is known."""

import numpy as np
import pytest

from bidsapp.geometry.space import Space
from bidsapp.images.volume import Volume
from bidsapp.reports.evidence import explained_by_labels, mask_contrast

SPACE = Space((40, 44, 36), np.array([[-4.0, 0, 0, 78], [0, 4, 0, -86], [0, 0, 4, -70], [0, 0, 0, 1.0]]))
POINTS = SPACE.voxel_centres_mm()


def on_grid(values: np.ndarray) -> Volume:
    return Volume(values.reshape(SPACE.shape), SPACE)


def ball(centre: tuple[float, float, float], radius: float) -> np.ndarray:
    return np.linalg.norm(POINTS - np.array(centre), axis=1) < radius


def lopsided_labels(side: float) -> Volume:
    """A round head of cortex and white matter, whose ventricle lies on one side only."""
    labels = np.zeros(len(POINTS), np.uint8)
    labels[ball((0, 0, 0), 66)] = 3
    labels[ball((0, 0, 0), 54)] = 1
    labels[ball((side * 26, 8, 0), 16)] = 5
    return on_grid(labels)


def scan_of(labels: Volume) -> Volume:
    grey = np.array([0, 200, 200, 120, 120, 20, 20, *[0] * 28], np.float32)[labels.data]
    return on_grid((grey + np.random.default_rng(3).normal(0, 6, grey.shape)).astype(np.float32).ravel())


@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_labels_explain_their_own_scan_better_than_its_mirror_image(side):
    labels = lopsided_labels(side)
    own, mirrored = explained_by_labels(scan_of(labels), labels)
    assert own > 0.95
    assert mirrored < own - 0.1
    flipped, back = explained_by_labels(scan_of(lopsided_labels(-side)), labels)
    assert back > 0.95
    assert flipped == pytest.approx(mirrored, abs=0.02)


def test_the_share_is_that_of_a_worked_example():
    """Two structures of two voxels each: 1, 3 and 5, 7 have a total variance of 5, within them 1."""
    space = Space((4, 1, 1), np.eye(4))
    labels = Volume(np.array([1, 1, 2, 2], np.uint8).reshape(4, 1, 1), space)
    scan = Volume(np.array([1.0, 3.0, 5.0, 7.0], np.float32).reshape(4, 1, 1), space)
    own, mirrored = explained_by_labels(scan, labels)
    assert own == pytest.approx(0.8)
    assert mirrored == pytest.approx(0.8)


def test_nothing_is_said_of_a_scan_of_one_intensity_or_of_no_labels():
    labels = lopsided_labels(1.0)
    assert np.isnan(explained_by_labels(on_grid(np.ones(len(POINTS), np.float32)), labels)).all()
    empty = on_grid(np.zeros(len(POINTS), np.uint8))
    assert np.isnan(explained_by_labels(scan_of(labels), empty)).all()


def patient(*centres: tuple[float, float, float]) -> tuple[Volume, Volume, Volume]:
    """A head with bright balls; its scan, its numbered mask and its labels."""
    labels = lopsided_labels(1.0)
    scan, mask = scan_of(labels).data.copy().ravel(), np.zeros(len(POINTS), np.uint16)
    for number, centre in enumerate(centres, start=1):
        scan[ball(centre, 11)] = 300
        mask[ball(centre, 11)] = number
    return on_grid(scan), on_grid(mask), labels


HERE = ((-30.0, 10.0, 10.0), (10.0, -35.0, -8.0), (-5.0, 25.0, 30.0))
ELSEWHERE = ((-8.0, -10.0, 22.0), (-25.0, -14.0, -20.0), (12.0, -18.0, 12.0))


def test_a_mask_of_this_patient_stands_out_and_one_of_another_does_not():
    scan, mask, labels = patient(*HERE)
    _, strange, _ = patient(*ELSEWHERE)
    assert mask_contrast(scan, mask, labels) > 0.95
    assert mask_contrast(scan, strange, labels) < 0.7


def test_a_lesion_too_small_to_tell_is_not_judged():
    scan, mask, labels = patient()
    single = mask.data.copy()
    single[20, 20, 18] = 1
    fine = Space(SPACE.shape, SPACE.affine * np.array([[0.5, 0.5, 0.5, 1.0]] * 3 + [[1.0] * 4]))
    assert np.isnan(mask_contrast(scan, Volume(single, fine), labels))
    assert np.isnan(mask_contrast(scan, mask, labels))
