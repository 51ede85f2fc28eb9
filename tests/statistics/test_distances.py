import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from bidsapp.errors import DataError
from bidsapp.statistics.distances import (
    CURVE_COLUMNS,
    DISTANCE_COLUMNS,
    analyse_distances,
    emd_rank_test,
    global_envelope,
    two_sided_rank_p_value,
)
from bidsapp.statistics.placement import uniform_chance

POOL = np.sort(np.random.default_rng(0).normal(3.0, 5.0, 5000))


def test_the_mean_distance_is_scipys_over_all_pairs() -> None:
    rng = np.random.default_rng(1)
    lesions, sets = rng.normal(1, 2, 23), rng.normal(0, 2, (7, 23))
    test = emd_rank_test(lesions, sets)
    pairs = [[wasserstein_distance(a, b) for b in sets] for a in (lesions, *sets)]
    assert test.emd_mm == pytest.approx(np.mean(pairs[0]), rel=1e-9)
    assert test.emd_chance_mm == pytest.approx(np.sum(pairs[1:]) / 42, rel=1e-9)


def test_a_shifted_set_is_the_last_in_rank_and_as_far_as_its_shift() -> None:
    sets = np.tile(np.arange(10.0), (19, 1))
    test = emd_rank_test(np.arange(10.0) + 4, sets)
    assert test.p_value == pytest.approx(1 / 20)
    assert (test.emd_mm, test.emd_chance_mm) == pytest.approx((4, 0))


def test_a_set_like_all_others_has_p_one() -> None:
    assert emd_rank_test(np.arange(5.0), np.tile(np.arange(5.0), (9, 1))).p_value == 1


def test_one_lesion_is_enough_for_a_rank_and_none_is_not() -> None:
    assert emd_rank_test(np.array([30.0]), POOL[:99, None]).p_value == pytest.approx(0.01)
    empty = emd_rank_test(np.zeros(0), np.zeros((9, 0)))
    assert (empty.p_value, empty.reason) == (None, "no lesions")


def test_rank_p_values_keep_their_level_under_independence() -> None:
    rng = np.random.default_rng(2)
    found = [emd_rank_test(rng.choice(POOL, 40), rng.choice(POOL, (99, 40))).p_value for _ in range(600)]
    assert 0.03 <= np.mean(np.array(found) <= 0.05) <= 0.07


def test_the_envelope_of_one_curve_outside_is_left_and_its_p_value_smallest() -> None:
    rng = np.random.default_rng(3)
    curves = rng.uniform(size=(200, 30)).cumsum(axis=1)
    curves[0] += 40
    envelope = global_envelope(curves)
    assert envelope.p_value == pytest.approx(1 / 200)
    assert (curves[0] > envelope.high).all()
    inside = ((curves[1:] >= envelope.low) & (curves[1:] <= envelope.high)).all(axis=1).mean()
    assert inside == pytest.approx(0.95, abs=0.02)


def test_the_global_rank_keeps_its_level() -> None:
    rng = np.random.default_rng(4)
    found = [global_envelope(rng.normal(size=(100, 12)).cumsum(axis=1)).p_value for _ in range(500)]
    assert 0.03 <= np.mean(np.array(found) <= 0.05) <= 0.07


def test_two_sided_ranks_double_the_smaller_tail() -> None:
    assert two_sided_rank_p_value(0.0, np.arange(1.0, 100.0)) == pytest.approx(0.02)
    assert two_sided_rank_p_value(50.0, np.arange(1.0, 100.0)) == 1


def test_a_shift_is_found_with_its_size_and_direction() -> None:
    rng = np.random.default_rng(5)
    distances = rng.choice(POOL, 400) - 2.0
    found = analyse_distances(
        distances, {"uniform": uniform_chance(POOL, 400)}, np.repeat(np.arange(100), 4), rng, n_sets=199
    )
    row = found.table.iloc[0]
    assert list(found.table.columns) == list(DISTANCE_COLUMNS)
    assert list(found.curves.columns) == list(CURVE_COLUMNS)
    assert row["mean_difference_low_mm"] < -2 < row["mean_difference_high_mm"]
    assert row[["emd_p_value", "mean_p_value", "curve_p_value"]].max() <= 0.01
    assert (found.curves["lesions_fraction"] > found.curves["envelope_high"]).any()


def test_missing_distances_are_left_out() -> None:
    distances = np.array([1.0, np.nan, 4.0])
    found = analyse_distances(
        distances,
        {"uniform": uniform_chance(POOL, 3)},
        np.array(list("abc")),
        np.random.default_rng(6),
        n_sets=19,
    )
    assert found.table.loc[0, ["n_lesions", "n_patients"]].tolist() == [2, 2]


@pytest.mark.parametrize("n_lesions", [0, 1, 2])
def test_hardly_any_lesions_give_a_row_without_broken_numbers(n_lesions: int) -> None:
    chance = uniform_chance(POOL, n_lesions)
    distances = np.arange(n_lesions, dtype=np.float64)
    found = analyse_distances(
        distances, {"uniform": chance}, np.full(n_lesions, "a"), np.random.default_rng(0), n_sets=99
    )
    row = found.table.iloc[0]
    reasons = {0: "no lesion has a distance", 2: "one patient only"}
    if n_lesions == 1:
        assert 0 < row["emd_p_value"] <= 1
    else:
        assert str(row["reason"]).startswith(reasons[n_lesions])
        assert np.isnan(row["emd_p_value"])


def test_lengths_that_differ_are_refused() -> None:
    with pytest.raises(DataError, match="must have one length, got 2 distances"):
        analyse_distances(np.zeros(2), {"u": uniform_chance(POOL, 3)}, np.zeros(2), np.random.default_rng(0))
