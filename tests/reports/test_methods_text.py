"""The methods paragraphs say what was done, and cite what they name."""

import re
from dataclasses import replace

import pytest
import torch

from bidsapp.lesions.off_structure import POLICIES
from bidsapp.registration.lesion_cells import FARTHEST_RING_MM, RING_MM
from bidsapp.registration.lesion_continuation import HEM_MM
from bidsapp.registration.lesion_levelling import RING_MM as LEVELLED_WITH_MM
from bidsapp.registration.losses.similarity import label_dissimilarity
from bidsapp.reports.methods_text import MethodsText, group_methods, participant_methods

NEEDED = {"version": "0.1", "atlas": "phantom"}


@pytest.mark.parametrize(
    "words",
    [
        "from the atlas and from the patient in turn",
        "square root of its volume",
        "harmonic continuation",
        "boxes of 5 voxels along each axis, lesions left out",
        "gradient and curvature of the velocity",
        "variance of the log Jacobian determinant",
        "cubic B-spline",
        "inverse was found by Newton steps",
    ],
)
def test_methods_name_every_part_of_the_objective_and_the_map(words):
    assert words in participant_methods(NEEDED, has_lesion=True).markdown


def test_methods_tell_the_figures_that_the_engine_computes_with():
    text = participant_methods(NEEDED, has_lesion=True).markdown
    volume = torch.tensor([1.0, 100.0, 400.0], dtype=torch.float64)
    found = volume * torch.tensor([0.0, 1.0, 1.0])
    loss = label_dissimilarity(found, volume, volume, volume > 0).item()
    root = volume.sqrt()
    besides = (loss * root.sum() - root[0]) / (root.mean() - loss * root.sum())
    assert f"plus {100 * besides:.0f} % of the mean" in text
    assert f"in the {HEM_MM:.0f} mm around" in text
    assert f"tissue within {RING_MM:.0f} to {FARTHEST_RING_MM:.0f} mm" in text


@pytest.mark.parametrize("masked", [True, False])
def test_methods_of_a_network_do_not_claim_that_lesions_move_as_what_touches_them(masked):
    spared = {"lesion_handling": "mask"} if masked else {"lesion_handling": "volume", "suspected_ml": 3.0}
    field, network = (
        participant_methods(NEEDED | spared | {"parameterisation": kind}, has_lesion=True).markdown
        for kind in ("field", "network")
    )
    assert "harmonic continuation" in field
    assert "harmonic continuation" not in network
    assert "growth" in network


def test_methods_claim_no_comparison_of_images_where_there_was_none():
    told, silent = (
        participant_methods(NEEDED | {"compares_images": flag}, has_lesion=True) for flag in (True, False)
    )
    assert "local correlation" in told.markdown
    assert "Avants" in told.markdown
    assert "correlation" not in silent.markdown
    assert "Avants" not in silent.markdown


def test_methods_of_a_scan_without_lesions_do_not_speak_of_leaving_them_out():
    text = participant_methods(NEEDED, has_lesion=False).markdown
    assert "left out" not in text
    assert "inside them" not in text.lower()


def test_methods_of_a_scan_whose_mask_did_not_steer_do_not_claim_that_lesions_were_left_out():
    text = participant_methods(NEEDED | {"lesion_handling": "volume"}, has_lesion=True).markdown
    assert "left out" not in text
    assert "Inside them" not in text
    assert "mask steered" not in text


@pytest.mark.parametrize(("objective", "is_tied"), [("overlap", True), ("paper", False)])
def test_methods_tell_how_much_was_taken_for_lesions_without_a_mask(objective, is_tied):
    told = NEEDED | {"objective": objective, "lesion_handling": "volume", "suspected_ml": 123.4}
    text = participant_methods(told, has_lesion=False).markdown
    assert "No lesion mask steered the alignment; bodies unlike their label, 123 ml together" in text
    assert ("tied their growth" in text) == is_tied
    none = participant_methods(told | {"suspected_ml": 0.0}, has_lesion=False).markdown
    assert "no body unlike its label was found" in none
    assert "taken for lesions" not in none


def test_methods_tell_that_lesions_were_levelled_only_of_results_that_say_so():
    sentence = f"its mean growth is that of the {LEVELLED_WITH_MM:g} mm of brain around it"
    told = NEEDED | {"levels_lesions": True}
    assert sentence in participant_methods(told, has_lesion=True).markdown
    assert sentence not in participant_methods(told, has_lesion=False).markdown
    assert sentence not in participant_methods(told | {"lesion_handling": "none"}, has_lesion=True).markdown
    assert sentence not in participant_methods(NEEDED, has_lesion=True).markdown
    assert sentence not in participant_methods(NEEDED | {"levels_lesions": False}, has_lesion=True).markdown


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
