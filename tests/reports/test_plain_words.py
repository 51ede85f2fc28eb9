from dataclasses import replace

import numpy as np
import pandas as pd

from bidsapp.reports.plain_words import (
    agreement_sentence,
    distance_sentence,
    further_findings,
    model_sentence,
    side_sentence,
    single_patient_caveat,
    territory_sentence,
)
from bidsapp.statistics.hemispheres import HemisphereTest
from bidsapp.statistics.heterogeneity import heterogeneity_test
from bidsapp.statistics.point_process import AdjustedModel


def test_sides_are_told_by_patients_where_that_was_tested():
    assert "do not differ beyond chance" in side_sentence(
        HemisphereTest(30, 10, 0.5, 0.001, clustered_p_value=0.2)
    )
    assert side_sentence(HemisphereTest(30, 10, 0.5, 0.002)).startswith("Left and right differ beyond chance")
    assert side_sentence(HemisphereTest(0, 0, 0.5, None, "no lesions")) == ""


def test_distances_are_told_against_both_kinds_of_chance():
    table = pd.DataFrame(
        {
            "null": ["uniform", "region", "size"],
            "mean_distance_mm": [8.9] * 3,
            "expected_distance_mm": [3.07, 8.69, 2.2],
            "mean_p_value": [0.002, 0.82, 0.002],
        }
    )
    assert distance_sentence("junction", table) == (
        "Mean signed distance to the border of cortex and white matter: 8.9 mm, against 3.1 mm by chance "
        "anywhere in the brain (p = 0.002) and 8.7 mm by chance within each lesion's own region (p = 0.82)."
    )
    assert distance_sentence("pial", table.assign(mean_p_value=np.nan)) == ""


def test_territories_follow_the_leading_preset():
    table = pd.DataFrame(
        {
            "region": ["PCA left", "MCA left"],
            "ratio": [2.5, 0.6],
            "significant": [True, True],
            "clustered_significant": [True, False],
            "clustered_p_value": [0.001, 0.2],
            "tested": [True, True],
        }
    )
    assert territory_sentence(table, "clustered").endswith("share: PCA left (ratio 2.50).")
    assert territory_sentence(table, "paper").endswith("PCA left (ratio 2.50) and MCA left (ratio 0.60).")
    none = table.assign(clustered_significant=False)
    assert territory_sentence(none, "clustered").startswith("No arterial territory differs")
    untested = none.assign(clustered_p_value=np.nan)
    assert territory_sentence(untested, "clustered") == "No arterial territory could be tested."


def test_only_explanations_that_survive_holm_are_named():
    table = pd.DataFrame(
        {
            "term": ["tissue", "junction_distance_mm"],
            "compared": ["white against grey", "at it against far"],
            "rate_ratio": [2.0, 1.1],
            "holm_p_value": [0.01, 0.4],
        }
    )
    model = AdjustedModel(table, 60, 30, 5000)
    assert model_sentence(model) == (
        "With all explanations taken together, these remain: tissue: white against grey (rate ratio 2.00)."
    )
    assert "none remains" in model_sentence(replace(model, table=table.assign(holm_p_value=np.nan)))
    assert model_sentence(replace(model, caution="with 4.0 effective patients")) == ""


def test_centres_that_disagree_are_to_be_read_one_by_one():
    counts = pd.DataFrame(
        {"A": [6] * 10 + [0] * 10, "B": [0] * 10 + [6] * 10}, index=[f"sub-{n}" for n in range(20)]
    )
    sites = pd.Series(["North"] * 10 + ["South"] * 10, index=counts.index)
    assert "read them one by one" in agreement_sentence(heterogeneity_test(counts, sites, n_permutations=99))
    mixed = pd.Series(["North", "South"] * 10, index=counts.index)
    assert agreement_sentence(heterogeneity_test(counts, mixed, n_permutations=19)).startswith(
        "Nothing shows"
    )
    assert agreement_sentence(None) == ""


def test_without_further_analyses_nothing_is_claimed():
    assert further_findings(None, "clustered") == []
    assert single_patient_caveat(None) == []
