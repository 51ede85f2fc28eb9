"""The brain of the cohort's page in a real browser: drawn, turned, and every lesion's way to its patient."""

import json
from dataclasses import replace

import pytest

from bidsapp.reports.group import write_group_report
from tests.reports.browser import CHROMIUM, answer, browse, console, with_script

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
LEFT_LESION = {"atlas_x_mm": -36.0, "atlas_y_mm": -10.0, "atlas_z_mm": 24.0, "native_volume_mm3": 9000.0}
WORDS = """
const look = id => document.getElementById("viewer-" + id);
const wait = () => new Promise(done => setTimeout(done, 200));
const press = (id, key) => look(id).dispatchEvent(new KeyboardEvent("keydown", { key: key, bubbles: true }));
const pixels = canvas => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
function count(id, chosen) {
  const canvas = look(id), data = pixels(canvas);
  let left = 0, right = 0;
  for (let at = 0; at < data.length; at += 4) {
    if (chosen(data[at], data[at + 1], data[at + 2])) {
      if ((at / 4) % canvas.width < canvas.width / 2) { left += 1; } else { right += 1; }
    }
  }
  return [left, right];
}
const orange = (r, g, b) => r > 100 && g > 0.45 * r && g < 0.95 * r && b < 0.35 * r;
const glass = (r, g, b) => r > 40 && b > r && b - r < 70;
"""


@pytest.fixture(scope="module")
def one(group_page, tmp_path_factory):
    """A page with one lesion, on the left, in front of the brain's middle and above it."""
    lesions = group_page.lesions.tail(1).assign(**LEFT_LESION)
    path = tmp_path_factory.mktemp("viewer") / "group.html"
    write_group_report(replace(group_page, lesions=lesions), path)
    return path


@pytest.fixture(scope="module")
def many(group_page, tmp_path_factory):
    path = tmp_path_factory.mktemp("viewer") / "group.html"
    write_group_report(group_page, path)
    return path


def test_a_lesion_on_the_left_is_drawn_on_the_side_of_the_letter(one):
    script = (
        WORDS
        + """
    const found = {};
    for (const view of ["top", "bottom", "front", "back"]) {
      document.querySelector(`[data-view="${view}"]`).click(); await wait();
      found[view] = count("globe", orange);
    }
    look("next").click(); await wait();
    found.axial = count("axial", orange); found.coronal = count("coronal", orange);
    return JSON.stringify(found);
    """
    )
    found = json.loads(answer(one, script))
    for view in ("top", "back", "axial", "coronal"):
        left, right = found[view]
        assert left > 30, view
        assert right == 0, view
    for view in ("front", "bottom"):
        left, right = found[view]
        assert (left, right > 30) == (0, True), view


def test_the_glass_brain_and_the_slices_are_drawn_and_the_brain_can_be_taken_away(many):
    script = (
        WORDS
        + """
    const before = count("globe", glass);
    look("brain").click(); await wait();
    const after = count("globe", glass);
    const tissue = (r, g, b) => r > 60 && r === g && g === b;
    const slices = ["axial", "coronal", "sagittal"].map(id => count(id, tissue));
    return JSON.stringify([before, after, slices, look("globe").closest("#viewer").hidden]);
    """
    )
    before, after, slices, is_hidden = json.loads(answer(many, script))
    assert min(before) > 2000
    assert sum(after) < 0.2 * sum(before)
    assert all(min(each) > 1000 for each in slices)
    assert is_hidden is False


def test_keys_turn_the_brain_walk_through_lesions_and_move_the_slices(many, group_page):
    script = (
        WORDS
        + """
    const globe = look("globe"), seen = [globe.dataset.right, globe.dataset.chosen];
    press("globe", "ArrowLeft"); seen.push(globe.dataset.right);
    press("globe", "n"); seen.push(globe.dataset.chosen);
    seen.push(look("info").querySelector("a").getAttribute("href"));
    press("globe", "p"); seen.push(globe.dataset.chosen);
    const before = globe.dataset.cursor.split(" ").map(Number);
    press("axial", "PageUp"); press("axial", "ArrowLeft");
    const after = globe.dataset.cursor.split(" ").map(Number);
    seen.push(after.map((each, axis) => (each - before[axis]).toFixed(1)).join(" "));
    return JSON.stringify(seen);
    """
    )
    right, none, turned, first, link, last, moved = json.loads(answer(many, script))
    largest = group_page.lesions.sort_values("native_volume_mm3").iloc[-1]
    assert right != turned
    assert (none, first, last) == ("-1", "0", str(len(group_page.lesions) - 1))
    assert link == f"sub-{largest['subject']}.html#lesion-{largest['lesion']}"
    assert moved == "-1.5 0.0 1.5"


