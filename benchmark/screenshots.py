"""python -m benchmark.screenshots: photograph both pages of a small virtual cohort for the README."""

import argparse
import logging
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from benchmark.figures import FIGURES
from benchmark.running import ROOT, run_or_complain
from bidsapp.bids.save import atomic_write
from bidsapp.demo.cohort import CohortPlan, write_cohort
from bidsapp.errors import DataError, MetsAtlasError, MissingInputError

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WINDOW = (1280, 1660)
WIDTH, COLOURS = 960, 160
"""Of the pictures in the repository: small enough to be loaded at once, large enough to be read."""

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND",
)  # fmt: skip

logger = logging.getLogger("benchmark")


def align_cohort(folder: Path, n_subjects: int) -> Path:
    """Write a virtual cohort and align it by default settings; draw pages of earlier results again.

    Parameters
    ----------
    folder
        Holds ``bids`` and ``out``; made if absent.
    n_subjects
        Virtual patients of a new cohort.

    Returns
    -------
    out
        The outputs.

    Raises
    ------
    DataError
        If the run fails.
    """
    bids, out = folder / "bids", folder / "out"
    if not bids.is_dir():
        write_cohort(bids, CohortPlan(n_subjects=n_subjects, seed=1))
    command = [sys.executable, str(ROOT / "run.py"), str(bids), str(out), "participant", "group"]
    if out.is_dir():
        command.append("--reports-only")
    run_or_complain(command, folder / "run.log")
    return out


def photograph(page: Path, picture: Path) -> None:
    """Write what a browser without a network shows of a page at first sight.

    Parameters
    ----------
    page
        An HTML file.
    picture
        PNG, `WIDTH` pixels wide, in `COLOURS` colours.

    Raises
    ------
    MissingInputError
        If there is no browser, or no page.
    DataError
        If the browser shows nothing.
    """
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None or not page.is_file():
        lacking = f"the page {page}" if browser else f"one of {', '.join(BROWSERS)}"
        raise MissingInputError(f"{lacking} must be there to be photographed: install or make it")
    with tempfile.TemporaryDirectory() as name:
        raw = Path(name) / "page.png"
        sizes = f"--window-size={WINDOW[0]},{WINDOW[1]}"
        command = [browser, *FLAGS, f"--user-data-dir={name}/profile", sizes, f"--screenshot={raw}"]
        ended = subprocess.run(
            [*command, page.resolve().as_uri()], capture_output=True, text=True, timeout=120, check=False
        )
        if not raw.is_file():
            raise DataError(f"the browser must show {page}, got {ended.stderr[-300:]!r}: open it by hand")
        with Image.open(raw) as shown:
            small = shown.convert("RGB").resize((WIDTH, round(WINDOW[1] * WIDTH / WINDOW[0])))
    with atomic_write(picture) as temporary:
        small.quantize(COLOURS).save(temporary, format="png", optimize=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Photograph the page of the first scan and that of the cohort; return the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(prog="python -m benchmark.screenshots", description=__doc__)
    parser.add_argument("--subjects", type=int, default=2, help="virtual patients (default 2)")
    parser.add_argument(
        "--folder", type=Path, metavar="FOLDER", help="cohort and outputs to use again, or to keep"
    )
    parser.add_argument("--figures", type=Path, default=FIGURES, metavar="FOLDER")
    options = parser.parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            out = align_cohort(options.folder or Path(scratch), options.subjects)
            first = min(out.glob("sub-*.html"))
            photograph(first, options.figures / "participant_page.png")
            photograph(out / "group.html", options.figures / "group_page.png")
    except MetsAtlasError as error:
        logger.error("%s", error)  # noqa: TRY400 (one clear line, no traceback)
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
