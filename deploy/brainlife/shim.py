"""Read brainlife's config.json, run the app on it, and write what brainlife shows: product.json."""

# ruff: noqa: INP001 - a script, in no package

import json
import os
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from bidsapp import cli
from bidsapp.bids.names import Kind, output_path
from bidsapp.bids.save import load_table

MASKS = ("mask", "lesion_mask")
PICTURE = re.compile(r"data:(image/(?:png|jpeg));base64,([A-Za-z0-9+/=]+)")
TOP = 12_000_000
"""brainlife refuses a product.json beyond 16 MB."""


def build_dataset(config: Mapping[str, object], folder: Path) -> str:
    """Lay the files of config.json out as BIDS, by links; return the label of the subject."""
    inputs = config.get("_inputs")
    meta = inputs[0].get("meta", {}) if isinstance(inputs, list) and inputs else {}
    subject = "".join(sign for sign in str(meta.get("subject", "")) if sign.isalnum()) or "brainlife"
    mask = next((config[name] for name in MASKS if config.get(name)), None)
    places = {
        "": (config["t1"], f"sub-{subject}_T1w.nii.gz"),
        "derivatives/segmentation": (config["parc"], f"sub-{subject}_dseg.nii.gz"),
        "derivatives/lesions": (mask, f"sub-{subject}_label-lesion_mask.nii.gz"),
    }
    for part, (source, name) in places.items():
        if source is None:
            continue
        anat = folder / part / f"sub-{subject}" / "anat"
        anat.mkdir(parents=True)
        (anat / name).symlink_to(Path(str(source)).resolve())
        description = {"Name": part or "brainlife", "BIDSVersion": "1.10.0", "License": "As the input"}
        if part:
            description |= {"DatasetType": "derivative", "GeneratedBy": [{"Name": "brainlife"}]}
        (folder / part / "dataset_description.json").write_text(json.dumps(description), encoding="utf-8")
    return subject


def write_product(out: Path, subject: str, status: int, folder: Path, atlas: str) -> None:
    """Tell brainlife how it went: a message, how good the alignment is, and what was found of the lesions."""
    messages: list[dict[str, object]] = []
    metrics = output_path(out, subject, {}, Kind.REGISTRATION_METRICS, atlas)
    if status == 0 and metrics.is_file():
        summary = load_table(metrics).iloc[0]
        n_lesions = len(load_table(output_path(out, subject, {}, Kind.LESION_METRICS, atlas)))
        words = f"mean Dice {summary['dice_mean']:.3f}, {n_lesions} lesions; look at the page before use"
        messages.append({"type": "info", "msg": words})
    else:
        messages.append({"type": "error", "msg": f"the app ended with status {status}: see the log"})
    page = folder / "html" / "index.html"
    pictures = PICTURE.findall(page.read_text(encoding="utf-8")) if page.is_file() else []
    size = 0
    for number, (kind, encoded) in enumerate(pictures, start=1):
        size += len(encoded)
        if size < TOP:
            messages.append({"type": kind, "name": f"figure {number}", "base64": encoded})
    product = {"brainlife": messages, "tags": [atlas]}
    (folder / "product.json").write_text(json.dumps(product), encoding="utf-8")


def main() -> int:
    """Run the app on ``config.json`` of the working folder."""
    from bidsapp.atlas.builtin import NAME  # noqa: PLC0415 - after threads and caches are set

    here = Path.cwd()
    config = json.loads((here / "config.json").read_text(encoding="utf-8"))
    bids, out = here / "bids", here / "output"
    shutil.rmtree(bids, ignore_errors=True)
    subject = build_dataset(config, bids)
    options = ["--sloppy"] if config.get("sloppy") else []
    if os.environ.get("OMP_NUM_THREADS"):
        options += ["--omp-nthreads", os.environ["OMP_NUM_THREADS"]]
    status = cli.main([str(bids), str(out), "participant", "--skip-bids-validation", *options])
    pages = here / "html"
    pages.mkdir(exist_ok=True)
    for page in out.glob("sub-*.html"):
        shutil.copy(page, pages / "index.html")
    write_product(out, subject, status, here, NAME)
    return status


if __name__ == "__main__":
    sys.exit(main())
