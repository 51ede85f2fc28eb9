from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import benchmark.calibration as study
from benchmark.calibration import aggregate, main
from benchmark.calibration_page import draw_false_findings, write_tables
from benchmark.calibration_parts import SCENARIOS, enriched_shares, our_findings, paper_findings
from benchmark.simulation import Scenario, brain, draw_counts
from benchmark.summary import load_json
from bidsapp.statistics.clustered import clustered_table
from bidsapp.statistics.regions import region_table

N_COHORTS = 30


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the short version of the study."""
    folder = tmp_path_factory.mktemp("calibration")
    assert main(["--cohorts", str(N_COHORTS), "--results", str(folder)]) == 0
    return folder


def test_patients_kept_together_hold_the_level_where_the_paper_preset_does_not(results: Path) -> None:
    parts = load_json(results / "calibration.json")["parts"]
    nulls = {name: part for name, part in parts.items() if name.startswith("null_")}
    assert len(nulls) == len(SCENARIOS) >= 6
    assert sum(part["ours"] for part in nulls.values()) * N_COHORTS <= 6
    assert parts["null_miliary_icc40"]["paper"] > 0.3
    assert parts["null_icc40"]["paper"] > parts["null_independent"]["paper"]
    assert parts["null_icc40"]["design_effect_min"] > 1.4


def test_what_is_enriched_is_found_and_the_intervals_hold_it(results: Path) -> None:
    result = load_json(results / "calibration.json")
    part = result["parts"]["coverage_independent"]
    assert min(part["found"].values()) > 0.7
    assert part["any_other_found"] <= 2 / N_COHORTS
    assert 0.8 <= result["coverage_min"] <= result["coverage_max"] <= 1


def test_what_is_done_is_not_measured_again(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path: path.read_bytes() for path in (results / "calibration").iterdir()}
    monkeypatch.setattr(study.Part, "run", lambda *_: pytest.fail("measured again"))
    assert main(["--cohorts", str(N_COHORTS), "--results", str(results)]) == 0
    assert {path: path.read_bytes() for path in (results / "calibration").iterdir()} == before


def test_the_study_is_shown_as_figure_and_tables(results: Path) -> None:
    result = load_json(results / "calibration.json")
    table = write_tables(result)
    assert table.count("ICC 0.4 |") >= 1
    assert "nan" not in table
    (axes,) = draw_false_findings(result).axes
    assert len(axes.get_yticklabels()) == len(SCENARIOS)


def test_the_worst_scenario_is_published() -> None:
    parts = {
        "null_a": {"ours": 0.001, "paper": 0.2},
        "null_b": {"ours": 0.004, "paper": 0.1},
        "coverage_a": {"coverage": {"A": 0.95, "B": 0.93}, "n_cohorts": 9},
        "distances_independent": {"kept_together": 0.05, "n_cohorts": 9},
    }
    found = aggregate(parts)
    assert (found["fwer_ours_max"], found["fwer_paper_max"]) == (0.004, 0.2)
    assert (found["coverage_min"], found["coverage_max"]) == (0.93, 0.95)


def test_both_presets_are_those_of_the_tables() -> None:
    places = brain()
    counts = draw_counts(np.random.default_rng(5), SCENARIOS[4], 4)
    fractions = pd.Series(places.shares, index=list(places.names))
    ours_all = our_findings(counts, places.shares)
    paper_all = paper_findings(counts.sum(axis=1), places.shares)
    for cohort, ours, paper in zip(counts, ours_all, paper_all, strict=True):
        frame = pd.DataFrame(cohort, columns=list(places.names))
        assert clustered_table(frame, fractions)["clustered_significant"].tolist() == ours.tolist()
        assert region_table(frame.sum(), fractions)["significant"].tolist() == paper.tolist()


@pytest.mark.parametrize("scenario", [SCENARIOS[0], SCENARIOS[4], SCENARIOS[7]], ids=lambda each: each.name)
def test_no_scenario_prefers_a_region(scenario: Scenario) -> None:
    counts = draw_counts(np.random.default_rng(6), scenario, 150)
    assert (counts.sum(axis=(1, 2)) == scenario.n_lesions).all()
    shares = counts.sum(axis=(0, 1)) / counts.sum()
    np.testing.assert_allclose(shares, brain().shares, atol=0.012)


def test_enrichment_is_taken_from_the_white_matter_alone() -> None:
    ratios = dict(zip(brain().names, enriched_shares() / brain().shares, strict=True))
    assert enriched_shares().sum() == pytest.approx(1)
    assert ratios.pop("Cerebral Cortex") == pytest.approx(1.38)
    assert ratios.pop("Putamen") == pytest.approx(4)
    assert ratios.pop("Cerebral White Matter") < 0.7
    np.testing.assert_allclose(list(ratios.values()), 1)
