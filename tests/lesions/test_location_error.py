from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bidsapp.geometry.space import Space
from bidsapp.images.alignment import Alignment
from bidsapp.images.volume import Volume
from bidsapp.lesions.faces import label_faces
from bidsapp.lesions.instances import find_lesions
from bidsapp.lesions.location_error import (
    MEDIAN_TO_DEVIATION,
    BorderMisfit,
    location_error_mm,
    spread_of_centres_mm,
)
from bidsapp.lesions.table import LesionScan, lesion_table
from tests.lesions.conftest import BareAtlas, ball, centred_space, oblique_space

SPACE = centred_space((44, 45, 46))
FROM_THE_START = np.eye(4)


def shifted(
    by_mm: tuple[float, float, float], inverse_mm: tuple[float, float, float] | None = None
) -> Alignment:
    """Atlas points move by `by_mm`; the kept inverse moves them back, or by something else."""
    grid = Space(
        (5, 6, 7), np.diag([12.0, 12.0, 12.0, 1.0]) - [[0, 0, 0, 24], [0, 0, 0, 30], [0, 0, 0, 36], [0] * 4]
    )
    there = np.array(by_mm, np.float32)[:, None, None, None] + np.zeros((3, *grid.shape), np.float32)
    back = -np.array(by_mm) if inverse_mm is None else np.array(inverse_mm)
    inverse = back.astype(np.float32)[:, None, None, None] + np.zeros((3, *grid.shape), np.float32)
    return Alignment(FROM_THE_START, grid, there, inverse)


def slabs(space: Space, at_mm: float = 0.0) -> Volume:
    """White matter, cortex, and nothing, in slabs 12 mm thick along x."""
    x = space.voxel_centres_mm()[:, 0].reshape(space.shape) - at_mm
    return Volume(np.select([x < -12, x < 0, x < 12], [0, 1, 3], default=0).astype(np.uint8), space)


def misfit(alignment: Alignment, brain: Volume | None = None, centre: float = -6.0) -> float:
    lesion = ball(SPACE, (centre, 0.0, 0.0), 2.0)
    voxels = SPACE.voxel_to_world(np.argwhere(lesion.data).astype(float))
    return BorderMisfit.of(brain or slabs(SPACE), slabs(SPACE), alignment, voxels).near(voxels)


def test_borders_that_meet_miss_nothing() -> None:
    assert misfit(shifted((0, 0, 0))) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("shift", [0.3, 1.0, 2.5])
def test_flat_borders_miss_by_the_shift_across_them_to_a_fraction_of_a_voxel(shift: float) -> None:
    assert misfit(shifted((shift, 0, 0))) == pytest.approx(shift, abs=1e-3)
    assert misfit(shifted((0, shift, 0))) == pytest.approx(0, abs=1e-3)


def test_the_patient_may_lie_on_any_grid() -> None:
    labels = slabs(oblique_space((60, 50, 54), (1.0, 1.2, 1.1)))
    assert misfit(shifted((0, 0, 0)), labels) < 0.5
    assert misfit(shifted((3.0, 0, 0)), labels) == pytest.approx(3.0, abs=0.3)


def test_one_brain_on_two_turned_grids_of_a_millimetre_misses_a_fifth_of_a_millimetre() -> None:
    """What voxels alone do to borders: docs/places.md tells it."""
    found = [round_brain(space) for space in (SPACE, oblique_space((70, 71, 72), (1.0, 1.0, 1.0)))]
    voxels = SPACE.voxel_to_world(np.argwhere(ball(SPACE, (3.0, 2.0, 0.0), 2.0).data).astype(float))
    assert 0.1 < BorderMisfit.of(found[1], found[0], shifted((0, 0, 0)), voxels).near(voxels) < 0.25


def round_brain(space: Space) -> Volume:
    far = np.linalg.norm(space.voxel_centres_mm(), axis=1).reshape(space.shape)
    return Volume(np.select([far < 8, far < 14.3, far < 18.6], [5, 1, 3], default=0).astype(np.uint8), space)


def test_a_structure_that_the_atlas_does_not_have_counts_as_far_away() -> None:
    other = slabs(SPACE)
    renamed = Volume(np.where(other.data > 0, other.data + 10, 0).astype(np.uint8), SPACE)
    assert misfit(shifted((0, 0, 0)), renamed) == 15.0


def test_without_borders_nearby_the_misfit_is_not_known() -> None:
    assert np.isnan(misfit(shifted((0, 0, 0)), Volume(np.ones(SPACE.shape, np.uint8), SPACE)))


def test_only_the_neighbourhood_counts() -> None:
    """Beyond 15 mm the patient's map has another border, which the atlas does not have."""
    labels = slabs(SPACE)
    labels.data[-2:] = 7
    assert misfit(shifted((0, 0, 0)), labels, centre=-10.0) == pytest.approx(0, abs=1e-6)


