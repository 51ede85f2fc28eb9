import re
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bidsapp.atlas.builtin import load_builtin
from bidsapp.errors import ShapeError
from bidsapp.geometry.space import Space
from bidsapp.images.volume import Volume
from bidsapp.reports.participant import LARGEST_PAGE_BYTES, write_participant_report
from bidsapp.reports.participant_pictures import close_ups

HOSTILE = (
    "<script>alert('x')</script><img src=https://x.invalid/a.png onerror=alert(1)>{{ 7 * 7 }}&amp;\"$\\frac"
)


@pytest.fixture(scope="module")
def html(participant_page, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "sub-01.html"
    write_participant_report(participant_page, path)
    return path.read_text(encoding="utf-8")


def test_the_page_asks_nothing_of_the_network(html, parse):
    page = parse(html)
    for tag, attributes in page.elements:
        assert tag not in ("link", "iframe", "object", "embed", "base"), tag
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            target = attributes.get(name)
            assert target is None or target.startswith(("#", "data:image/")), (tag, name, target)
    assert all("src" not in attributes for attributes in page.named("script"))
    styles = re.findall(r"<style>(.*?)</style>", html, flags=re.DOTALL)
    assert styles
    assert not any("url(" in style or "@import" in style for style in styles)


def test_every_picture_is_inside_the_page_and_has_words(html, parse):
    images = parse(html).named("img")
    assert len(images) >= 9
    for image in images:
        assert image["src"].startswith("data:image/")
        assert len(image["alt"]) > 20
        assert int(image["width"]) > 0
        assert int(image["height"]) > 0


def test_every_brain_picture_states_left_and_right(html, parse):
    brains = [image for image in parse(html).named("img") if image["src"].startswith("data:image/jpeg")]
    assert len(brains) >= 7
    assert all("patient's left (L) is on the left" in image["alt"] for image in brains)


def test_the_page_says_its_language_and_its_letters(html, parse):
    page = parse(html)
    assert page.named("html")[0]["lang"] == "en"
    assert {"charset": "utf-8"} in page.named("meta")
    assert "@media print" in html


def test_links_within_the_page_lead_somewhere(html, parse):
    page = parse(html)
    places = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(places) == len(set(places))
    assert {link["href"].removeprefix("#") for link in page.named("a")} <= set(places)


def test_the_lesion_mask_and_its_volumes_are_shown(html, parse):
    text = parse(html).text
    assert "derivatives/masks/sub-01/anat/sub-01_label-lesion_mask.nii.gz" in text
    assert "volume factor 0.90" in text
    assert "atlas / native 1.10" in text


def test_hostile_words_stay_words(participant_page, tmp_path, parse):
    lesions = participant_page.lesions.assign(region_centroid=HOSTILE)
    structures = participant_page.structures.assign(name=HOSTILE)
    page = replace(
        participant_page,
        title=HOSTILE,
        inputs=((HOSTILE, HOSTILE, HOSTILE),),
        lesions=lesions,
        structures=structures,
        warnings=(HOSTILE,),
        methods={"version": HOSTILE, "atlas": HOSTILE, "device": HOSTILE},
        provenance={HOSTILE: HOSTILE},
        convergence=participant_page.convergence.rename(columns={"similarity": HOSTILE}),
    )
    write_participant_report(page, tmp_path / "page.html")
    seen = parse((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert len(seen.named("script")) == 1
    assert all("onerror" not in attributes for _, attributes in seen.elements)
    assert seen.text.count("<script>alert('x')</script>") >= 8
    assert "{{ 7 * 7 }}" in seen.text


def test_virtual_data_are_marked_at_the_top(participant_page, html, tmp_path, parse):
    write_participant_report(replace(participant_page, virtual=True), tmp_path / "page.html")
    marked = parse((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert "Virtual data" in marked.text[:200]
    assert "Virtual data" not in parse(html).text


def test_a_scan_without_mask_convergence_or_displacement_has_a_page(participant_page, tmp_path, parse):
    page = replace(
        participant_page,
        lesion_mask=None,
        affine_lesion_mask=None,
        native_lesion_mask=None,
        lesions=participant_page.lesions.head(0),
        convergence=pd.DataFrame({"iteration": [], "level": []}),
        displacement_mm=None,
    )
    write_participant_report(page, tmp_path / "page.html")
    text = parse((tmp_path / "page.html").read_text(encoding="utf-8")).text
    assert "There was no lesion mask" in text
    assert "volume-preservation" not in text


def test_a_lost_lesion_is_flagged_at_its_picture(participant_page, tmp_path):
    lesions = participant_page.lesions.copy()
    lesions.loc[1, ["atlas_volume_mm3", "volume_factor"]] = 0.0
    write_participant_report(replace(participant_page, lesions=lesions), tmp_path / "page.html")
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert re.search(r"<b>Lesion 2</b> <span class=\"badge fail\">", html)
    assert re.search(r"<b>Lesion 1</b> <span class=\"badge pass\">", html)
    assert "Do not use this alignment" in html


def many_lesions(page, count):
    rows = pd.concat([page.lesions.tail(1)] * count, ignore_index=True)
    return replace(page, lesions=rows.assign(lesion=np.arange(1, count + 1)))


def test_every_lesion_has_a_close_up_and_an_address(participant_page, tmp_path, parse):
    write_participant_report(many_lesions(participant_page, 16), tmp_path / "page.html")
    seen = parse((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert sum("close-up" in image["alt"] for image in seen.named("img")) == 16
    assert [each["id"] for each in seen.named("figure") if "id" in each] == [
        f"lesion-{number}" for number in range(1, 17)
    ]


def test_close_ups_stop_where_the_page_would_grow_too_large(participant_page, tmp_path, parse, monkeypatch):
    page = many_lesions(participant_page, 6)
    one = len(close_ups(many_lesions(participant_page, 1), 10**9)[0].picture.source)
    assert len(close_ups(page, int(3.5 * one))) == 3
    monkeypatch.setattr(
        "bidsapp.reports.participant.close_ups", lambda page, _: close_ups(page, int(3.5 * one))
    )
    write_participant_report(page, tmp_path / "page.html")
    seen = parse((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert "3 smaller lesions more" in seen.text
    places = [attributes["id"] for _, attributes in seen.elements if "id" in attributes]
    assert len(places) == len(set(places))
    assert {f"lesion-{number}" for number in range(1, 7)} <= set(places)
    assert [row["id"] for row in seen.named("tr") if "id" in row] == ["lesion-4", "lesion-5", "lesion-6"]


@pytest.mark.parametrize("name", ["warped", "affine_labels", "lesion_mask"])
def test_volumes_of_another_grid_are_refused(participant_page, name):
    stray = Volume(np.zeros((4, 5, 6), dtype=np.uint8), Space((4, 5, 6), np.eye(4)))
    with pytest.raises(ShapeError, match=f"{name} must lie on the template's grid"):
        replace(participant_page, **{name: stray})


def test_a_page_at_full_resolution_is_small_and_fast(participant_page, tmp_path):
    atlas = load_builtin()
    template = Volume(atlas.template.data.astype(np.float32), atlas.template.space)
    rng = np.random.default_rng(0)
    noisy = Volume(template.data + rng.normal(0, 12, template.data.shape).astype(np.float32), template.space)
    centre = np.array([-36.0, -10.0, 24.0])
    mask = (
        np.linalg.norm(template.space.voxel_centres_mm() - centre, axis=1).reshape(template.data.shape) < 12
    )
    lesions = many_lesions(participant_page, 60).lesions
    lesion_mask = Volume(mask, template.space)
    page = replace(
        participant_page,
        virtual=True,
        template=template,
        warped=noisy,
        warped_affine=noisy,
        t1w=noisy,
        fixed_labels=atlas.labels,
        warped_labels=atlas.labels,
        affine_labels=atlas.labels,
        lesion_mask=lesion_mask,
        affine_lesion_mask=lesion_mask,
        native_lesion_mask=lesion_mask,
        native_labels=atlas.labels,
        lesions=lesions,
    )
    start = time.process_time()
    write_participant_report(page, tmp_path / "page.html")
    assert time.process_time() - start < 20
    assert (tmp_path / "page.html").stat().st_size < LARGEST_PAGE_BYTES
