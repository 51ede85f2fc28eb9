"""python -m benchmark.group_scale: time and memory of the group, up to 5,000 patients with 25,000 lesions."""

import argparse
import logging
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from benchmark.measure import RESULTS
from benchmark.provenance import describe_provenance
from benchmark.running import ROOT
from benchmark.simulation import Scenario, draw_points, draw_sizes
from benchmark.summary import load_json
from bidsapp.atlas.builtin import NAME as ATLAS
from bidsapp.atlas.builtin import load_builtin
from bidsapp.atlas.seganat import structures
from bidsapp.bids.names import Kind, output_path
from bidsapp.bids.save import save_json, save_table
from bidsapp.errors import MetsAtlasError, ReadWriteError
from bidsapp.group import run_group
from bidsapp.lesions.junction import surface_distances_mm
from bidsapp.lesions.table import LESION_COLUMNS
from bidsapp.settings import GroupSettings, RunSettings, Selection

NAME = "group_scale"
SIZES = ((1250, 6250), (2500, 12_500), (5000, 25_000))

logger = logging.getLogger("benchmark")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure all sizes, each in a process of its own, and return the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(prog="python -m benchmark.group_scale", description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER", help="where the JSON goes")
    parser.add_argument("--one", nargs=2, metavar=("FOLDER", "JSON"), help="run the group on one cohort")
    options = parser.parse_args(arguments)
    try:
        if options.one:
            measure_one(Path(options.one[0]), Path(options.one[1]))
            return 0
        rows = [measure(n_patients, n_lesions) for n_patients, n_lesions in SIZES]
        result = {
            "case": NAME,
            "data": "lesions simulated in atlas space, ICC of satellites, two centres",
            "sloppy": False,
            "provenance": describe_provenance("python -m benchmark.group_scale"),
            "sizes": rows,
            "largest": rows[-1],
            "seconds_per_1000_lesions": [1000 * row["seconds"] / row["n_lesions"] for row in rows],
        }
        save_json(result, options.results / f"{NAME}.json")
    except MetsAtlasError as error:
        logger.error("%s", error)  # noqa: TRY400 (one clear line, no traceback)
        return error.exit_status
    return 0


def measure(n_patients: int, n_lesions: int) -> dict[str, float]:
    """Write the results of a participant level, then run the group on them in a new process."""
    with tempfile.TemporaryDirectory(prefix="metsatlas-scale-") as temporary:
        folder = Path(temporary)
        write_cohort(folder, n_patients, n_lesions)
        own = [sys.executable, "-m", "benchmark.group_scale"]
        command = [*own, "--one", str(folder), str(folder / "measured.json")]
        done = subprocess.run(command, cwd=ROOT, check=False)
        if done.returncode:
            raise ReadWriteError(f"the group of {n_patients} patients ended with status {done.returncode}")
        measured = load_json(folder / "measured.json")
    row = {"n_patients": n_patients, "n_lesions": n_lesions} | {
        str(key): float(str(value)) for key, value in measured.items()
    }
    logger.info("%s", row)
    return row


def measure_one(folder: Path, result: Path) -> None:
    """Run the group without maps and keep seconds and the largest memory of this process."""
    settings = RunSettings(
        selection=Selection(bids_dir=folder / "bids"),
        output_dir=folder / "out",
        work_dir=folder,
        group=GroupSettings(maps=False),
    )
    start, start_cpu = time.perf_counter(), time.process_time()
    run_group(settings)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - start_cpu
    peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    save_json({"seconds": seconds, "cpu_seconds": cpu_seconds, "peak_gib": peak_gib}, result)


def write_cohort(folder: Path, n_patients: int, n_lesions: int) -> None:
    """Write participants.tsv and a lesion table for each patient."""
    scenario = Scenario(
        name="scale",
        words="",
        satellite_mm=20,
        satellite_share=0.5,
        n_patients=n_patients,
        n_lesions=n_lesions,
    )
    rng = np.random.default_rng(n_patients)
    sizes = draw_sizes(rng, 1, n_patients, n_lesions, scenario.tail)
    points, owners = draw_points(rng, sizes, scenario)
    lesions = lesion_rows(points, owners, rng)
    (folder / "bids").mkdir()
    labels = [f"{number:05d}" for number in range(n_patients)]
    for label in labels:
        (folder / "bids" / f"sub-{label}").mkdir()
    people = pd.DataFrame({"participant_id": [f"sub-{label}" for label in labels]})
    people["site"] = np.where(np.arange(n_patients) % 3 == 0, "north", "south")
    people.to_csv(folder / "bids" / "participants.tsv", sep="\t", index=False)
    for owner, table in lesions.groupby(owners):
        label = labels[int(str(owner))]
        rows = table.assign(subject=label, lesion=np.arange(1, len(table) + 1))
        path = output_path(folder / "out", label, {}, Kind.LESION_METRICS, ATLAS)
        save_table(rows[list(LESION_COLUMNS)], path, LESION_COLUMNS)


def lesion_rows(points: np.ndarray, owners: np.ndarray, rng: np.random.Generator) -> pd.DataFrame:
    """Make lesion records at places given in voxels of the embedded atlas."""
    labels = load_builtin().labels
    index = np.floor(points + 0.5).astype(int)
    hit = [structures()[code] for code in labels.data[tuple(index.T)]]
    places = labels.space.voxel_to_world(points.astype(np.float64))
    table = pd.DataFrame(index=range(len(owners)), columns=list(LESION_COLUMNS), dtype=object)
    number = [
        name for name in LESION_COLUMNS if name.endswith(("_mm", "_mm3", "_factor", "_ratio", "_fraction"))
    ]
    table[number] = 1.0
    for axis, name in enumerate("xyz"):
        table[f"atlas_{name}_mm"] = places[:, axis]
    for rule in ("centroid", "nearest", "majority"):
        table[f"structure_{rule}"] = [each.name for each in hit]
        table[f"region_{rule}"] = [each.region for each in hit]
    table["hemisphere"] = [each.hemisphere for each in hit]
    volumes = np.exp(rng.normal(5, 1.5, len(table)))
    table["native_volume_mm3"] = table["atlas_volume_mm3"] = volumes
    table["n_voxels"] = np.maximum(volumes, 1).astype(int)
    classes = np.searchsorted([25, 125, 1000], volumes, side="right")
    table["size_class"] = np.array(["micro", "small", "medium", "large"])[classes]
    table["centroid_source"], table["overlap"] = "mask", "{}"
    table["junction_distance_mm"] = surface_distances_mm(places, labels, "junction")
    table["pial_distance_mm"] = surface_distances_mm(places, labels, "pial")
    return table


if __name__ == "__main__":
    sys.exit(main())