def test_a_click_chooses_a_lesion_and_a_second_one_opens_its_patients_page(one):
    script = (
        WORDS
        + """
    const globe = look("globe"), box = globe.getBoundingClientRect();
    document.querySelector('[data-view="top"]').click(); await wait();
    const data = pixels(globe), sum = [0, 0, 0];
    for (let at = 0; at < data.length; at += 4) {
      if (orange(data[at], data[at + 1], data[at + 2])) {
        sum[0] += (at / 4) % globe.width; sum[1] += Math.floor(at / 4 / globe.width); sum[2] += 1;
      }
    }
    const zoom = box.width / globe.width / sum[2];
    const where = { clientX: box.left + sum[0] * zoom, clientY: box.top + sum[1] * zoom, bubbles: true };
    function click() {
      globe.dispatchEvent(new PointerEvent("pointerdown", where));
      globe.dispatchEvent(new PointerEvent("pointerup", where));
    }
    click();
    const chosen = globe.dataset.chosen, cursor = globe.dataset.cursor;
    let gone = "";
    window.navigation.addEventListener("navigate", function (event) {
      gone = event.destination.url; event.preventDefault();
    });
    click(); await wait();
    return JSON.stringify([chosen, cursor, gone]);
    """
    )
    chosen, cursor, gone = json.loads(answer(one, script))
    assert (chosen, cursor) == ("0", "-36.0 -10.0 24.0")
    assert "sub-29.html#lesion-" in gone


def test_groups_can_be_hidden_and_colours_follow_the_grouping(many):
    script = (
        WORDS
        + """
    const all = count("globe", orange);
    look("legend").querySelector("input").click(); await wait();
    const fewer = count("globe", orange), words = look("legend").textContent;
    look("grouping").value = "0"; look("grouping").dispatchEvent(new Event("change")); await wait();
    return JSON.stringify([all, fewer, words, look("legend").textContent]);
    """
    )
    everything, fewer, centres, regions = json.loads(answer(many, script))
    assert sum(fewer) < 0.2 * sum(everything)
    assert "North" in centres
    assert "Cerebral Cortex" in regions


def test_without_script_the_picture_stays_and_the_viewer_is_hidden(many, parse):
    page = parse(many.read_text(encoding="utf-8"))
    (viewer,) = (each for each in page.named("div") if each.get("id") == "viewer")
    assert "hidden" in viewer
    assert any("Slices of the atlas" in image["alt"] for image in page.named("img"))


def test_hostile_names_are_words_in_the_viewer(group_page, tmp_path):
    hostile = "</script><script>document.body.id='hit'</script><img src=x onerror=\"document.body.id='hit'\">"
    lesions = group_page.lesions.assign(site=hostile, subject=hostile)
    patients = group_page.patients.assign(participant=f"sub-{hostile}", site=hostile)
    write_group_report(replace(group_page, lesions=lesions, patients=patients), tmp_path / "group.html")
    script = (
        WORDS
        + """
    look("next").click(); look("grouping").value = "1"; look("grouping").dispatchEvent(new Event("change"));
    await wait();
    return JSON.stringify([document.body.id, look("legend").textContent.includes("onerror"),
      look("info").textContent.includes("<script>")]);
    """
    )
    assert json.loads(answer(tmp_path / "group.html", script)) == ["", True, True]


def test_a_browser_that_cannot_draw_keeps_the_page(many):
    """Taking the canvas away is heard in the console, and the picture and the tables stay."""
    broken = many.with_name("broken.html")
    text = many.read_text(encoding="utf-8").replace(
        "<main>", "<main><script>HTMLCanvasElement.prototype.getContext = null</script>", 1
    )
    broken.write_text(text, encoding="utf-8")
    result = browse(
        with_script(broken, "document.title = document.querySelectorAll('th button').length"), "--dump-dom"
    )
    assert console(result)
    assert '<div id="viewer" class="brain" hidden' in result.stdout
    assert "<title>0</title>" not in result.stdout
