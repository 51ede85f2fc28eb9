import numpy as np
import pandas as pd

from bidsapp.statistics.clustered import clustered_table
from bidsapp.statistics.influence import (
    INFLUENCE_COLUMNS,
    WITHOUT_CENTRE_COLUMNS,
    most_influential_patients,
    without_each_centre,
)
from tests.statistics.conftest import null_cohort

FRACTIONS = pd.Series({"A": 0.4, "B": 0.4, "C": 0.15, "D": 0.05})


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
