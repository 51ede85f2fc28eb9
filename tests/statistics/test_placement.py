import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest

from bidsapp.errors import DataError
from bidsapp.statistics.placement import (
    INDEPENDENT,
    Chance,
    Likeness,
    draw_sets,
    estimate_likeness,
    group_chance,
    normal_scores,
    size_bins,
    size_chance,
    uniform_chance,
)

POOL = np.sort(np.random.default_rng(0).gamma(2.0, 3.0, 4000))


def test_each_lesion_draws_from_its_own_group() -> None:
    values, groups = np.array([1.0, 5.0, 2.0, 6.0, np.nan]), np.array(["a", "b", "a", "b", "a"])
    chance = group_chance(values, groups, np.array(["b", None, "a", "nowhere"], dtype=object))
    drawn = draw_sets(chance, np.arange(4), INDEPENDENT, 200, np.random.default_rng(1))
    assert [set(column.tolist()) for column in drawn.T] == [{5, 6}, {1, 2, 5, 6}, {1, 2}, {1, 2, 5, 6}]
    assert chance.mean() == pytest.approx((5.5 + 3.5 + 1.5 + 3.5) / 4)


def test_a_large_lesion_draws_from_deep_places_only() -> None:
    depth = np.linspace(0, 10, 1001)
    chance = size_chance(depth * 2, depth, np.array([1.0, 8.0, 50.0]), n_bins=3)
    assert [chance.pools[stratum].min() for stratum in chance.strata] == pytest.approx([2.0, 16.0, 19.62])


def test_without_lesions_there_is_nothing_to_draw() -> None:
    chance = size_chance(POOL, POOL, np.zeros(0))
    assert len(chance) == 0
    assert draw_sets(chance, np.zeros(0), Likeness(0.3, 0.1), 5, np.random.default_rng(0)).shape == (5, 0)


@given(st.lists(st.floats(0.1, 30), min_size=1, max_size=40), st.integers(1, 12))
def test_bins_keep_the_order_of_sizes(radii: list[float], n_bins: int) -> None:
    bins, means = size_bins(np.array(radii), n_bins)
    order = np.argsort(radii, kind="stable")
    assert (np.diff(bins[order]) >= 0).all()
    assert (np.diff(means) > 0).all()
    assert set(bins) == set(range(len(means)))


def test_scores_of_chance_are_standard_normal() -> None:
    values = np.random.default_rng(2).choice(POOL, 2000)
    assert kstest(normal_scores(values, uniform_chance(POOL, 2000)), "norm").pvalue > 0.01


def test_drawn_lesions_are_as_alike_as_asked_and_each_follows_its_pool() -> None:
    patients = np.repeat(np.arange(300), 4)
    chance = uniform_chance(POOL, 1200)
    sets = draw_sets(chance, patients, Likeness(0.4, 0.0), 20, np.random.default_rng(3))
    found = [estimate_likeness(each.astype(np.float64), chance, patients).icc for each in sets]
    assert np.mean(found) == pytest.approx(0.4, abs=0.03)
    assert kstest(sets[:, 0], POOL).pvalue > 0.001
    assert sets.mean() == pytest.approx(POOL.mean(), rel=0.03)


def test_independent_lesions_have_no_icc_on_average() -> None:
    rng = np.random.default_rng(4)
    patients, chance = np.repeat(np.arange(60), 5), uniform_chance(POOL, 300)
    found = [estimate_likeness(rng.choice(POOL, 300), chance, patients) for _ in range(200)]
    assert np.mean([each.icc for each in found]) < 0.03
    spread = np.std([each.icc for each in found if each.icc > 0])
    assert spread < np.mean([each.standard_error for each in found]) < 3 * spread


def test_a_preference_shared_by_all_patients_is_not_taken_for_likeness() -> None:
    values = np.random.default_rng(5).choice(POOL, 400) + 12
    many, few = uniform_chance(POOL, 400), uniform_chance(POOL, 16)
    assert estimate_likeness(values, many, np.repeat(np.arange(100), 4)).icc < 0.1
    assert estimate_likeness(values[:16], few, np.repeat(np.arange(4), 4)).icc > 0.5


def test_wide_pools_decide_how_alike_lesions_are() -> None:
    pools = (np.linspace(-0.01, 0.01, 100), np.linspace(-50, 50, 100))
    chance = Chance(pools, np.tile([0, 0, 1, 1], 200))
    rng = np.random.default_rng(6)
    patients = np.repeat(np.arange(200), 4)
    shared = np.repeat(rng.standard_normal(200), 2)
    scores = np.stack([rng.standard_normal(400), shared]).reshape(2, 200, 2).transpose(1, 0, 2).ravel()
    assert estimate_likeness(scores * np.tile([0.005, 0.005, 28, 28], 200), chance, patients).icc > 0.85


def test_single_lesions_have_no_likeness() -> None:
    chance = uniform_chance(POOL, 2)
    assert estimate_likeness(np.array([1.0, 2.0]), chance, np.array(["a", "b"])) == INDEPENDENT
    assert estimate_likeness(np.zeros(0), uniform_chance(POOL, 0), np.zeros(0)) == INDEPENDENT


def test_the_same_seed_draws_the_same_sets() -> None:
    chance, patients = uniform_chance(POOL, 6), np.array(list("aabbbc"))
    one, other = (
        draw_sets(chance, patients, Likeness(0.2, 0.1), 4, np.random.default_rng(7)) for _ in range(2)
    )
    assert (one == other).all()


@pytest.mark.parametrize(
    ("pools", "message"),
    [
        ((), "empty"),
        ((np.zeros(0),), "empty"),
        ((np.array([2.0, 1.0]),), "ascending"),
        ((np.zeros(1),), "1 pools"),
    ],
)
def test_broken_pools_are_refused(pools: tuple[np.ndarray, ...], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Chance(pools, np.array([1]))
