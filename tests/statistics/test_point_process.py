import numpy as np
import pandas as pd
import pytest

from bidsapp.errors import DataError
from bidsapp.statistics.point_process import MODEL_COLUMNS, adjusted_model

N_BACKGROUND = 8000


def places(rng: np.random.Generator, n: int) -> pd.DataFrame:
    """Grey places lie near the junction and are perfused better: three explanations in one."""
    grey = rng.random(n) < 0.5
    distance = np.where(grey, rng.uniform(0, 4, n), -rng.uniform(0, 12, n))
    perfusion = 20.0 + 30.0 * grey + rng.normal(0, 8, n)
    tissue = np.where(grey, "grey", "white").astype(object)
    return pd.DataFrame({"tissue": tissue, "junction_distance_mm": distance, "perfusion": perfusion})


def drawn(
    rng: np.random.Generator, n_patients: int, n_each: int, rate: np.ndarray, pool: pd.DataFrame
) -> pd.DataFrame:
    chosen = rng.choice(len(pool), size=n_patients * n_each, p=rate / rate.sum())
    return pool.iloc[chosen].reset_index(drop=True)


def test_the_cause_is_told_from_what_comes_along_with_it() -> None:
    rng = np.random.default_rng(8)
    pool = places(rng, 40_000)
    lesions = drawn(rng, 300, 2, np.where(pool["tissue"] == "grey", 3.0, 1.0), pool)
    patients = pd.Series(np.repeat(np.arange(300), 2))
    model = adjusted_model(lesions, places(rng, N_BACKGROUND), patients)
    table = model.table.set_index("term")
    assert list(model.table.columns) == list(MODEL_COLUMNS)
    true = 3.0 if table.loc["tissue", "compared"] == "grey against white" else 1 / 3
    assert table.loc["tissue", "rate_ratio_low"] < true < table.loc["tissue", "rate_ratio_high"]
    assert table.loc["tissue", "p_value"] < 0.001
    for term in ("perfusion", "junction_distance_mm"):
        assert table.loc[term, "rate_ratio_low"] < 1 < table.loc[term, "rate_ratio_high"], term


def test_lesions_that_come_in_patients_widen_the_intervals() -> None:
    rng = np.random.default_rng(1)
    pool, background = places(rng, 4000), places(rng, N_BACKGROUND)
    lesions = drawn(rng, 60, 1, np.ones(4000), pool)
    repeated = lesions.loc[lesions.index.repeat(8)].reset_index(drop=True)
    patients = pd.Series(np.repeat(np.arange(60), 8))
    together = adjusted_model(repeated, background, patients).table.set_index("term")
    apart = adjusted_model(repeated, background, pd.Series(np.arange(480))).table.set_index("term")

    def width(table: pd.DataFrame) -> float:
        return float(np.log(table.loc["tissue", "rate_ratio_high"] / table.loc["tissue", "rate_ratio_low"]))

    assert width(together) / width(apart) == pytest.approx(np.sqrt(8), rel=0.1)


def test_maps_that_are_not_there_are_named_and_left_out() -> None:
    rng = np.random.default_rng(2)
    pool = places(rng, 4000).assign(perfusion=np.nan, territory=None)
    lesions = drawn(rng, 50, 2, np.ones(4000), pool)
    lesions["territory"] = lesions["territory"].astype(object)
    background = pool.assign(territory=pd.Series([None] * len(pool), dtype=object))
    model = adjusted_model(lesions, background, pd.Series(np.repeat(np.arange(50), 2)))
    assert "perfusion: no map" in model.left_out
    assert "territory: no map" in model.left_out
    assert set(model.table["term"]) == {"tissue", "junction_distance_mm"}


def test_a_group_with_hardly_any_lesion_gets_no_rate() -> None:
    rng = np.random.default_rng(3)
    pool = places(rng, 4000)
    lesions = drawn(rng, 60, 1, np.where(pool["tissue"] == "grey", 1.0, 0.0), pool)
    model = adjusted_model(lesions, pool, pd.Series(np.arange(60)))
    assert "tissue white: fewer than 5 lesions" in model.left_out
    assert "tissue" not in set(model.table["term"])
    assert np.isfinite(model.table["rate_ratio"]).all()


@pytest.mark.parametrize("n", [0, 1, 2, 9])
def test_too_few_lesions_give_a_sentence(n: int) -> None:
    rng = np.random.default_rng(4)
    background = places(rng, 200)
    model = adjusted_model(background.iloc[:n], background, pd.Series(np.arange(n)))
    assert model.table.empty
    assert "too few" in model.reason


def test_explanations_that_say_the_same_are_refused_in_words() -> None:
    rng = np.random.default_rng(5)
    pool = places(rng, 2000)
    pool["copy"] = pool["perfusion"]
    model = adjusted_model(pool.iloc[:200], pool, pd.Series(np.arange(200)))
    assert model.table.empty
    assert "cannot be told apart" in model.reason


def test_few_patients_come_with_a_caution() -> None:
    rng = np.random.default_rng(6)
    pool = places(rng, 2000)
    model = adjusted_model(pool.iloc[:60], pool, pd.Series(np.repeat(np.arange(6), 10)))
    assert "6.0 effective patients" in model.caution


def test_lesions_without_a_patient_are_refused() -> None:
    pool = places(np.random.default_rng(7), 20)
    with pytest.raises(DataError, match="belong together"):
        adjusted_model(pool, pool, pd.Series([1]))
