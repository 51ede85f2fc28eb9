"""The real Dockerfile, built on a Debian made here, without Docker and without a registry of images."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.conftest import bids  # noqa: F401 - a fixture
from tests.execution.conftest import scans  # noqa: F401 - a fixture

SCRIPT = Path(__file__).resolve().parents[2] / "container" / "without-docker.sh"
TOOLS = ("buildah", "podman", "bwrap", "mmdebstrap", "setpriv")
Container = Callable[..., subprocess.CompletedProcess[str]]


def call(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """Call the script."""
    return subprocess.run([SCRIPT, *words], capture_output=True, text=True, check=False, timeout=1500)


@pytest.fixture(scope="session")
def container() -> Container:
    """Build the image once; without root or tools the tests are skipped and say so."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"CONTAINER NOT TESTED: install {' '.join(missing)}, as .ci/run does")
    if os.getuid():
        pytest.skip("CONTAINER NOT TESTED: only root can build and run it here")
    built = call("build")
    assert built.returncode == 0, (built.stdout + built.stderr)[-3000:]
    return call


def writable(folder: Path) -> Path:
    """Make a folder that user 12345 may write to, and can be reached by that user."""
    folder.mkdir()
    os.chown(folder, 12345, 12345)
    for parent in folder.parents:
        if parent.stat().st_uid == os.getuid() and parent.is_relative_to("/tmp"):  # noqa: S108
            parent.chmod(parent.stat().st_mode | 0o055)
    return folder
