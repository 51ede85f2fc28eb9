"""python -m benchmark.faults: kill a run at random moments, run again, count what was lost.

What is done for a scan is a stub, so that files are written all the time; all else is the app.
"""

import argparse
import logging
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmark.dispatch import write_tree
from benchmark.measure import RESULTS
from benchmark.provenance import describe_provenance
from benchmark.running import ROOT, plain_environment
from bidsapp.bids.save import save_json
from bidsapp.errors import DataError

SEED = 1
N_SUBJECTS = 12
SECONDS = 1.0

logger = logging.getLogger("benchmark")


def kill_and_rerun(folder: Path, n_kills: int) -> dict[str, int]:
    """Kill a run with SIGKILL at random moments of its work, then run to the end.

    Parameters
    ----------
    folder
        Empty.
    n_kills
        How often.

    Returns
    -------
    counts
        ``lost``: files that an undisturbed run has and this one has not, or with other content.
        ``half_written``: files that an undisturbed run has not: temporary ones, locks.
        ``undone``: scans that were done before a kill and not after it.

    Raises
    ------
    DataError
        If a run that nobody kills does not end well.
    """
    bids = write_tree(folder / "bids", N_SUBJECTS)
    _finish(bids, folder / "undisturbed")
    moments, undone, done = random.Random(SEED), 0, 0  # noqa: S311 - moments, not secrets
    out = folder / "out"
    for number in range(n_kills):
        run = _start(bids, out)
        while not is_at_work(run, out) and run.poll() is None:
            time.sleep(0.01)
        time.sleep(moments.uniform(0.0, 3 * SECONDS))
        run.kill()
        run.wait()
        now = sum('"done"' in path.read_text() for path in out.rglob("*_status.json"))
        undone, done = undone + max(0, done - now), now
        logger.info("kill %d: %d scans done", number + 1, done)
    _finish(bids, out)
    wanted, found = _contents(folder / "undisturbed"), _contents(out)
    lost = sum(found.get(name) != content for name, content in wanted.items())
    return {"n_kills": n_kills, "lost": lost, "half_written": len(set(found) - set(wanted)), "undone": undone}


def is_at_work(run: "subprocess.Popen[bytes] | subprocess.Popen[str]", out: Path) -> bool:
    """Tell whether a run holds the lock of a scan: those of runs killed before may still lie there."""
    holders = [path.read_text(encoding="utf-8") for path in out.glob("logs/sub-*.lock/holder.json")]
    return any(f'"pid": {run.pid},' in text for text in holders)


def _start(bids: Path, out: Path) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "benchmark.stubbed", str(bids), str(out), "participant"]
    command += ["--skip-bids-validation", "--device", "cpu", "-w", str(out.parent / "scratch")]
    variables = {"METSATLAS_STUB_SECONDS": str(SECONDS), "PYTHONPATH": str(ROOT)}
    environment = plain_environment(os.environ) | variables
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def _finish(bids: Path, out: Path) -> None:
    status = _start(bids, out).wait()
    if status:
        raise DataError(f"a run that nobody kills must end with status 0, got {status}")


def _contents(out: Path) -> dict[str, bytes]:
    """Read every file but those of single runs, which hold times."""
    files = (path for path in out.rglob("*") if path.is_file())
    named = {path.relative_to(out).as_posix(): path for path in files}
    return {
        name: path.read_bytes()
        for name, path in named.items()
        if "/log/" not in name and not name.startswith("logs/metsatlas_")
    }


def main(arguments: list[str] | None = None) -> int:
    """Count and keep the result."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(prog="python -m benchmark.faults", description=__doc__)
    parser.add_argument("--kills", type=int, default=10, help="how often (default 10)")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER", help="where the JSON goes")
    options = parser.parse_args(arguments)
    provenance = describe_provenance("python -m benchmark.faults")
    with tempfile.TemporaryDirectory(prefix="metsatlas-bench-") as temporary:
        kill9 = kill_and_rerun(Path(temporary), options.kills)
    logger.info("%s", kill9)
    data = f"{N_SUBJECTS} scans, {options.kills} kills at random moments (seed {SEED})"
    result = {"case": "faults", "sloppy": options.kills < 10, "data": data, "provenance": provenance}
    save_json(result | {"kill9": kill9}, options.results / "faults.json")
    return int(any(kill9[name] for name in ("lost", "half_written", "undone")))


if __name__ == "__main__":
    sys.exit(main())
