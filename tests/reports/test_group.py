from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bidsapp.errors import DataError, ShapeError
from bidsapp.geometry.space import Space
from bidsapp.images.volume import Volume
from bidsapp.reports.cohort_tables import lesion_links, lesion_table, region_rows
from bidsapp.reports.cohort_words import (
    both_verdicts,
    caveats,
    hemisphere_sentence,
    omnibus_sentence,
    summary_sentence,
)
from bidsapp.reports.group import LARGEST_PAGE_BYTES, excluded_by_reason, write_group_report
from bidsapp.statistics.clustered import FEW_PATIENTS
from bidsapp.statistics.hemispheres import HemisphereTest
from bidsapp.statistics.regions import ChiSquareTest

HOSTILE = "<script>alert('x')</script><img src=x onerror=alert(1)>{{ 7 * 7 }}$\\frac中心"


@pytest.fixture(scope="module")
def html(group_page, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "group.html"
    write_group_report(group_page, path)
    return path.read_text(encoding="utf-8")


def regions(**columns):
    """Three regions: one more, one fewer, one as expected."""
    frame = pd.DataFrame(
        {
            "region": ["A", "B", "C"],
            "n_observed": [30, 5, 10],
            "n_expected": [15.0, 20.0, 10.0],
            "ratio": [2.0, 0.25, 1.0],
            "significant": [True, True, False],
            "clustered_significant": [True, False, False],
            "clustered_p_value": [0.0001, 0.2, 0.9],
            "tested": [True, True, False],
        }
    )
    return frame.assign(**columns)


def test_the_page_asks_nothing_of_the_network(html, parse):
    page = parse(html)
    for tag, attributes in page.elements:
        assert tag not in ("link", "iframe", "object", "embed", "base"), tag
        assert (attributes.get("src") or "data:").startswith("data:")
        assert "://" not in (attributes.get("href") or "")
    assert all(image["alt"] for image in page.named("img"))
    assert len(html) < LARGEST_PAGE_BYTES


def test_patients_used_are_linked_to_their_pages_and_excluded_ones_are_not(html, parse):
    links = [link["href"] for link in parse(html).named("a")]
    assert "sub-00.html" in links
    assert "sub-99.html" not in links
    assert "1: no lesion mask (sub-99)" in parse(html).text


def test_the_flow_of_the_cohort_adds_up(html, parse, group_page):
    words = parse(html).text
    n_lesions = len(group_page.lesions)
    assert f"31 patients found 30 used 1 excluded 30 with lesions 0 without {n_lesions} lesions" in words
    assert f"{n_lesions} in regions 0 outside all structures" in words


def test_patients_excluded_for_one_reason_stand_together():
    patients = pd.DataFrame(
        {
            "participant": ["sub-1", "sub-2", "sub-3", "sub-4"],
            "status": ["excluded", "excluded", "used", "excluded"],
            "reason": ["it failed (see sub-1/log)", "it failed (see sub-2/log)", None, None],
        }
    )
    together = [("it failed (see sub-…/log)", ["sub-1", "sub-2"]), ("no reason given", ["sub-4"])]
    assert excluded_by_reason(patients) == together


def test_both_verdicts_stand_side_by_side_the_leading_one_first():
    clustered, paper = both_verdicts(regions(), "clustered")
    assert clustered.more == "A (30 measured, 15.0 expected, ratio 2.00)"
    assert clustered.fewer == ""
    assert paper.fewer == "B (5 measured, 20.0 expected, ratio 0.25)"
    assert [each.name for each in both_verdicts(regions(), "paper")] == [paper.name, clustered.name]


def test_tables_lead_to_their_files(group_page, tmp_path, parse):
    write_group_report(replace(group_page, tables={"combined": "regions_combined"}), tmp_path / "group.html")
    links = [link["href"] for link in parse((tmp_path / "group.html").read_text(encoding="utf-8")).named("a")]
    assert {"group/lesions.tsv", "group/patients.tsv", "group/regions_combined.tsv"} <= set(links)


def test_a_page_of_5000_patients_and_25000_lesions_is_small_enough(group_page, tmp_path):
    lesions = pd.concat([group_page.lesions] * (25_000 // len(group_page.lesions) + 1), ignore_index=True)
    names = [f"sub-{number:05d}" for number in range(5_000)]
    patients = pd.DataFrame({"participant": names, "status": "used", "reason": "", "n_lesions": 5})
    patients = patients.assign(site="North", report=[f"{name}_ses-01_ce-gadolinium.html" for name in names])
    owners = [f"{number % 5_000:05d}" for number in range(len(lesions))]
    page = replace(group_page, lesions=lesions.assign(subject=owners), patients=patients)
    write_group_report(page, tmp_path / "group.html")
    assert (tmp_path / "group.html").stat().st_size < 0.7 * LARGEST_PAGE_BYTES


def test_each_lesion_leads_to_its_place_on_the_page_of_its_patient(group_page, html, parse):
    page = parse(html)
    links = {link["href"] for link in page.named("a")}
    owners = group_page.lesions["subject"].astype(str)
    assert {f"sub-{owner}.html#lesion-1" for owner in owners} <= links
    assert sum("#lesion-" in str(link) for link in links) == len(owners)


def test_lesions_of_a_session_without_a_page_and_of_patients_without_one_have_no_link():
    patients = pd.DataFrame(
        {
            "participant": ["sub-1", "sub-2", "sub-3"],
            "session": ["a, b", None, None],
            "report": ["sub-1_ses-a.html", None, "sub 3#.html"],
        }
    )
    lesions = pd.DataFrame(
        {"subject": ["1", "1", "2", "3"], "session": ["a", "b", None, np.nan], "lesion": [1, 1, 1, 4]}
    )
    assert lesion_links(lesions, patients) == [
        "sub-1_ses-a.html#lesion-1",
        "",
        "",
        "sub%203%23.html#lesion-4",
    ]


def test_large_tables_are_cut_and_the_page_says_so(group_page, tmp_path, parse, monkeypatch):
    monkeypatch.setattr("bidsapp.reports.cohort_tables.MOST_ROWS", 5)
    monkeypatch.setattr("bidsapp.reports.group.MOST_ROWS", 5)
    largest = group_page.lesions.sort_values("native_volume_mm3").tail(5)
    shown = lesion_table(group_page.lesions, group_page.patients)
    assert [row[0].text for row in shown.rows] == [f"sub-{name}" for name in largest["subject"][::-1]]
    write_group_report(group_page, tmp_path / "group.html")
    words = parse((tmp_path / "group.html").read_text(encoding="utf-8")).text
    assert f"the 5 largest of {len(group_page.lesions)}" in words


def test_a_missing_p_value_comes_with_its_reason(html, parse):
    text = parse(html).text
    assert "nan" not in text.lower().split()
    assert "n/a (no lesion expected: the region has no volume)" in text
    assert "n/a (fewer than 10 lesions)" in text


def test_both_analyses_stand_side_by_side(html, parse):
    text = parse(html).text
    assert "p, paper preset" in text
    assert "p, patients kept together" in text
    assert "Do the centres agree?" in text


def test_hostile_words_stay_words(group_page, tmp_path, parse):
    patients = group_page.patients.assign(site=HOSTILE, participant=HOSTILE)
    patients["report"] = "javascript:alert(1)"
    patients.loc[30, "reason"] = HOSTILE
    lesions = group_page.lesions.assign(site=HOSTILE, region=HOSTILE, hemisphere=HOSTILE, session=HOSTILE)
    strata = dict(zip(("combined", HOSTILE), list(group_page.regions.values())[:2], strict=True))
    page = replace(
        group_page,
        title=HOSTILE,
        patients=patients,
        lesions=lesions,
        regions=strata,
        warnings=(HOSTILE,),
        methods={"version": HOSTILE, "atlas": HOSTILE},
        provenance={HOSTILE: HOSTILE},
    )
    write_group_report(page, tmp_path / "group.html")
    seen = parse((tmp_path / "group.html").read_text(encoding="utf-8"))
    assert seen.named("script") == [{"type": "application/json", "id": "scene"}, {}]
    assert all("onerror" not in attributes for _, attributes in seen.elements)
    assert not any((link["href"] or "").startswith("javascript:") for link in seen.named("a"))
    assert seen.text.count("<script>alert('x')</script>") >= 6


def test_a_cohort_without_lesions_or_map_has_a_page(group_page, tmp_path, parse):
    none = group_page.regions["combined"].assign(
        n_observed=0, ratio=np.nan, significant=False, clustered_significant=False, tested=False
    )
    page = replace(
        group_page,
        lesions=group_page.lesions.head(0),
        regions={"combined": none},
        frequency=None,
        heterogeneity=None,
    )
    write_group_report(page, tmp_path / "group.html")
    assert "There is nothing to test" in parse((tmp_path / "group.html").read_text(encoding="utf-8")).text


def test_virtual_data_are_marked(group_page, html, tmp_path, parse):
    write_group_report(replace(group_page, virtual=True), tmp_path / "group.html")
    assert "Virtual data" in parse((tmp_path / "group.html").read_text(encoding="utf-8")).text[:200]
    assert "Virtual data" not in parse(html).text


def test_the_summary_names_only_what_survives_the_clustering():
    text = summary_sentence(12, 45, regions())
    assert "12 patients with 45 lesions" in text
    assert "more often than volume explains in A (30 measured, 15.0 expected, ratio 2.00)" in text
    assert "B" not in text


def test_the_summary_says_when_nothing_was_found():
    assert "In no region" in summary_sentence(3, 9, regions(clustered_significant=False))


@pytest.mark.parametrize(
    ("preset", "columns"),
    [
        ("clustered", {"clustered_significant": False, "clustered_p_value": np.nan}),
        ("paper", {"significant": False, "tested": False}),
    ],
)
def test_what_was_not_tested_is_not_called_no_difference(preset, columns):
    text = summary_sentence(1, 30, regions(**columns), preset=preset)
    assert "Nothing could be tested" in text
    assert "In no region" not in text


def test_findings_of_the_paper_preset_alone_become_a_caveat():
    found = caveats(FEW_PATIENTS, 45, regions())
    assert any("independent: B." in sentence for sentence in found)
    assert not any("only very strong" in sentence for sentence in found)


def test_few_patients_and_lesions_outside_become_caveats():
    found = caveats(4, 47, regions())
    assert any("With 4 patients only very strong" in sentence for sentence in found)
    assert any(sentence.startswith("2 lesions with the centre outside") for sentence in found)


def test_tests_that_were_not_done_say_why():
    assert "not tested (too few)" in omnibus_sentence(ChiSquareTest(None, None, None, (), "too few"))
    assert "not tested (no lesions)" in hemisphere_sentence(HemisphereTest(0, 0, 0.5, None, "no lesions"))
    both = HemisphereTest(8, 2, 0.5, 0.11, clustered_p_value=0.34)
    assert "p = 0.34 with the lesions of each patient kept together" in hemisphere_sentence(both)
    assert "p < 0.0001" in omnibus_sentence(ChiSquareTest(88.0, 3, 1e-12, ("A", "B")))
    assert "3 degrees of freedom" in omnibus_sentence(ChiSquareTest(88.0, 3, 1e-12, ("A", "B")))
    assert "1 degree of freedom" in omnibus_sentence(ChiSquareTest(4.0, 1, 0.046, ("A", "B")))


def test_an_untested_region_shows_no_p_value_even_if_there_is_one(group_page):
    whole = group_page.regions["combined"].assign(tested=False, reason="fewer than 10 lesions")
    rows, _ = region_rows(whole.assign(bonferroni_p_value=0.004))
    assert all(row[6].text.startswith("n/a (") for row in rows.rows)


def test_a_table_without_its_columns_is_refused(group_page):
    with pytest.raises(DataError, match="patients must have the columns reason"):
        replace(group_page, patients=group_page.patients.drop(columns="reason"))
    with pytest.raises(DataError, match="regions of all must have the columns"):
        replace(group_page, regions={"all": pd.DataFrame({"region": []})})
    with pytest.raises(DataError, match="at least one stratum"):
        replace(group_page, regions={})


def test_a_map_on_another_grid_is_refused(group_page):
    stray = Volume(np.zeros((4, 5, 6)), Space((4, 5, 6), np.eye(4)))
    with pytest.raises(ShapeError, match="frequency must lie on the template's grid"):
        replace(group_page, frequency=stray)
