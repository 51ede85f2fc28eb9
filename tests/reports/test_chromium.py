"""The pages in a real browser, from disk: no console error, tables sort, pictures flicker, paper is sane."""

import json
import re
from importlib.resources import files

import pytest
from matplotlib.image import imread

from bidsapp.reports.group import write_group_report
from bidsapp.reports.participant import write_participant_report
from tests.reports.browser import CHROMIUM, answer, browse, console, with_script

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")


@pytest.fixture(scope="module")
def pages(participant_page, group_page, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    paths = (folder / "sub-01.html", folder / "group.html")
    write_participant_report(participant_page, paths[0])
    write_group_report(group_page, paths[1])
    return paths


def test_the_console_is_heard(pages):
    assert console(browse(with_script(pages[0], "console.error('heard')"), "--dump-dom"))


@pytest.mark.parametrize("width", [400, 1400])
def test_pages_are_drawn_without_a_console_message(pages, tmp_path, width):
    for page in pages:
        picture = tmp_path / f"{page.stem}-{width}.png"
        result = browse(page, f"--window-size={width},1600", f"--screenshot={picture}")
        assert console(result) == []
        assert imread(picture).std() > 0.05


def test_no_page_is_wider_than_a_phone(pages):
    script = (
        "document.title = document.documentElement.scrollWidth + '/' + document.documentElement.clientWidth"
    )
    for page in pages:
        shown = browse(with_script(page, script), "--window-size=500,900", "--dump-dom").stdout
        needed, given = (int(size) for size in re.search(r"<title>(\d+)/(\d+)</title>", shown).groups())
        assert needed <= given


def test_tables_sort_by_number_with_missing_values_last(pages):
    script = """
    var table = document.querySelector("#regions table"), head = table.querySelectorAll("th button");
    function column(at) {
      return Array.from(table.tBodies[0].rows).map(function (row) { return row.cells[at].dataset.key; });
    }
    head[1].click(); var up = column(1).join(); head[1].click(); var down = column(1).join();
    head[6].click(); var p = column(6).join();
    var state = table.querySelectorAll("th")[6].getAttribute("aria-sort");
    document.title = [up, down, p, state].join(";");
    """
    shown = browse(with_script(pages[1], script), "--dump-dom").stdout
    up, down, p_values, state = re.search(r"<title>(.*?)</title>", shown).group(1).split(";")
    numbers = [float(each) for each in up.split(",")]
    assert numbers == sorted(numbers)
    assert [float(each) for each in down.split(",")] == numbers[::-1]
    known = [float(each) for each in p_values.split(",") if each]
    assert known == sorted(known)
    assert p_values.split(",")[: len(known)] == [each for each in p_values.split(",") if each]
    assert state == "ascending"


def test_the_viewer_switches_without_script(pages):
    script = """
    function seen() {
      return Array.from(document.querySelectorAll(".frames img")).map(function (image) {
        var style = getComputedStyle(image);
        return style.visibility === "visible" ? (style.animationName === "none" ? "S" : "F") : "-";
      }).join("");
    }
    var states = [seen()];
    ["view-affine", "view-atlas", "view-flicker-atlas", "view-flicker-steps"].forEach(function (id) {
      document.getElementById(id).checked = true; states.push(seen());
    });
    document.title = states.join(" ");
    """
    shown = browse(with_script(pages[0], script), "--dump-dom").stdout
    order = re.findall(r'<img[^>]*class="(atlas|affine|aligned)"', shown)
    assert order == ["atlas", "affine", "aligned"]
    assert re.search(r"<title>(.*?)</title>", shown).group(1) == "--S -S- S-- S-F -SF"


def test_pages_print_on_a_sane_number_of_sheets(pages, tmp_path):
    for page in pages:
        printed = tmp_path / f"{page.stem}.pdf"
        browse(page, "--no-pdf-header-footer", f"--print-to-pdf={printed}")
        sheets = len(re.findall(rb"/Type\s*/Page\b", printed.read_bytes()))
        assert 3 <= sheets <= 16


AXE_VERDICT = """
const found = await axe.run(document, { resultTypes: ["violations"] });
return JSON.stringify(found.violations.map(each => [each.impact, each.id, each.nodes[0].target.join(" ")]));
"""


def serious_violations(page):
    """Give what axe calls serious or critical."""
    axe = files("axe_core_python").joinpath("axe.min.js").read_text(encoding="utf-8")
    found = json.loads(answer(with_script(page, axe.replace("</script", "<\\/script")), AXE_VERDICT))
    return [each for each in found if each[0] in ("serious", "critical")]


def test_axe_finds_what_is_wrong(tmp_path):
    wrong = tmp_path / "wrong.html"
    text = (
        '<html lang="en"><title>x</title><body><main><img src="data:,"><p style="color:#ccc">pale</p></main>'
    )
    wrong.write_text(f"<!DOCTYPE html>{text}</body></html>", encoding="utf-8")
    assert {name for _, name, _ in serious_violations(wrong)} == {"image-alt", "color-contrast"}


def test_axe_finds_no_serious_violation(pages):
    for page in pages:
        assert serious_violations(page) == []


def test_the_quality_strips_lead_to_pages_by_keyboard(pages):
    script = """
    const dots = Array.from(document.querySelectorAll("#quality svg a"));
    dots[0].focus();
    return JSON.stringify([dots.length, dots[0].getAttribute("href"), document.activeElement === dots[0]]);
    """
    count, link, focused = json.loads(answer(pages[1], script))
    assert count == 30
    assert re.fullmatch(r"sub-\d\d\.html", link)
    assert focused


def test_every_link_within_a_page_has_its_place(pages, parse):
    for page in pages:
        seen = parse(page.read_text(encoding="utf-8"))
        names = {attributes.get("id") for _, attributes in seen.elements}
        inside = [link["href"][1:] for link in seen.named("a") if link["href"].startswith("#")]
        assert inside
        assert set(inside) <= names
