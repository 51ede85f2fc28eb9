"""python -m benchmark.dispatch: what the app itself costs on large cohorts, with nothing done for a scan."""

import argparse
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

from benchmark.measure import RESULTS
from benchmark.provenance import describe_provenance
from benchmark.running import ROOT, plain_environment
from bidsapp.bids.find import find_participants, find_scans
from bidsapp.bids.save import save_json
from bidsapp.errors import DataError
from bidsapp.settings import Selection

N_PROCESSES = 2
N_REPEATS = 5

logger = logging.getLogger("benchmark")


def write_tree(folder: Path, n_subjects: int) -> Path:
    """Write a dataset of scans that are a few bytes, each with a label map and a mask."""
    for number in range(n_subjects):
        subject = f"sub-{number:04d}"
        for part, suffix in (
            ("", "T1w"),
            ("derivatives/segmentation", "dseg"),
            ("derivatives/lesions", "label-lesion_mask"),
        ):
            anat = folder / part / subject / "anat"
            anat.mkdir(parents=True)
            (anat / f"{subject}_{suffix}.nii.gz").write_text(f"{subject} {suffix}", encoding="utf-8")
    text = '{"Name": "tree", "BIDSVersion": "1.10.0", "DatasetType": "derivative"}'
    for part in ("", "derivatives/segmentation", "derivatives/lesions"):
        (folder / part / "dataset_description.json").write_text(text, encoding="utf-8")
    return folder


def measure_dispatch(folder: Path, n_subjects: int) -> dict[str, float | int]:
    """Run the app over a cohort, with workers that find nothing to do in a scan.

    Returns
    -------
    dispatch
        ``ms_per_subject``: of which ``finding_ms``, its files among all; the rest is worker time from the
        first scan that ended to the last, shared out: finding out whether it is done, its lock, its inputs'
        checksums, its status file, sending it there and back.
        ``parent_mib_early``, ``parent_mib_late``: memory of the parent at a tenth and at the end.

    Raises
    ------
    DataError
        If the run does not end well.
    """
    bids, out = write_tree(folder / "bids", n_subjects), folder / "out"
    command = [sys.executable, "-m", "benchmark.stubbed", str(bids), str(out), "participant"]
    command += [
        "--skip-bids-validation",
        "--device",
        "cpu",
        "--nprocs",
        str(N_PROCESSES),
        "-w",
        str(folder / "w"),
    ]
    environment = plain_environment(os.environ) | {"METSATLAS_STUB_SECONDS": "none", "PYTHONPATH": str(ROOT)}
    with (folder / "said.log").open("wb") as said:
        run = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=said, stderr=subprocess.STDOUT)
        memory = _watch(run, out)
    if run.returncode:
        raise DataError(
            f"the run must end with status 0, got {run.returncode}: "
            f"{(folder / 'said.log').read_text(encoding='utf-8')[-500:]}"
        )
    (log,) = (out / "logs").glob("metsatlas_*.log")
    ends = [line[:23] for line in log.read_text(encoding="utf-8").splitlines() if " done: " in line]
    first, last = (datetime.strptime(f"{ends[n]}+0000", "%Y-%m-%d %H:%M:%S,%f%z") for n in (0, -1))
    working_ms = (last - first).total_seconds() * 1000 * N_PROCESSES / (n_subjects - 1)
    selection = Selection(bids_dir=bids)
    labels = find_participants(selection)
    started = time.perf_counter()
    for label in labels:
        find_scans(selection, label)
    finding_ms = (time.perf_counter() - started) * 1000 / n_subjects
    return {
        "n_subjects": n_subjects,
        "n_processes": N_PROCESSES,
        "ms_per_subject": round(finding_ms + working_ms, 1),
        "finding_ms": round(finding_ms, 1),
        "parent_mib_early": memory[0],
        "parent_mib_late": memory[1],
    }


def _watch(run: "subprocess.Popen[bytes]", out: Path) -> tuple[float, float]:
    """Read the memory of a run when its first scans have ended, and the last time before it ends."""
    early = late = 0.0
    while run.poll() is None:
        status = Path(f"/proc/{run.pid}/status")
        lines = status.read_text(encoding="utf-8").splitlines() if status.exists() else []
        held = next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS")), 0.0)
        late = held or late
        if not early and next(out.glob("sub-002*/log/*/*_status.json"), None):
            early = held
        time.sleep(0.2)
    return round(early, 1), round(late, 1)


def measure_index(folder: Path, n_subjects: int) -> dict[str, float | int]:
    """Find the files of one participant in a large tree, several times.

    Raises
    ------
    DataError
        If they are not found.
    """
    bids = write_tree(folder / "bids", n_subjects)
    selection = Selection(bids_dir=bids, participants=(f"{n_subjects // 2:04d}",))
    seconds = []
    for _ in range(N_REPEATS):
        started = time.perf_counter()
        (label,) = find_participants(selection)
        (scan,) = find_scans(selection, label)
        seconds.append(time.perf_counter() - started)
        if scan.labels is None or scan.lesion_mask is None:
            raise DataError(f"label map and mask of sub-{label} must be found, got {scan}")
    return {"n_subjects": n_subjects, "seconds": round(statistics.median(seconds), 3), "n_repeats": N_REPEATS}


def main(arguments: list[str] | None = None) -> int:
    """Measure both and keep the result."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(prog="python -m benchmark.dispatch", description=__doc__)
    parser.add_argument("--subjects", type=int, default=1000, help="given out (default 1000)")
    parser.add_argument("--tree", type=int, default=3000, help="participants in the tree (default 3000)")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER", help="where the JSON goes")
    options = parser.parse_args(arguments)
    provenance = describe_provenance("python -m benchmark.dispatch")
    with tempfile.TemporaryDirectory(prefix="metsatlas-bench-") as temporary:
        folder = Path(temporary)
        for name in ("index", "dispatch"):
            (folder / name).mkdir()
        index = measure_index(folder / "index", options.tree)
        logger.info("index: %s", index)
        dispatch = measure_dispatch(folder / "dispatch", options.subjects)
        logger.info("dispatch: %s", dispatch)
    sloppy = options.subjects < 1000 or options.tree < 3000
    data = f"{dispatch['n_subjects']} scans with nothing to do; a tree of {index['n_subjects']} participants"
    result = {"case": "scale", "sloppy": sloppy, "data": data, "provenance": provenance}
    save_json(result | {"dispatch": dispatch, "index": index}, options.results / "scale.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
