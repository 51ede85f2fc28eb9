import time

import numpy as np
import pandas as pd
import pytest

from bidsapp.statistics.clustered import clustered_table, estimate_clustering
from bidsapp.statistics.influence import (
    INFLUENCE_COLUMNS,
    WITHOUT_CENTRE_COLUMNS,
    most_influential_patients,
    without_each_centre,
)
from bidsapp.statistics.left_out import iccs_without
from tests.statistics.conftest import null_cohort

FRACTIONS = pd.Series({"A": 0.4, "B": 0.4, "C": 0.15, "D": 0.05})
SKEWED = pd.Series({"A": 0.43, "B": 0.40, "C": 0.15, "D": 0.02})


def skewed_cohort(seed: int, n_patients: int | None = None) -> pd.DataFrame:
    """Patients of 22 to 39, a few of them with many lesions, and too many lesions in the first region."""
    rng = np.random.default_rng(seed)
    n_drawn = int(rng.integers(22, 40)) if n_patients is None else n_patients
    sizes = 1 + rng.negative_binomial(0.5, 0.2, size=n_drawn)
    mixtures = rng.dirichlet(np.array([0.55, 0.28, 0.15, 0.02]) * 6, size=n_drawn)
    drawn = [rng.multinomial(size, mixture) for size, mixture in zip(sizes, mixtures, strict=True)]
    return pd.DataFrame(drawn, columns=SKEWED.index)


def p_values_without(counts: pd.DataFrame, region: str) -> pd.Series:
    """Repeat the whole analysis without each patient."""
    column = "clustered_bonferroni_p_value"
    return pd.Series(
        {
            patient: clustered_table(counts.drop(index=patient), SKEWED)
            .set_index("region")
            .loc[region, column]
            for patient in counts.index
        }
    )


def test_the_patient_with_most_lesions_in_an_enriched_region_weighs_most() -> None:
    counts = null_cohort(np.random.default_rng(2), FRACTIONS, 60, 0.0)
    counts.index = pd.Index([f"p{number}" for number in range(60)])
    counts.loc["p7", "D"] = 30
    table = most_influential_patients(counts, FRACTIONS).set_index("region")
    assert list(table.reset_index().columns) == list(INFLUENCE_COLUMNS)
    assert table.loc["D", "patient"] == "p7"
    assert table.loc["D", "n_patient_inside"] == 30
    without = clustered_table(counts.drop(index="p7"), FRACTIONS).set_index("region")
    assert table.loc["D", "p_value_without"] == without.loc["D", "clustered_bonferroni_p_value"]
    assert table.loc["D", "ratio_without"] < 2 < table.loc["D", "ratio"]


def test_a_finding_that_hangs_on_one_patient_is_marked() -> None:
    counts = pd.DataFrame(np.tile([1, 1, 0, 0], (60, 1)), columns=list("ABCD"))
    counts.loc[counts.index[:13], ["A", "D"]] = [0, 1]
    counts.loc[60] = [0, 0, 0, 2]
    table = most_influential_patients(counts, FRACTIONS).set_index("region")
    with_patient = table.loc["D", "clustered_bonferroni_p_value"]
    expected = with_patient < 0.01 <= table.loc["D", "p_value_without"]
    assert table.loc["D", "hangs_on_patient"] == expected
    assert table.loc["D", "patient"] == 60
    assert table.loc["D", "p_value_without"] > with_patient


def test_a_finding_can_hang_on_a_patient_without_whom_the_others_seem_more_alike() -> None:
    counts = skewed_cohort(64)
    row = most_influential_patients(counts, SKEWED).set_index("region").loc["A"]
    assert counts.loc[row["patient"]].tolist() == [8, 0, 1, 1]
    assert row["clustered_bonferroni_p_value"] == pytest.approx(0.0063, abs=1e-4)
    assert row["p_value_without"] == pytest.approx(0.0113, abs=1e-4)
    assert row["hangs_on_patient"]
    assert row["every_patient_tried"]


