"""python -m benchmark.stubbed ARGUMENTS: the app, with a stub in place of reading, aligning and measuring.

Everything around a scan is real: finding it, locks, resuming, workers, files that are whole or not there.
METSATLAS_STUB_SECONDS spreads the files of a scan over so many seconds; "none": there are no files.
"""

import os
import sys
import time
from collections.abc import Mapping
from importlib import import_module

import numpy as np
import pandas as pd

from bidsapp import cli, resume
from bidsapp.atlas.builtin import NAME as ATLAS
from bidsapp.bids.completion import withdraw
from bidsapp.bids.description import write_dataset_files
from bidsapp.bids.names import Kind, output_path
from bidsapp.bids.save import save_table, save_text, save_volume
from bidsapp.errors import DataError
from bidsapp.execution.lock import hold
from bidsapp.execution.stopping import stop_on_signals
from bidsapp.geometry.space import Space
from bidsapp.images.volume import Volume
from bidsapp.participant import ParticipantJob

PAUSE = os.environ.get("METSATLAS_STUB_SECONDS", "0")
_process_unless_done = resume.process_unless_done


def process_stubbed(job: ParticipantJob, *, must_wait: bool = False) -> resume.ScanDone:
    """Do as the app does, with the stub; also in worker processes, which know nothing of this one."""
    vars(resume)["process_participant"] = write_results
    return _process_unless_done(job, must_wait=must_wait)


def write_results(job: ParticipantJob) -> Mapping[str, float | int | str]:
    """Write small results that follow from the scan's content alone; a scan called "kill" ends its process.

    Raises
    ------
    DataError
        If the scan is empty.
    """
    settings, files = job.settings, job.files
    if files.subject.startswith("kill"):
        os.kill(os.getpid(), 9)
    if PAUSE == "none":
        return {}
    content = files.t1w.read_bytes()
    if not content:
        raise DataError(f"{files.t1w.name} must hold something, got nothing")
    place = (settings.output_dir, files.subject, files.entities)
    withdraw(*place, ATLAS)
    with hold(settings.output_dir / "logs" / "dataset.lock", must_wait=True):
        write_dataset_files(settings.selection.bids_dir, settings.output_dir, settings.selection.derivatives)
    pause = float(PAUSE) / len(Kind)
    rng = np.random.default_rng(np.frombuffer(content[:64].ljust(64), np.uint8))
    for kind in Kind:
        path = output_path(*place, kind, ATLAS)
        if path.suffix == ".tsv":
            table = pd.DataFrame({"length_mm": rng.standard_normal(50)})
            save_table(table, path, {"length_mm": "A number."})
        elif path.suffix == ".gz":
            noise = rng.standard_normal((24, 25, 26)).astype(np.float32)
            save_volume(Volume(noise, Space((24, 25, 26), np.eye(4))), path, {"Description": "noise"})
        else:
            save_text(f"{files.subject} {rng.random()}\n", path)
        time.sleep(pause)
    return {"dice_mean": 1.0}


def main(arguments: list[str]) -> int:
    """Run the app with the stub."""
    resume.process_unless_done = process_stubbed
    return cli.main(arguments)


if __name__ == "__main__":
    stop_on_signals()
    sys.exit(import_module("benchmark.stubbed").main(sys.argv[1:]))  # workers import it by this name
