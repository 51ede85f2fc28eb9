"""The pages in a real browser, from disk: no console error, tables sort, pictures flicker, paper is sane."""

import re

import pytest
from matplotlib.image import imread

from bidsapp.reports.group import write_group_report
from bidsapp.reports.participant import write_participant_report
from tests.reports.browser import CHROMIUM, browse, console, with_script

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
