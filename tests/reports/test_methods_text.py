"""The methods paragraphs say what was done, and cite what they name."""

import pytest

from bidsapp.reports.methods_text import participant_methods

NEEDED = {"version": "0.1", "atlas": "phantom"}


@pytest.mark.parametrize(
    "words",
    [
        "fourth root of its volume",
        "boxes of 5 voxels along each axis, lesions left out",
        "gradient and curvature of the velocity",
        "variance of the log Jacobian determinant",
        "cubic B-spline",
        "inverse was found by Newton steps",
    ],
)
def test_methods_name_every_part_of_the_objective_and_the_map(words):
    assert words in participant_methods(NEEDED, has_lesion=True).markdown


def test_methods_of_a_scan_without_lesions_do_not_speak_of_leaving_them_out():
    text = participant_methods(NEEDED, has_lesion=False).markdown
    assert "left out" not in text
    assert "collapsing" not in text


def test_methods_tell_weights_only_if_the_run_told_them():
    weights = {"smoothness_weight": 0.25, "curvature_weight": 0.5, "volume_weight": 0.75}
    assert "weight 0." not in participant_methods(NEEDED, has_lesion=True).markdown
    text = participant_methods(NEEDED | weights, has_lesion=True).markdown
    assert "The gradient had the weight 0.25." in text
    assert "The curvature had the weight 0.5 mm²." in text
    assert "The volume-preservation term had the weight 0.75." in text


def test_methods_of_the_papers_objective_claim_neither_overlap_nor_our_weights():
    text = participant_methods(
        NEEDED | {"objective": "paper", "smoothness_weight": 0.25}, has_lesion=True
    ).markdown
    assert "distance maps" in text
    assert "soft Dice" not in text
    assert "0.25" not in text
    assert "Avants" not in text


@pytest.mark.parametrize("objective", ["overlap", "paper"])
def test_methods_list_exactly_the_works_they_cite(objective):
    text = participant_methods(NEEDED | {"objective": objective}, has_lesion=True)
    paragraphs = " ".join(text.paragraphs)
    cited_by_sentence = {"wielenberg2026"}  # "the approach of Wielenberg et al. (2026)"
    for reference in text.references:
        assert reference.short in paragraphs or reference.key in cited_by_sentence
    assert text.bibtex.count("@") == len(text.references)
