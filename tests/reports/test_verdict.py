"""A page that calls a bad alignment good is worse than no page."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bidsapp.geometry.space import Space
from bidsapp.images.volume import Volume
from bidsapp.reports.participant import participant_checks
from bidsapp.reports.verdict import THRESHOLDS, Check, lesion_checks, worst


def level_of(page, word: str) -> str:
    found = [check.level for check in participant_checks(page) if word in check.title]
    assert len(found) == 1, (word, found)
    return found[0]


def with_summary(page, **values):
    return replace(page, summary={**page.summary, **values})


def test_a_good_alignment_passes_every_check(participant_page):
    assert worst(participant_checks(participant_page)) == "pass"


@pytest.mark.parametrize(
    ("key", "value", "level"),
    [
        ("dice_mean", 0.80, "pass"),
        ("dice_mean", 0.799, "look"),
        ("dice_mean", 0.70, "look"),
        ("dice_mean", 0.699, "fail"),
        ("dice_gain", 0.05, "pass"),
        ("dice_gain", 0.0, "look"),
        ("dice_gain", -0.001, "fail"),
        ("dice_minimum", 0.19, "fail"),
        ("folded_fraction", 0.001, "pass"),
        ("folded_fraction", 0.0011, "look"),
        ("folded_fraction", 0.011, "fail"),
        ("volume_factor", 0.80, "pass"),
        ("volume_factor", 1.25, "pass"),
        ("volume_factor", 0.79, "look"),
        ("volume_factor", 1.26, "look"),
        ("volume_factor", 0.49, "fail"),
        ("volume_factor", 2.01, "fail"),
        ("inside_fraction", 0.89, "look"),
        ("inside_fraction", 0.49, "fail"),
    ],
)
def test_limits_belong_to_the_better_side(key, value, level):
    assert THRESHOLDS[key].judge(value) == level


@pytest.mark.parametrize("key", list(THRESHOLDS))
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_missing_asks_for_a_look(key, value):
    assert THRESHOLDS[key].judge(value) == "look"


def test_the_worst_check_decides():
    checks = [Check("pass", "a", ""), Check("fail", "b", ""), Check("look", "c", "")]
    assert worst(checks) == "fail"
    assert worst(checks[::2]) == "look"


def test_what_needs_attention_comes_first(participant_page):
    page = with_summary(participant_page, dice_mean=0.75, folded_fraction=0.5)
    assert [check.level for check in participant_checks(page)][:2] == ["fail", "look"]


def test_low_overlap_fails(participant_page):
    assert level_of(with_summary(participant_page, dice_mean=0.65, dice_affine_mean=0.5), "Overlap") == "fail"


def test_a_deformable_step_that_made_things_worse_fails(participant_page):
    assert level_of(with_summary(participant_page, dice_mean=0.85, dice_affine_mean=0.9), "Gain") == "fail"


def test_one_lost_structure_shows_behind_a_good_mean(participant_page):
    structures = participant_page.structures.copy()
    structures.loc[structures["name"] == "Left Thalamus", "dice"] = 0.05
    assert level_of(replace(participant_page, structures=structures), "Worst") == "fail"


def test_an_alignment_without_a_deformable_step_fails(participant_page):
    jacobian = participant_page.jacobian
    flat = Volume(np.ones_like(jacobian.data), jacobian.space)
    assert level_of(replace(participant_page, jacobian=flat), "Affine only") == "fail"


def test_a_patient_whose_left_lies_on_the_atlas_right_fails(participant_page):
    labels = participant_page.warped_labels.data
    swapped = np.where((labels > 0) & (labels < 31), labels + np.where(labels % 2 == 1, 1, -1), labels)
    page = replace(
        participant_page, warped_labels=Volume(swapped.astype(np.uint8), participant_page.template.space)
    )
    assert level_of(page, "swapped") == "fail"
    assert worst(participant_checks(page)) == "fail"


def test_an_affine_step_that_mirrors_the_patient_fails(participant_page):
    mirror = np.diag([-1.1, 1.0, 0.9, 1.0])
    assert level_of(replace(participant_page, affine=mirror), "Mirrored") == "fail"
    assert level_of(replace(participant_page, affine=np.abs(mirror)), "Not mirrored") == "pass"


def test_a_lesion_that_is_empty_after_mapping_fails(participant_page):
    lesions = participant_page.lesions.copy()
    lesions.loc[1, ["atlas_volume_mm3", "volume_factor"]] = 0.0
    page = replace(participant_page, lesions=lesions)
    assert level_of(page, "lost") == "fail"
    assert level_of(page, "Volume factor 1.00") == "pass"


def test_a_collapsed_lesion_fails_even_among_preserved_ones(participant_page):
    lesions = participant_page.lesions.copy()
    lesions.loc[1, "volume_factor"] = 0.3
    assert level_of(replace(participant_page, lesions=lesions), "Volume factor 0.30") == "fail"


def test_a_doubled_lesion_is_as_bad_as_a_halved_one(participant_page):
    lesions = participant_page.lesions.copy()
    lesions["volume_factor"] = [2.2, 0.6]
    assert level_of(replace(participant_page, lesions=lesions), "Volume factor 2.20") == "fail"


def test_a_mask_that_lies_outside_the_brain_fails(participant_page):
    space = participant_page.template.space
    elsewhere = np.zeros(space.shape, dtype=np.uint8)
    elsewhere[:3, :3, :3] = 1
    page = replace(participant_page, lesion_mask=Volume(elsewhere, space))
    assert level_of(page, "0 % of lesions in the brain") == "fail"


def test_a_lesion_that_bulges_into_a_sulcus_is_in_the_brain_and_one_beyond_it_is_not():
    space = Space((30, 5, 6), np.eye(4))
    labels, mask = np.zeros(space.shape, np.uint8), np.zeros(space.shape, np.uint16)
    labels[:10], mask[8:13] = 3, 1
    lesions = pd.DataFrame({"lesion": [1], "atlas_volume_mm3": [150.0], "volume_factor": [1.0]})
    near = lesion_checks(lesions, Volume(mask, space), Volume(labels, space))[-1]
    assert (near.level, near.title) == ("pass", "100 % of lesions in the brain")
    far = lesion_checks(lesions, Volume(np.roll(mask, 4, axis=0), space), Volume(labels, space))[-1]
    assert (far.level, far.title) == ("fail", "20 % of lesions in the brain")


def test_a_scan_without_mask_asks_for_a_look(participant_page):
    page = replace(participant_page, lesion_mask=None, affine_lesion_mask=None, lesions=pd.DataFrame())
    assert level_of(page, "No lesion mask") == "look"


def test_an_empty_mask_asks_for_a_look(participant_page):
    page = replace(participant_page, lesions=participant_page.lesions.head(0))
    assert level_of(page, "No lesion") == "look"


def test_warnings_and_missing_structures_ask_for_a_look(participant_page):
    page = with_summary(replace(participant_page, warnings=("odd",)), missing_structures="Left Vessel")
    assert level_of(page, "1 warning") == "look"
    assert level_of(page, "Structures missing") == "look"


def test_the_documentation_states_the_thresholds_of_the_code():
    text = (Path(__file__).resolve().parents[2] / "docs" / "reports.md").read_text(encoding="utf-8")
    for limit in THRESHOLDS.values():
        passes = f"{limit.pass_low:g} to {limit.pass_high:g}"
        row = f"| {limit.what} | {passes} | {limit.fail_low:g} to {limit.fail_high:g} | {limit.why} |"
        assert row in text, row
