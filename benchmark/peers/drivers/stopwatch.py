"""Seconds of a registration itself, without imports. Standard library only: every environment runs this."""

import json
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any


def read_options(folder: Path) -> dict[str, Any]:
    """Read what the registration is asked to do."""
    options: dict[str, Any] = json.loads((folder / "options.json").read_text(encoding="utf-8"))
    return options


@contextmanager
def weigh(folder: Path, *packages: str) -> Iterator[None]:
    """Measure what happens inside and write it to ``run.json`` beside the versions of some packages."""
    started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF)
    yield
    after = resource.getrusage(resource.RUSAGE_SELF)
    run = {
        "cpu_seconds": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 2),
        "wall_seconds": round(time.monotonic() - started, 2),
        "versions": {package: version(package) for package in packages},
    }
    (folder / "run.json").write_text(json.dumps(run), encoding="utf-8")
