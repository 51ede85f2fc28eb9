"""Virtual scans as a BIDS dataset: names, sidecars, and the truth beside them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import pandas as pd

from bidsapp.bids.names import scan_name
from bidsapp.bids.save import save_json, save_structures, save_table, save_text, save_volume
from bidsapp.errors import OutputError
from bidsapp.images.volume import Volume

BIDS_VERSION = "1.10.0"
SEGMENTATION, LESIONS = "segmentation", "lesions"
TRUTH_FOLDER = Path("sourcedata") / "truth"

TRUTH_COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "participant_id": "The virtual patient.",
        "session_id": "The session, where the patient has several.",
        "lesion": "Number of the tumour in its scan, from 1.",
        "x_mm": "Centre of gravity of the tumour's mask voxels, native world RAS+.",
        "y_mm": "As x_mm.",
        "z_mm": "As x_mm.",
        "planned_x_mm": "Centre of gravity of the body that was drawn, native world RAS+.",
        "planned_y_mm": "As planned_x_mm.",
        "planned_z_mm": "As planned_x_mm.",
        "atlas_x_mm": "x_mm, y_mm, z_mm sent to the atlas by the true map, world RAS+.",
        "atlas_y_mm": "As atlas_x_mm.",
        "atlas_z_mm": "As atlas_x_mm.",
        "diameter_mm": "Diameter of the sphere with the tumour's planned volume.",
        "volume_mm3": "Volume of the mask voxels.",
        "structure": "Structure the place was drawn from.",
        "atlas_structure": "Structure of the atlas at atlas_x_mm, atlas_y_mm, atlas_z_mm.",
        "kind": "solid, or ring: a bright rim around a dark core.",
        "mass_effect_mm": "Push of the surrounding tissue at the tumour's surface.",
        "labels_inside": "What the label map holds inside: background, a wrong structure, or what was there.",
    }
)


@dataclass(frozen=True, slots=True)
class VirtualScan:
    """What is written for one scan.

    Parameters
    ----------
    subject
        Label without "sub-".
    entities
        ``ses``, ``ce`` and others of the T1w, in BIDS order.
    t1w, labels, mask
        On one grid; labels are SegAnat indices. Labels and mask are None where another scan on the same
        grid has them.
    """

    subject: str
    entities: Mapping[str, str]
    t1w: Volume
    labels: Volume | None
    mask: Volume | None


def start_dataset(folder: Path, description: Mapping[str, object], readme: str) -> None:
    """Write the descriptions of a raw dataset and of its two derivatives.

    Parameters
    ----------
    folder
        The raw dataset.
    description
        ``Name`` and other fields of its dataset_description.json.
    readme
        Text of the README, the same for all.

    Raises
    ------
    OutputError
        If the folder has something in it.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(f"the virtual dataset needs a new or empty folder, got {folder}: name another")
    common = {**description, "BIDSVersion": BIDS_VERSION, "Virtual": True}
    maker = {"Name": "MetsAtlas", "Description": "python -m bidsapp.demo"}
    save_json({**common, "DatasetType": "raw", "GeneratedBy": [maker]}, folder / "dataset_description.json")
    save_text(readme, folder / "README.md")
    for part, what in ((SEGMENTATION, "anatomical label maps"), (LESIONS, "virtual tumour masks")):
        derivative = {
            **common,
            "Name": f"{description['Name']}: {what}",
            "DatasetType": "derivative",
            "GeneratedBy": [{**maker, "Name": part}],
            "DatasetLinks": {"raw": "../.."},
        }
        save_json(derivative, folder / "derivatives" / part / "dataset_description.json")
        save_text(readme, folder / "derivatives" / part / "README.md")


def write_scan(folder: Path, scan: VirtualScan, notes: Mapping[str, object]) -> None:
    """Write a T1w, its label map and its tumour mask, each with a sidecar that says "Virtual".

    Parameters
    ----------
    folder
        The raw dataset.
    scan
        What to write.
    notes
        Added to the sidecar of the T1w.
    """
    session = f"ses-{scan.entities['ses']}" if "ses" in scan.entities else ""
    inside = Path(f"sub-{scan.subject}", session, "anat")
    name = scan_name(scan.subject, scan.entities)
    t1w = inside / f"{name}_T1w.nii.gz"
    save_volume(scan.t1w, folder / t1w, {"Virtual": True, **notes})
    made = {"Virtual": True, "SpatialReference": "orig", "Sources": [f"bids:raw:{t1w.as_posix()}"]}
    derivatives = folder / "derivatives"
    if scan.labels is not None:
        path = derivatives / SEGMENTATION / inside / f"{name}_desc-aseg_dseg.nii.gz"
        save_structures(scan.labels, path, made)
    if scan.mask is not None:
        path = derivatives / LESIONS / inside / f"{name}_label-lesion_mask.nii.gz"
        save_volume(scan.mask, path, {**made, "Type": "Lesion"})


def write_truth(folder: Path, truth: pd.DataFrame) -> None:
    """Write the table of all implanted tumours below the raw dataset."""
    columns = [name for name in TRUTH_COLUMNS if name in truth.columns]
    save_table(truth[columns], folder / TRUTH_FOLDER / "lesions.tsv", TRUTH_COLUMNS)