def test_labels_guessed_inside_lesions_do_not_count() -> None:
    """The lesion fills the whole slab and more, so that every border that is near lies in or at it."""
    mask = np.zeros(SPACE.shape, bool)
    mask[12:32, 15:20, 15:20] = True
    guessed = Volume(np.where(mask, 7, 1).astype(np.uint8), SPACE)
    voxels = SPACE.voxel_to_world(np.argwhere(mask).astype(float))
    assert np.isnan(BorderMisfit.of(guessed, guessed, shifted((0, 0, 0)), voxels).near(voxels))


def test_every_face_is_listed_once_with_its_labels() -> None:
    data = np.zeros((4, 5, 6), np.uint8)
    data[1, 2, 3] = 9
    faces = label_faces(Volume(data, centred_space((4, 5, 6))))
    assert len(faces) == 6
    assert sorted(faces.axes.tolist()) == [0, 0, 1, 1, 2, 2]
    assert faces.low.tolist() == [0, 9] * 3
    assert faces.midpoints[:2].tolist() == [[0.5, 2, 3], [1.5, 2, 3]]


def test_the_round_trip_is_what_the_kept_inverse_misses() -> None:
    points = np.array([[0.0, 0, 0], [3.0, -2, 5]])
    assert shifted((1.0, 2.0, 0)).round_trip_mm(points) == pytest.approx([0, 0], abs=1e-6)
    wrong = shifted((1.0, 2.0, 0), (-1.0, -2.0, 0.5))
    assert wrong.round_trip_mm(points) == pytest.approx([0.5, 0.5], abs=1e-6)


def test_terms_are_joined_by_hand() -> None:
    assert location_error_mm(0, 0, 0) == 0
    assert location_error_mm(2, 0, np.nan) == pytest.approx(2 * 1.4826, abs=1e-4)
    assert location_error_mm(0, 3, 0) == pytest.approx(3 / np.sqrt(3))
    assert location_error_mm(0, 0, 0, 0.7) == pytest.approx(0.7)
    assert np.isnan(location_error_mm(np.nan, 1, 1, 1))


@given(*[st.floats(0, 20)] * 5)
def test_more_of_any_term_never_makes_a_place_surer(
    a: float, b: float, c: float, d: float, more: float
) -> None:
    known = location_error_mm(a, b, c, d)
    for worse in ((a + more, b, c, d), (a, b + more, c, d), (a, b, c + more, d), (a, b, c, d + more)):
        assert location_error_mm(*worse) >= known - 1e-9


def test_repeats_that_agree_have_no_spread_and_one_alignment_has_none_to_measure() -> None:
    lesions = find_lesions(ball(SPACE, (-6, 0, 0), 2.0), "binary")
    same = [shifted((1, 0, 0))] * 3
    assert spread_of_centres_mm(lesions, same) == pytest.approx([0.0], abs=1e-9)
    assert np.isnan(spread_of_centres_mm(lesions, same[:1])).all()


def test_the_spread_is_the_standard_deviation_along_an_axis() -> None:
    """Shifts of -1, 0 and 1 mm along each axis: a variance of 1 with two degrees of freedom."""
    lesions = find_lesions(ball(SPACE, (-6, 0, 0), 2.0), "binary")
    moved = (shifted((by, by, by)) for by in (-1.0, 0.0, 1.0))
    assert spread_of_centres_mm(lesions, moved) == pytest.approx([1.0], abs=1e-4)


def atlas() -> Any:
    return BareAtlas(labels=slabs(SPACE), territories=None, territory_names={}, perfusion=None)


def scan(brain: Volume | None) -> LesionScan:
    return LesionScan("01", None, find_lesions(ball(SPACE, (-6, 0, 0), 2.0), "binary"), SPACE, brain)


def test_a_worse_registration_has_larger_errors_in_the_lesion_table() -> None:
    tables = [lesion_table(scan(slabs(SPACE)), shifted((by, 0, 0)), atlas()) for by in (0.0, 1.0, 2.0)]
    errors = [table["location_error_mm"].iloc[0] for table in tables]
    assert errors == pytest.approx([0, MEDIAN_TO_DEVIATION, 2 * MEDIAN_TO_DEVIATION], abs=0.02)
    assert tables[0]["repeat_spread_mm"].isna().all()


def test_repeats_enter_the_error_of_the_table() -> None:
    repeats = [shifted((by, by, by)) for by in (-1.0, 1.0)]
    row = lesion_table(scan(slabs(SPACE)), shifted((0, 0, 0)), atlas(), repeats).iloc[0]
    assert row[["location_error_mm", "repeat_spread_mm"]].tolist() == pytest.approx([1.0, 1.0], abs=1e-3)


def test_without_labels_of_the_patient_the_error_is_not_known() -> None:
    assert lesion_table(scan(None), shifted((0, 0, 0)), atlas())["location_error_mm"].isna().all()
