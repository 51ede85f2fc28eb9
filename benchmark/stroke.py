"""python -m benchmark.stroke: 97 real stroke masks as a group, with a map of arterial territories."""

import argparse
import json
import logging
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.ndimage import affine_transform
from scipy.stats import binomtest

from benchmark.measure import RESULTS
from benchmark.provenance import describe_provenance
from benchmark.readme import fill
from benchmark.running import ROOT
from benchmark.summary import load_json
from bidsapp.atlas.builtin import load_builtin
from bidsapp.bids.names import group_path
from bidsapp.bids.save import load_table, save_json, save_text
from bidsapp.errors import MetsAtlasError, MissingInputError
from bidsapp.geometry.space import Space
from bidsapp.group import run_group
from bidsapp.images.nifti import read_labels, write_volume
from bidsapp.images.regrid import on_grid
from bidsapp.images.volume import Volume
from bidsapp.settings import GroupSettings, RunSettings, Selection

NAME = "stroke"
MARKERS = ("<!-- stroke:start -->", "<!-- stroke:end -->")
NOTE = "<!-- written by python -m benchmark.stroke --docs docs: change the measurement, not these lines -->"
SHARED = ROOT.parent / "shared" / "data"
COLUMNS = (
    "region", "n_observed", "n_expected", "ratio", "clustered_ratio_low", "clustered_ratio_high",
    "bonferroni_p_value", "clustered_bonferroni_p_value", "clustered_significant",
)  # fmt: skip

logger = logging.getLogger("benchmark")


def main(arguments: Sequence[str] | None = None) -> int:
    """Analyse the masks and return the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(prog="python -m benchmark.stroke", description=__doc__)
    parser.add_argument("--data", type=Path, default=SHARED, metavar="FOLDER", help="lesions_mni/ and maps/")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER", help="where the JSON goes")
    parser.add_argument("--docs", type=Path, metavar="FOLDER", help="docs whose table is filled")
    options = parser.parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory(prefix="metsatlas-stroke-") as temporary:
            result = measure(options.data, Path(temporary))
        save_json(result, options.results / f"{NAME}.json")
        if options.docs:
            page = options.docs / "statistics.md"
            table = write_table(load_json(options.results / f"{NAME}.json"))
            save_text(fill(page.read_text(encoding="utf-8"), table, MARKERS, page.name), page)
    except MetsAtlasError as error:
        logger.error("%s", error)  # noqa: TRY400 (one clear line, no traceback)
        return error.exit_status
    return 0


def measure(data: Path, work: Path) -> dict[str, object]:
    """Run the group on the masks and take what the territories say.

    Raises
    ------
    MissingInputError
        If masks or map are not there.
    """
    masks, maps = data / "lesions_mni" / "stroke", data / "maps"
    paths = sorted(masks.glob("sub-*_mask.nii.gz"))
    if not paths or not maps.is_dir():
        raise MissingInputError(
            f"{data} must hold lesions_mni/stroke and maps: name their folder with --data"
        )
    write_atlas(read_labels(paths[0]).space, maps, work / "atlas")
    settings = RunSettings(
        selection=Selection(bids_dir=masks),
        output_dir=work / "out",
        work_dir=work,
        atlas=work / "atlas",
        group=GroupSettings(lesions_in_atlas_space=masks),
    )
    run_group(settings)
    fractions = load_table(group_path(work / "out", "territory_fractions")).set_index("subject")
    summary = json.loads(group_path(work / "out", "summary").with_suffix(".json").read_text(encoding="utf-8"))
    tables = {
        level: load_table(group_path(work / "out", f"territories_{level}"))[list(COLUMNS)]
        for level in ("circulation", "group")
    }
    return {
        "case": NAME,
        "data": f"{len(paths)} masks of acute stroke in MNI152",
        "sloppy": False,
        "provenance": describe_provenance("python -m benchmark.stroke"),
        "n_patients": summary["n_patients_used"],
        "n_lesions": summary["n_lesions"],
        "omnibus_simulated": summary["omnibus_simulated"],
        "territories": {level: table.to_dict("records") for level, table in tables.items()},
        "main_arteries": main_arteries(fractions, tables["group"].set_index("region")["n_expected"]),
        "mean_fractions": fractions.mean().round(4).to_dict(),
        "patient_fractions": {
            str(subject): {name: round(float(share), 3) for name, share in row.items() if share > 0}
            for subject, row in fractions.iterrows()
        },
        "mca": tables["group"][tables["group"]["region"] == "MCA"].to_dict("records")[0],
    }


def main_arteries(fractions: pd.DataFrame, expected: pd.Series) -> dict[str, dict[str, float]]:
    """Count patients by the artery with the largest share of their lesion volume: each patient once.

    Null hypothesis: it is an artery with its share of the volume. Exact binomial, two-sided, Bonferroni.
    """
    shares = expected / expected.sum()
    inside = fractions[list(shares.index)]
    main = inside[inside.sum(axis=1) > 0].idxmax(axis=1).value_counts().reindex(shares.index, fill_value=0)
    n_patients = int(main.sum())
    return {
        str(name): {
            "n_patients": int(main[name]),
            "n_expected": float(n_patients * shares[name]),
            "p_value": min(
                1.0, len(shares) * float(binomtest(int(main[name]), n_patients, float(shares[name])).pvalue)
            ),
        }
        for name in shares.index
    }


def write_atlas(space: Space, maps: Path, folder: Path) -> None:
    """Write the embedded atlas on the grid of the masks, with the map of territories beside it."""
    atlas = load_builtin()
    matrix = atlas.template.space.inverse_affine @ space.affine
    template = affine_transform(
        atlas.template.data.astype(np.float32), matrix, output_shape=space.shape, order=1, mode="nearest"
    )
    folder.mkdir(parents=True)
    write_volume(Volume(template, space), folder / "tpl-MNI152_T1w.nii.gz")
    write_volume(on_grid(atlas.labels, space), folder / "tpl-MNI152_seg-SegAnat_dseg.nii.gz")
    for path in maps.glob("*_atlas-Arterial*"):
        shutil.copy(path, folder / path.name)


def write_table(result: Mapping[str, Any]) -> str:
    """Write the arteries as Markdown."""
    rows = [*result["territories"]["circulation"], *result["territories"]["group"]]
    means = result["mean_fractions"]
    headings = (
        "artery or circulation", "pieces", "expected by volume", "ratio", "95 % interval",
        "p, patients kept together", "mean share of a patient's lesion volume",
    )  # fmt: skip
    lines = [
        NOTE,
        f"{result['n_patients']} patients, {result['n_lesions']} connected pieces of lesion:",
        "",
        f"| {' | '.join(headings)} |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        low, high, p = (row[name] for name in COLUMNS[4:6] + COLUMNS[7:8])
        share = means.get(str(row["region"]))
        lines.append(
            f"| {row['region']} | {row['n_observed']} | {row['n_expected']:.1f} | {row['ratio']:.2f} "
            f"| {low:.2f} to {high:.2f} | {'< 0.0001' if p < 1e-4 else f'{p:.2g}'} "
            f"| {'' if share is None else f'{100 * share:.0f} %'} |"
        )
    main = [
        f"{name} {row['n_patients']} (expected {row['n_expected']:.1f}, p {row['p_value']:.2g})"
        for name, row in result["main_arteries"].items()
    ]
    words = "Patients by the artery with the largest share of their lesion volume, each patient once"
    lines += ["", f"{words} (exact binomial, Bonferroni over the four): {', '.join(main)}."]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
