"""The pages of a run in a real browser, from disk: drawn, silent, and without a network."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from matplotlib.image import imread

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("end_to_end"),
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine"),
]
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--enable-logging=stderr",
    "--host-resolver-rules=MAP * ~NOTFOUND",
)


def browse(page: Path, folder: Path) -> tuple[list[str], set[str], Path]:
    """Open a page; give what the console said, what was asked of the network, and a picture."""
    net_log, picture = folder / "net.json", folder / "page.png"
    more = (f"--user-data-dir={folder / 'profile'}", f"--log-net-log={net_log}", f"--screenshot={picture}")
    command = [str(CHROMIUM), *FLAGS, *more, "--window-size=1300,2000", page.as_uri()]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    said = [line for line in finished.stderr.splitlines() if "CONSOLE" in line]
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
