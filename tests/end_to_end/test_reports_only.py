"""--reports-only on a finished cohort: pages come back, and no result, table or map changes by a byte."""

import hashlib
import re
import shutil
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("end_to_end")]


def checksums(out: Path) -> dict[str, str]:
    kept = [path for path in out.rglob("*") if path.is_file() and path.suffix not in {".html", ".log"}]
    return {path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in kept}


def test_pages_come_back_and_nothing_else_changes(app, bids, first, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(first.out, out)
    before = checksums(out)
    pages = {page.name: page.read_text(encoding="utf-8") for page in out.glob("*.html")}
    for name in pages:
        (out / name).unlink()
    again = app(bids, out, "participant", "group", "--reports-only")
    assert again.status == 0, again.stderr
    assert checksums(out) == before
    assert {page.name for page in out.glob("*.html")} == set(pages)
    for name, text in pages.items():
        if name != "group.html":
            drawn = (out / name).read_text(encoding="utf-8")
            assert re.sub(r"<dt>page drawn again</dt><dd[^\n]*\n", "", drawn) == text


def test_without_results_nothing_is_drawn_and_the_way_out_is_said(app, bids, tmp_path):
    (tmp_path / "out").mkdir()
    run = app(bids, tmp_path / "out", "participant", "--reports-only")
    assert run.status == 66
    assert "run the participant level without --reports-only first" in run.stderr
    assert list((tmp_path / "out").glob("*.html")) == []
