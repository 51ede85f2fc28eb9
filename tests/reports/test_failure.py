"""The page of a scan that failed says why, in words first, and keeps the traceback folded."""

import pytest

from bidsapp.reports.failure import Failure, write_failure_report

HOSTILE = "<script>alert('x')</script><img src=https://x.invalid/a.png onerror=alert(1)>{{ 7 * 7 }}"


def failure(**changes: object) -> Failure:
    facts: dict[str, object] = {
        "title": "sub-07 ses-late",
        "virtual": False,
        "error": "the lesion mask must lie where the T1w lies, but 0% of it is inside",
        "traceback": 'Traceback (most recent call last):\n  File "load.py"\nDataError: the lesion mask',
        "provenance": {"version": "0.1", "command": "metsatlas in out participant"},
    }
    return Failure(**{**facts, **changes})  # type: ignore[arg-type]


@pytest.fixture
def page(tmp_path, parse):
    def written(**changes):
        write_failure_report(failure(**changes), tmp_path / "sub-07.html")
        return parse((tmp_path / "sub-07.html").read_text(encoding="utf-8"))

    return written


def test_the_error_is_read_before_anything_else_and_the_traceback_is_folded(page):
    shown = page()
    assert "✗ Fail" in shown.text
    assert shown.text.index("the lesion mask must lie") < shown.text.index("Traceback")
    names = [name for name, _ in shown.elements]
    assert names.index("details") < names.index("pre")
    assert "open" not in shown.named("details")[0]
    assert "metsatlas in out participant" in shown.text


def test_links_within_the_page_lead_somewhere(page):
    shown = page()
    places = {attributes["id"] for _, attributes in shown.elements if "id" in attributes}
    assert {link["href"].removeprefix("#") for link in shown.named("a")} <= places


def test_hostile_words_stay_words(page):
    shown = page(title=HOSTILE, error=HOSTILE, traceback=HOSTILE, provenance={HOSTILE: HOSTILE})
    assert len(shown.named("script")) == 1
    assert not shown.named("img")
    assert shown.text.count("<script>alert('x')</script>") >= 5


def test_virtual_data_are_marked(page):
    assert "Virtual data" in page(virtual=True).text
    assert "Virtual data" not in page().text
