"""The search for weights: what it begins with, what it remembers, and whom it does not look at."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmark import tuning
from bidsapp.settings import RegistrationSettings


@dataclass
class Scale:
    """Stands for aligning and scoring: the nearer the smoothness weight is to 0.04, the better."""

    seen: list[str]

    def __call__(self, case: str, settings: RegistrationSettings) -> dict[str, object]:
        self.seen.append(case)
        dice = 0.9 - abs(settings.smoothness_weight - 0.04)
        return {"scan": case, "dsc_mean": dice, "left_out_dsc_mean": dice, "inverse_error_mm_p99": 0.05}


@pytest.fixture
def scale(monkeypatch: pytest.MonkeyPatch) -> Scale:
    scale = Scale([])
    monkeypatch.setattr(tuning, "weigh", scale)
    monkeypatch.setattr(tuning, "load_case", lambda name: name)
    return scale


def test_no_scan_is_searched_on_and_judged_on() -> None:
    held_in, held_out = tuning.split([f"sub-{number}" for number in range(19)])
    assert not set(held_in) & set(held_out)
    assert len(held_in) + len(held_out) == 19


def test_the_study_begins_with_the_default_weights(scale: Scale, tmp_path: Path) -> None:
    study = tuning.search(["sub-a"], 1, tmp_path)
    assert study.trials[0].params == pytest.approx(tuning.weights_of(RegistrationSettings()))


def test_a_study_goes_on_where_it_was(scale: Scale, tmp_path: Path) -> None:
    tuning.search(["sub-a", "sub-b"], 2, tmp_path)
    study = tuning.search(["sub-a", "sub-b"], 3, tmp_path)
    assert len(study.trials) == 3
    assert scale.seen == ["sub-a", "sub-b"] * 3


def test_better_weights_are_found_and_judged_where_no_trial_looked(scale: Scale, tmp_path: Path) -> None:
    study = tuning.search(["sub-a"], 12, tmp_path)
    assert set(scale.seen) == {"sub-a"}
    found = tuning.conclude(study, ["sub-a"], ["sub-b"])
    assert set(scale.seen[12:]) == {"sub-b"}
    best, default = found["held_out"]["best_found"], found["held_out"]["default"]
    by_default = 0.9 - (0.04 - RegistrationSettings().smoothness_weight)
    assert best["dsc_mean"] > default["dsc_mean"] == pytest.approx(by_default)
    assert len(found["trials"]) == 12


def test_an_inverse_that_misses_by_more_than_a_tenth_of_a_millimetre_costs() -> None:
    rows = [
        {"dsc_mean": 0.9, "left_out_dsc_mean": 0.9, "inverse_error_mm_p99": miss} for miss in (0.05, 0.1, 0.3)
    ]
    assert [tuning.worth([row]) for row in rows] == pytest.approx([0.9, 0.9, 0.7])
