import numpy as np
import pandas as pd
import pytest

from bidsapp.statistics.volumes import SIZE_COLUMNS, VOLUME_COLUMNS, size_class_table, volume_by_region

REGIONS = ["Cortex", "White", "Putamen", "Pallidum"]


def cohort(rng: np.random.Generator, n_patients: int = 60, factor: float = 1.0) -> pd.DataFrame:
    """Volumes with a habit of each patient; those in the putamen `factor` times as large."""
    patients = np.repeat(np.arange(n_patients), 1 + rng.negative_binomial(1, 0.25, n_patients))
    regions = rng.choice(REGIONS[:3], p=[0.5, 0.35, 0.15], size=len(patients))
    logs = 5 + rng.normal(size=n_patients)[patients] + 0.7 * rng.normal(size=len(patients))
    volumes = np.exp(logs) * np.where(regions == "Putamen", factor, 1.0)
    return pd.DataFrame({"subject": patients.astype(str), "region": regions, "native_volume_mm3": volumes})


def test_the_ratio_of_a_region_is_found_with_its_interval() -> None:
    rng = np.random.default_rng(0)
    found = volume_by_region(cohort(rng, 150, 3.0), REGIONS, rng, n_permutations=99)
    table = found.table.set_index("region")
    assert list(found.table.columns) == list(VOLUME_COLUMNS)
    assert table.loc["Putamen", "ratio_low"] < 3 < table.loc["Putamen", "ratio_high"]
    assert table.loc["Putamen", "holm_p_value"] < 1e-4
    assert found.kruskal.permutation_p_value == pytest.approx(0.01)
    assert table.loc["Pallidum", "n_lesions"] == 0
    assert table.loc["Pallidum", "reason"] == "fewer than 5 lesions"
    assert np.isnan(table.loc["Pallidum", "p_value"])


def test_a_region_of_single_lesions_is_compared_by_plain_means() -> None:
    table = pd.DataFrame(
        {
            "subject": [str(number) for number in range(20)],
            "region": ["Cortex"] * 10 + ["White"] * 10,
            "native_volume_mm3": np.r_[np.geomspace(1, 100, 10), np.geomspace(4, 400, 10)],
        }
    )
    found = volume_by_region(table, REGIONS[:2], np.random.default_rng(1), n_permutations=9).table
    assert found["ratio"].tolist() == pytest.approx([0.25, 4.0])


def test_without_an_effect_regions_differ_five_times_in_a_hundred() -> None:
    rng = np.random.default_rng(2)
    found = [
        volume_by_region(cohort(rng, 80), REGIONS, rng, n_permutations=19).table["p_value"][:3]
        for _ in range(100)
    ]
    assert 0.02 <= np.mean(np.array(found) <= 0.05) <= 0.09


@pytest.mark.parametrize("n_lesions", [0, 1, 2])
def test_hardly_any_lesions_give_reasons_and_no_p_value(n_lesions: int) -> None:
    rng = np.random.default_rng(3)
    found = volume_by_region(cohort(rng).head(n_lesions), REGIONS, rng, n_permutations=9)
    assert found.table["p_value"].isna().all()
    assert found.table["reason"].str.len().gt(0).all()
    assert found.kruskal.permutation_p_value is None


def test_a_region_that_one_patient_fills_has_a_reason_and_no_ratio() -> None:
    """The robust error of such a region is not defined: the fit failed on it, or gave noise."""
    rng = np.random.default_rng(5)
    subjects = np.r_[np.repeat(np.arange(15), 3), np.full(5, 99)].astype(str)
    regions = [*(["Cortex", "White", "White"] * 15), *["Putamen"] * 5]
    volumes = rng.lognormal(5.0, 1.0, len(subjects))
    table = pd.DataFrame({"subject": subjects, "region": regions, "native_volume_mm3": volumes})
    found = volume_by_region(table, REGIONS, rng, n_permutations=9).table.set_index("region")
    assert found.loc["Putamen", "reason"] == "lesions of fewer than 5 patients"
    assert np.isnan(found.loc["Putamen", "ratio"])
    assert found.loc[["Cortex", "White"], "p_value"].between(0, 1).all()


def test_few_patients_and_one_region_say_why_nothing_is_compared() -> None:
    rng = np.random.default_rng(4)
    few = volume_by_region(cohort(rng, 6), REGIONS, rng, n_permutations=9).table
    assert "fewer than 10 patients" in few["reason"].tolist()
    alone = cohort(rng)
    alone = volume_by_region(alone[alone["region"] == "Cortex"], REGIONS, rng, n_permutations=9).table
    assert alone["reason"].iloc[0] == "no other region to compare with"


def test_size_classes_add_up_to_all_lesions() -> None:
    lesions = pd.DataFrame({"region": ["White", None, "White"], "size_class": ["micro", "large", "large"]})
    table = size_class_table(lesions, REGIONS)
    assert list(table.columns) == list(SIZE_COLUMNS)
    assert table.set_index("region").loc["White"].tolist() == [1, 0, 0, 1, 2]
    assert table["n_lesions"].sum() == 3
    assert size_class_table(lesions.head(0), REGIONS)["n_lesions"].sum() == 0
