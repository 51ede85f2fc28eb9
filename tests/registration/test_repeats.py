"""Perturbed starts, and what becomes of them."""

import numpy as np
import pytest

from bidsapp.images.volume import Volume
from bidsapp.registration.deformable import align_deformable
from bidsapp.registration.repeats import perturbed_starts
from bidsapp.settings import RegistrationSettings, Stage
from tests.registration.conftest import scanner, seen_through

START = np.array([[1.02, 0.05, 0, 210], [-0.04, 0.97, 0.02, -120], [0, 0.03, 1.0, 40], [0, 0, 0, 1]])
QUICK = RegistrationSettings(
    stages=(Stage(grid_mm=8.0, labels_mm=4.0, smoothing_mm=8.0, step_mm=1.0, iterations=6),), field_mm=4.0
)
PLACES = np.array([[-15.0, 5.0, 8.0], [20.0, -10.0, -4.0]])


def starts(fixed: Volume, n: int, seed: int = 0, **sizes: float) -> list[np.ndarray]:
    return list(perturbed_starts(START, fixed, n=n, seed=seed, **sizes))


def test_without_a_perturbation_every_start_is_the_same(fixed: Volume) -> None:
    for start in starts(fixed, 3, shift_mm=0.0, turn_degrees=0.0):
        np.testing.assert_allclose(start, START, atol=1e-12)


def test_shifts_and_turns_have_the_stated_size(fixed: Volume) -> None:
    moved = np.array([np.linalg.inv(START) @ start for start in starts(fixed, 400)])
    middle = fixed.space.voxel_to_world(np.argwhere(fixed.data > 0).mean(axis=0)[None])[0]
    shifts = moved[:, :3, :3] @ middle + moved[:, :3, 3] - middle
    assert shifts.std() == pytest.approx(1.0, abs=0.1)
    angles = np.rad2deg(np.arccos((np.trace(moved[:, :3, :3], axis1=1, axis2=2) - 1) / 2))
    assert np.sqrt((angles**2).mean() / 3) == pytest.approx(1.0, abs=0.1)
    np.testing.assert_allclose(np.linalg.det(moved), 1, atol=1e-9)


def test_a_seed_gives_the_same_starts_however_many_are_wanted(fixed: Volume) -> None:
    np.testing.assert_array_equal(starts(fixed, 2, seed=7), starts(fixed, 4, seed=7)[:2])
    assert not np.allclose(starts(fixed, 1, seed=7), starts(fixed, 1, seed=8))


def scatter(fixed: Volume, **sizes: float) -> float:
    """Largest distance between the places that two alignments give to the same points of the patient."""
    moving = seen_through(START, scanner(START, np.diag([2.0, 2.2, 1.8])))
    points = PLACES @ START[:3, :3].T + START[:3, 3]
    found = [
        align_deformable(fixed, moving, start, QUICK).moving_to_fixed(points)
        for start in starts(fixed, 2, **sizes)
    ]
    return float(np.abs(found[0] - found[1]).max())


def test_alignments_from_the_same_start_agree_and_others_nearly(fixed: Volume) -> None:
    assert scatter(fixed, shift_mm=0.0, turn_degrees=0.0) == 0
    assert 0.001 < scatter(fixed) < 3.0
