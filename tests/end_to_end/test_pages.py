"""The pages of a run in a real browser, from disk: drawn, silent, and without a network."""

import json
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from matplotlib.image import imread

from tests.reports.browser import CHROMIUM, FLAGS, console

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("end_to_end"),
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine"),
]


def browse(page: Path, folder: Path) -> tuple[list[str], set[str], Path]:
    """Open a page; give what the console said, what was asked of the network, and a picture."""
    net_log, picture = folder / "net.json", folder / "page.png"
    more = (f"--user-data-dir={folder / 'profile'}", f"--log-net-log={net_log}", f"--screenshot={picture}")
    command = [str(CHROMIUM), *FLAGS, *more, "--window-size=1300,2000", page.as_uri()]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    said = console(finished)
    asked = {json.loads(f'"{url}"') for url in re.findall(r'"url":"([^"]*)"', net_log.read_text("utf-8"))}
    of_browser = re.compile(r"https?://[\w.-]*(google|googleapis|gstatic)\.com/")
    return said, {url for url in asked if url.startswith("http") and not of_browser.match(url)}, picture


def test_a_page_that_wants_the_network_is_noticed(tmp_path):
    page = tmp_path / "page.html"
    page.write_text('<img src="https://example.org/x.png"><script>console.error("heard")</script>', "utf-8")
    said, asked, _ = browse(page, tmp_path)
    assert asked == {"https://example.org/x.png"}
    assert said


@pytest.mark.parametrize(
    "name", ["sub-virtual01_ce-gadolinium_run-2", "sub-virtual02_ses-02_ce-gadolinium", "group"]
)
def test_pages_open_from_disk_without_error_or_network(first, tmp_path, name):
    said, asked, picture = browse(first.out / f"{name}.html", tmp_path)
    assert said == []
    assert asked == set()
    assert imread(picture).std() > 0.05


class Anchors(HTMLParser):
    """Collects the links and the places of a page."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.places: set[str] = set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.places.add(named.get("id") or "")
        if tag == "a":
            self.links.add(named.get("href") or "")


def test_every_link_of_every_page_leads_to_a_file_and_a_place_that_exist(first):
    pages = {page.name: Anchors(page) for page in first.out.glob("*.html")}
    links = [(name, link) for name, page in pages.items() for link in page.links]
    assert any(link.endswith(".html#lesion-1") for name, link in links if name == "group.html")
    assert any(link == "group/lesions.tsv" for name, link in links if name == "group.html")
    for name, link in links:
        file, _, place = unquote(link).partition("#")
        assert (first.out / (file or name)).is_file(), (name, link)
        if place:
            assert place in pages[file or name].places, (name, link)
