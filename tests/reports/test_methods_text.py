"""The methods paragraphs say what was done, and cite what they name."""

import re
from dataclasses import replace

import pytest

from bidsapp.lesions.off_structure import POLICIES
from bidsapp.reports.methods_text import MethodsText, group_methods, participant_methods

NEEDED = {"version": "0.1", "atlas": "phantom"}


@pytest.mark.parametrize(
    "words",
    [
        "square root of its volume",
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


def test_methods_of_a_scan_whose_mask_did_not_steer_do_not_claim_that_lesions_were_left_out():
    text = participant_methods(NEEDED | {"lesion_handling": "volume"}, has_lesion=True).markdown
    assert "left out" not in text
    assert "mask steered" not in text


@pytest.mark.parametrize(("objective", "is_tied"), [("overlap", True), ("paper", False)])
def test_methods_tell_how_much_was_taken_for_lesions_without_a_mask(objective, is_tied):
    told = NEEDED | {"objective": objective, "lesion_handling": "volume", "suspected_ml": 123.4}
    text = participant_methods(told, has_lesion=False).markdown
    assert "No lesion mask steered the alignment; bodies unlike their label, 123 ml together" in text
    assert ("made to grow as the tissue around them" in text) == is_tied
    none = participant_methods(told | {"suspected_ml": 0.0}, has_lesion=False).markdown
    assert "no body unlike its label was found" in none
    assert "taken for lesions" not in none


@pytest.mark.parametrize("handling", ["mask", "none"])
def test_methods_speak_of_suspicion_only_if_there_was_any(handling):
    told = NEEDED | {"lesion_handling": handling, "suspected_ml": 0.0}
    assert "mask steered" not in participant_methods(told, has_lesion=True).markdown


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


def test_the_latex_text_cites_by_key_and_escapes_what_latex_reads():
    text = participant_methods(
        {"version": "0_1 & 50%", "atlas": "a{b}\\c", "device": "<cuda>"}, has_lesion=True
    )
    assert "\\citep{fonov2011}" in text.latex
    assert "\\citet{wielenberg2026}" in text.latex
    assert "et al., 2" not in text.latex
    assert r"0\_1 \& 50\%" in text.latex
    assert r"a\{b\}\textbackslash{}c" in text.latex
    assert r"\textless{}cuda\textgreater{}" in text.latex
    keys = set(re.findall(r"\\cite[pt]\{([^}]*)\}", text.latex))
    listed = {reference.key for reference in text.references}
    assert {key for each in keys for key in each.split(",")} <= listed


def test_several_works_in_one_bracket_become_one_citation():
    text = replace(
        participant_methods(NEEDED, has_lesion=True),
        paragraphs=("As in (Unser, 1999; Arsigny et al., 2006).",),
    )
    assert text.latex == "As in \\citep{unser1999,arsigny2006}.\n"


def test_the_html_text_is_escaped_and_lists_its_references():
    text = participant_methods({"version": "<b>", "atlas": "A & B"}, has_lesion=False)
    assert "MetsAtlas &lt;b&gt;" in text.html
    assert "A &amp; B" in text.html
    assert text.html.count("<li>") == len(text.references)


def formats(text: MethodsText) -> list[str]:
    return [text.markdown, text.html, text.latex]


@pytest.mark.parametrize(
    ("policy", "sentence"),
    [
        ("exclude", "holds its centre of gravity; those with the centre outside all structures took no part"),
        ("nearest", "with the centre outside all structures, to the nearest structure within 3 mm"),
        ("overlap", "belongs to the structure that holds the largest share of it"),
    ],
)
def test_methods_of_the_group_say_by_which_rule_a_lesion_belongs_to_a_structure(policy, sentence):
    for text in formats(group_methods(NEEDED | {"off_structure": policy})):
        assert sentence in text
        assert ("centre of gravity" in text) == (policy != "overlap")


def test_methods_of_the_group_know_every_rule():
    for policy in POLICIES:
        assert group_methods(NEEDED | {"off_structure": policy}).paragraphs


def test_methods_of_the_group_claim_the_alignment_only_if_it_was_ours():
    for text in formats(group_methods(NEEDED)):
        assert "were carried to the atlas phantom" in text
        assert "already" not in text
    for text in formats(group_methods(NEEDED | {"lesions_in_atlas_space": True})):
        assert "lesion masks lay in the atlas phantom" in text
        assert "counted there with MetsAtlas 0.1" in text
        assert "carried" not in text


def test_methods_of_the_group_speak_of_the_frequency_map_only_if_there_is_one():
    assert "frequency map" in group_methods(NEEDED).markdown
    assert "frequency map" not in group_methods(NEEDED | {"maps": False}).markdown
