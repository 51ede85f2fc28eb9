import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from bidsapp.statistics.positions import emd_3d_mm, position_test

BOX = np.random.default_rng(0).uniform(0, 100, (5000, 3))


def test_sets_of_one_size_cost_what_their_best_assignment_costs() -> None:
    rng = np.random.default_rng(1)
    one, other = rng.normal(size=(17, 3)), rng.normal(size=(17, 3))
    cost = cdist(one, other)
    assert emd_3d_mm(one, other) == pytest.approx(cost[linear_sum_assignment(cost)].mean(), rel=1e-9)


def test_a_shift_costs_its_length() -> None:
    points = BOX[:20]
    assert emd_3d_mm(points, points + np.array([0.0, 3.0, 4.0])) == pytest.approx(5)


def test_points_in_one_corner_are_found() -> None:
    rng = np.random.default_rng(2)
    test = position_test(rng.uniform(0, 50, (60, 3)), BOX, np.arange(60), rng, n_sets=19)
    assert test.p_value == pytest.approx(0.05)
    assert test.emd_mm is not None
    assert test.emd_chance_mm is not None
    assert test.emd_mm > test.emd_chance_mm


def test_each_patient_counts_once_however_many_lesions_he_has() -> None:
    rng = np.random.default_rng(3)
    places = np.vstack([np.tile(BOX[:1], (500, 1)), BOX[1:21]])
    patients = np.append(np.zeros(500, dtype=int), np.arange(1, 21))
    test = position_test(places, BOX, patients, rng, n_sets=19)
    assert test.n_points == 21
    assert test.p_value is not None
    assert test.p_value > 0.05


@pytest.mark.parametrize(("patients", "reason"), [([], "no lesions"), (["a", "a"], "one patient only")])
def test_without_two_patients_there_is_no_test(patients: list[str], reason: str) -> None:
    rng = np.random.default_rng(4)
    test = position_test(BOX[: len(patients)], BOX, np.array(patients), rng)
    assert test.p_value is None
    assert test.reason.startswith(reason)
