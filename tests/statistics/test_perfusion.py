import numpy as np
import pandas as pd
import pytest

from bidsapp.errors import DataError
from bidsapp.statistics.perfusion import (
    PERFUSION_COLUMNS,
    SITE_COLUMNS,
    perfusion_by_site,
    perfusion_table,
)


def balls(rng: np.random.Generator) -> pd.DataFrame:
    """Two sizes: minimum and maximum of the larger balls lie further apart."""
    size_bin = np.repeat([0, 1], 2000)
    middle, spread = rng.normal(50, 10, 4000), np.where(size_bin == 0, 2.0, 12.0)
    return pd.DataFrame(
        {"median": middle, "min": middle - spread, "max": middle + spread, "size_bin": size_bin}
    )


def lesions(rng: np.random.Generator, n_lesions: int, large: float, shift: float = 0.0) -> tuple:
    bins = (rng.random(n_lesions) < large).astype(np.int64)
    middle, spread = rng.normal(50, 10, n_lesions) + shift, np.where(bins == 0, 2.0, 12.0)
    table = pd.DataFrame(
        {
            "subject": (np.arange(n_lesions) // 3).astype(str),
            "site": np.where(np.arange(n_lesions) // 3 % 2, "a", "b"),
            "perfusion_median": middle,
            "perfusion_min": middle - spread,
            "perfusion_max": middle + spread,
        }
    )
    return table, bins


def test_large_lesions_do_not_seem_to_seek_high_flow() -> None:
    rng = np.random.default_rng(0)
    table, bins = lesions(rng, 300, 0.9)
    found = perfusion_table(table, balls(rng), bins, rng, n_sets=199)
    assert list(found.columns) == list(PERFUSION_COLUMNS)
    assert (found["p_value"] > 0.02).all()
    assert (found["difference_low"] < 0).all()
    assert (found["difference_high"] > 0).all()


def test_lesions_at_low_flow_are_found() -> None:
    rng = np.random.default_rng(1)
    table, bins = lesions(rng, 300, 0.5, shift=-4.0)
    found = perfusion_table(table, balls(rng), bins, rng, n_sets=199)
    assert (found["p_value"] <= 0.02).all()
    assert found["difference"].tolist() == pytest.approx([-4] * 3, abs=2)


def test_lesions_outside_the_map_are_counted_and_left_out() -> None:
    rng = np.random.default_rng(2)
    table, bins = lesions(rng, 30, 0.5)
    table.loc[:9, ["perfusion_median", "perfusion_min", "perfusion_max"]] = np.nan
    found = perfusion_table(table, balls(rng), bins, rng, n_sets=19)
    assert found["n_lesions"].tolist() == [20] * 3
    assert found["n_missing"].tolist() == [10] * 3
    sites = perfusion_by_site(table)
    assert list(sites.columns) == list(SITE_COLUMNS)
    assert sites["n_lesions"].sum() == 20


@pytest.mark.parametrize(("n_lesions", "reason"), [(0, "no lesion lies in the map"), (2, "one patient only")])
def test_hardly_any_lesions_give_a_reason(n_lesions: int, reason: str) -> None:
    rng = np.random.default_rng(3)
    table, bins = lesions(rng, n_lesions, 0.5)
    found = perfusion_table(table, balls(rng), bins, rng, n_sets=19)
    assert found["reason"].str.startswith(reason).all()
    assert found["p_value"].isna().all()


def test_centres_that_cannot_be_compared_have_a_reason_of_their_own() -> None:
    rng = np.random.default_rng(6)
    table, bins = lesions(rng, 30, 0.5)
    compared = perfusion_table(table, balls(rng), bins, rng, n_sets=19)
    assert (compared["centres_reason"] == "").all()
    alone = perfusion_table(table.assign(site="a"), balls(rng), bins, rng, n_sets=19)
    assert alone["centres_p_value"].isna().all()
    assert (alone["centres_reason"] == "fewer than two groups have lesions").all()
    assert alone["reason"].isna().all()


def test_one_lesion_has_a_rank() -> None:
    rng = np.random.default_rng(4)
    table, bins = lesions(rng, 1, 0.5)
    assert perfusion_table(table, balls(rng), bins, rng, n_sets=19)["p_value"].between(0.05, 1).all()


def test_without_balls_or_bins_the_analysis_is_refused() -> None:
    rng = np.random.default_rng(5)
    table, bins = lesions(rng, 3, 0.5)
    with pytest.raises(DataError, match="got 0 balls, 3 bins and 3 lesions"):
        perfusion_table(table, balls(rng).head(0), bins, rng)
