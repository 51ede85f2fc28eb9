"""The pictures of the README are what a browser shows, small, and never made of a failed run."""

import shutil

import numpy as np
import pytest
from PIL import Image

from benchmark import screenshots
from benchmark.screenshots import BROWSERS, WIDTH, align_cohort, main, photograph
from bidsapp.errors import DataError, MissingInputError

needs_browser = pytest.mark.skipif(not any(map(shutil.which, BROWSERS)), reason="no browser on this machine")
PAGE = "<body style='margin:0;background:#fff'><div style='height:400px;background:#0072b2'></div></body>"


@needs_browser
def test_a_picture_shows_the_page_and_is_small(tmp_path):
    page, picture = tmp_path / "page.html", tmp_path / "figures" / "page.png"
    page.write_text(PAGE, encoding="utf-8")
    photograph(page, picture)
    with Image.open(picture) as shown:
        pixels = np.asarray(shown.convert("RGB"))
    assert pixels.shape[1] == WIDTH
    assert pixels[50, 50].tolist() == [0, 114, 178]
    assert pixels[-50, 50].tolist() == [255, 255, 255]
    assert picture.stat().st_size < 20_000


def test_without_browser_or_page_the_reason_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(screenshots.shutil, "which", lambda _: None)
    with pytest.raises(MissingInputError, match="one of chromium"):
        photograph(tmp_path / "page.html", tmp_path / "page.png")
    monkeypatch.setattr(screenshots.shutil, "which", lambda name: f"/usr/bin/{name}")
    with pytest.raises(MissingInputError, match=r"page\.html must be there"):
        photograph(tmp_path / "page.html", tmp_path / "page.png")


def test_a_run_that_fails_gives_no_picture(tmp_path, monkeypatch, caplog):
    (tmp_path / "bids").mkdir()
    monkeypatch.setattr(screenshots, "ROOT", tmp_path)  # where there is no run.py
    with pytest.raises(DataError, match="must end with status 0, got 2"):
        align_cohort(tmp_path, 2)
    assert main(["--folder", str(tmp_path), "--figures", str(tmp_path / "figures")]) == 65
    assert "must end with status 0" in caplog.text
    assert not (tmp_path / "figures").exists()


@needs_browser
def test_the_first_scan_and_the_cohort_are_photographed(tmp_path, monkeypatch):
    (tmp_path / "bids").mkdir()
    (tmp_path / "out").mkdir()
    for name in ("sub-02", "sub-01", "group"):
        (tmp_path / "out" / f"{name}.html").write_text(PAGE, encoding="utf-8")
    monkeypatch.setattr(screenshots, "run_or_complain", lambda *_: None)
    assert main(["--folder", str(tmp_path), "--figures", str(tmp_path / "figures")]) == 0
    made = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert made == ["group_page.png", "participant_page.png"]
