"""python -m benchmark.engine: every preset on every OASIS scan, from loaded arrays to results in memory."""

import argparse
import logging
import resource
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from benchmark.measure import RESULTS
from benchmark.provenance import describe_provenance
from benchmark.running import ROOT, one_thread_each
from benchmark.summary import load_json
from bidsapp.aligning import find_start
from bidsapp.atlas.builtin import load_builtin
from bidsapp.atlas.pack import AtlasPack
from bidsapp.bids.find import SubjectFiles, find_participants, find_scans
from bidsapp.bids.load import LoadedSubject, load_subject
from bidsapp.bids.save import save_json
from bidsapp.errors import MetsAtlasError, MissingInputError
from bidsapp.images.volume import Volume
from bidsapp.lesions.handling import guide
from bidsapp.metrics.measurements import measure
from bidsapp.participant import find_scan_lesions, healthy_brain
from bidsapp.registration.affine import align_affine
from bidsapp.registration.deformable import align_deformable
from bidsapp.registration.intensities import Intensities
from bidsapp.registration.updates import TURNS
from bidsapp.settings import PRESETS, RegistrationSettings, Selection
from bidsapp.warped import warp

SCANS = ROOT.parent / "shared" / "data" / "scans"
WORK = ROOT / ".cache" / "engine"
FULL_SIZE = "default, whole atlas grid"
_WHOLE_MM = 1000.0