def test_no_patient_left_out_makes_a_finding_less_significant_than_the_one_named() -> None:
    counts = skewed_cohort(64)
    table = most_influential_patients(counts, SKEWED).set_index("region")
    found = table.index[table["clustered_bonferroni_p_value"] < 0.01]
    assert len(found)
    for region in found:
        assert table.loc[region, "p_value_without"] == pytest.approx(p_values_without(counts, region).max())


def test_the_clustering_without_each_patient_is_that_of_the_others() -> None:
    counts = skewed_cohort(64)
    values, shares = counts.to_numpy(), SKEWED.to_numpy()
    for column, region in enumerate(counts.columns):
        wanted = [
            estimate_clustering(counts.drop(index=patient), SKEWED).null_icc[region]
            for patient in counts.index
        ]
        np.testing.assert_allclose(iccs_without(values, shares, column), wanted, atol=1e-12)


def test_without_a_finding_the_patient_who_deviates_most_is_named() -> None:
    counts = pd.DataFrame([[2, 2, 1, 0], [2, 2, 0, 0], [6, 0, 0, 0], [0, 4, 1, 1]], columns=list("ABCD"))
    row = most_influential_patients(counts, FRACTIONS).set_index("region").loc["A"]
    assert row["clustered_bonferroni_p_value"] > 0.01
    assert row["patient"] == 2
    assert not row["every_patient_tried"]
    assert not row["hangs_on_patient"]


def test_of_thousands_of_patients_only_those_who_weigh_most_are_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bidsapp.statistics.left_out._PATIENTS_SUMMED", 5000)
    counts = skewed_cohort(1, 5000)
    start = time.process_time()
    row = most_influential_patients(counts, SKEWED).set_index("region").loc["A"]
    assert time.process_time() - start < 15
    assert not row["every_patient_tried"]
    assert row["p_value_without"] >= row["clustered_bonferroni_p_value"]


def test_every_centre_is_left_out_once() -> None:
    counts = null_cohort(np.random.default_rng(4), FRACTIONS, 30, 0.1)
    centres = pd.Series(["north", "south", None] * 10, index=counts.index)
    table = without_each_centre(counts, centres, FRACTIONS)
    assert list(table.columns) == list(WITHOUT_CENTRE_COLUMNS)
    assert table["left_out"].tolist() == ["north"] * 4 + ["south"] * 4
    kept = counts[(centres != "north").to_numpy()]
    north = table[table["left_out"] == "north"]
    np.testing.assert_array_equal(north["n_observed"], kept.sum())
    wanted = clustered_table(kept, FRACTIONS)["clustered_bonferroni_p_value"]
    np.testing.assert_allclose(north["clustered_bonferroni_p_value"], wanted)


def test_one_centre_cannot_be_left_out() -> None:
    counts = null_cohort(np.random.default_rng(4), FRACTIONS, 5, 0.0)
    assert without_each_centre(counts, pd.Series("only", index=counts.index), FRACTIONS).empty


def test_one_patient_and_no_patient_give_reasons_instead_of_numbers() -> None:
    one = pd.DataFrame([[3, 1, 0, 0]], columns=list("ABCD"))
    for counts in (one, one.iloc[:0]):
        table = most_influential_patients(counts, FRACTIONS)
        assert (table["reason"] != "").all()
        assert table["p_value_without"].isna().all()
        assert not table["hangs_on_patient"].any()


def test_a_region_without_a_volume_has_a_reason() -> None:
    fractions = pd.Series({"A": 0.5, "B": 0.5, "C": 0.0, "D": 0.0})
    counts = pd.DataFrame([[1, 0, 1, 0], [0, 1, 0, 0]], columns=list("ABCD"))
    table = most_influential_patients(counts, fractions).set_index("region")
    assert "no volume" in table.loc["C", "reason"]
