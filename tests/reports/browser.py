"""Drives a real browser over pages on disk."""

import html
import re
import shutil
import subprocess
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--enable-logging=stderr",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--virtual-time-budget=8000",
)


def browse(page: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Open a page without a network."""
    command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={page.parent / 'profile'}", *more, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=180, check=True)


def console(result: subprocess.CompletedProcess[str]) -> list[str]:
    """Give what the page said to the console, errors of its scripts included."""
    return [line for line in result.stderr.splitlines() if "CONSOLE" in line]


def with_script(page: Path, script: str) -> Path:
    """Copy a page with something for the browser to do at its end."""
    copy = page.with_name(f"tried-{page.name}")
    text = page.read_text(encoding="utf-8").replace("</body>", f"<script>{script}</script></body>")
    copy.write_text(text, encoding="utf-8")
    return copy


DRAW_AT_ONCE = (
    "<script>window.requestAnimationFrame = function (draw) { window.setTimeout(draw, 0); };</script>"
)
"""Without a window there are no frames to wait for."""


def answer(page: Path, script: str, *more: str) -> str:
    """Let the browser run a script, one second after loading, that returns a text; give the text."""
    run = (
        f"window.setTimeout(async () => {{ document.title = await (async () => {{ {script} }})(); }}, 1000);"
    )
    tried = with_script(page, run)
    text = tried.read_text(encoding="utf-8").replace("<main>", f"{DRAW_AT_ONCE}<main>", 1)
    tried.write_text(text, encoding="utf-8")
    result = browse(tried, "--dump-dom", *more)
    assert console(result) == []
    found = re.search(r"<title>(.*?)</title>", result.stdout, re.DOTALL)
    assert found, "a page has a title"
    return html.unescape(found.group(1))