logger = logging.getLogger("benchmark")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure every preset on every scan and keep the figures."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(prog="python -m benchmark.engine", description=__doc__)
    parser.add_argument("presets", nargs="*", default=PRESETS, metavar="PRESET", help="default: all")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER", help="where the JSON goes")
    parser.add_argument("--nprocs", type=int, default=2, metavar="N", help="scans at a time; default: 2")
    parser.add_argument(
        "--work", type=Path, default=WORK, metavar="FOLDER",
        help="rows of a run that was stopped, to go on with; delete those that a change of the engine alters",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    try:
        provenance = describe_provenance(" ".join(["python -m benchmark.engine", *options.presets]))
        rows = list(measure_all(options.presets, options.nprocs, options.work, str(provenance["commit"])))
        save_json({"provenance": provenance, **sum_up(rows)}, options.results / "engine.json")
    except MetsAtlasError as error:
        logger.error("%s", error)  # noqa: TRY400 (one clear line, no traceback)
        return error.exit_status
    return 0


def measure_all(
    presets: Sequence[str], n_processes: int, work: Path, commit: str
) -> Iterator[Mapping[str, object]]:
    """Align every labelled scan with every preset, each in a process of its own with one thread.

    Rows that an earlier run left in `work` are taken from there; each tells the commit it was measured at.
    """
    if not SCANS.is_dir():
        raise MissingInputError(f"the scans must lie in {SCANS}, got no such folder: nothing is measured")
    selection = Selection(bids_dir=SCANS, derivatives={"manual": SCANS / "derivatives" / "manual"})
    oasis = [name for name in find_participants(selection) if name.startswith("oasis")]
    scans = [scan for name in oasis for scan in find_scans(selection, name) if scan.labels]
    turns = [(preset, scan) for scan in scans for preset in presets] + [(FULL_SIZE, scans[0])]
    kept = [work / f"{scan.subject}_{preset.replace(' ', '-')}.json" for preset, scan in turns]
    due = [(turn, path) for turn, path in zip(turns, kept, strict=True) if not path.is_file()]
    context = get_context("spawn")
    with one_thread_each(), ProcessPoolExecutor(n_processes, context, max_tasks_per_child=1) as pool:
        if due:
            pool.submit(measure_one, presets[0], scans[0]).result()  # kernels are compiled once, not counted
        found = [(pool.submit(measure_one, *turn), path) for turn, path in due]
        for row, path in found:
            logger.info("%s", row.result())
            save_json({**row.result(), "commit": commit}, path)
    yield from (load_json(path) for path in kept)


def measure_one(preset: str, files: SubjectFiles) -> dict[str, object]:
    """Align one scan, compute all images and tables of the participant level, and weigh them."""
    torch.set_num_threads(1)
    atlas, subject = load_builtin(), load_subject(files)
    brain = healthy_brain(subject)
    settings = settings_of(preset)
    _load_kernels(brain, atlas, subject)
    clock = [time.process_time()]
    guided, start = find_start(atlas.labels, subject.t1w, guide(subject.labels, subject.lesion_mask, "auto"))
    clock.append(time.process_time())
    images = Intensities(atlas.template, subject.t1w, guided.lesions)
    alignment = align_deformable(atlas.labels, guided.labels, start, settings, images=images)
    clock.append(time.process_time())
    warped = warp(subject, find_scan_lesions(subject, brain), alignment, atlas)
    alignment.jacobian_determinant()
    clock.append(time.process_time())
    measurements = measure(
        atlas.labels,
        warped.affine_labels,
        warped.labels,
        displacement=alignment.displacement,
        inverse_displacement=alignment.inverse_displacement,
        space=alignment.space,
    )
    clock.append(time.process_time())
    parts = ("affine", "deformable", "images", "metrics")
    return {
        "scan": f"sub-{files.subject}",
        "preset": preset,
        **measurements.summary,
        **{f"{part}_cpu_seconds": seconds for part, seconds in zip(parts, np.diff(clock), strict=True)},
        "cpu_seconds": clock[-1] - clock[0],
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "grid": "x".join(str(size) for size in alignment.space.shape),
    }


def settings_of(preset: str) -> RegistrationSettings:
    """Give the settings of a preset, or the default ones on the whole grid of the atlas."""
    if preset == FULL_SIZE:
        return replace(RegistrationSettings(), margin_mm=_WHOLE_MM)
    return RegistrationSettings.preset(preset)


def _load_kernels(brain: Volume, atlas: AtlasPack, subject: LoadedSubject) -> None:
    """Align once, coarsely, with what no one waits for in a run over many scans: loading compiled code."""
    coarse = RegistrationSettings.preset("fast")
    once = replace(
        coarse, stages=tuple(replace(stage, iterations=TURNS) for stage in coarse.stages[:2]), field_mm=4.0
    )
    start = align_affine(atlas.labels, brain)
    align_deformable(atlas.labels, brain, start, once, images=Intensities(atlas.template, subject.t1w))


def sum_up(rows: Sequence[Mapping[str, object]]) -> dict[str, object]:
    """Give, for each preset, the figures that are published, and every row."""
    table = pd.DataFrame(rows)
    found: dict[str, object] = {
        "case": "engine",
        "data": "OASIS T1w scans with manual labels, to the embedded atlas, 1 mm; one thread a scan",
        "commits": sorted({str(row["commit"]) for row in rows}),
        "rows": table.to_dict("records"),
    }
    for preset, part in table[table["preset"] != FULL_SIZE].groupby("preset"):
        found[str(preset)] = {
            "n_scans": len(part),
            "dsc_mean": part["dice_mean"].mean(),
            "dsc_min": part["dice_mean"].min(),
            "assd_mm_mean": part["assd_mm_mean"].mean(),
            "sd_log_jacobian_mean": part["sd_log_jacobian"].mean(),
            "sd_log_jacobian_max": part["sd_log_jacobian"].max(),
            "folded_fraction_max": part["folded_fraction"].max(),
            "ndv_percent_max": part["ndv_percent"].max(),
            "inverse_error_mm_p99_max": part["inverse_error_mm_p99"].max(),
            "cpu_seconds_median": part["cpu_seconds"].median(),
            "cpu_seconds_max": part["cpu_seconds"].max(),
            "peak_gib_max": part["peak_gib"].max(),
        }
    whole = table[table["preset"] == FULL_SIZE]
    found["full_size"] = {
        "n_scans": len(whole),
        "grid": ", ".join(whole["grid"]),
        "peak_gib": whole["peak_gib"].max(),
        "cpu_seconds": whole["cpu_seconds"].max(),
    }
    return found


if __name__ == "__main__":
    sys.exit(main())
