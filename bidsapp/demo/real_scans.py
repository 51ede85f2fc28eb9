"""Virtual tumours in scans that exist: one scan by its files, or every scan of a BIDS dataset."""

import json
import logging
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from bidsapp.atlas.schemes import detect_scheme, to_seganat
from bidsapp.bids.find import SubjectFiles, find_participants, find_scans
from bidsapp.bids.load import load_subject
from bidsapp.bids.names import scan_name
from bidsapp.bids.save import save_structures, save_table, save_text, save_volume
from bidsapp.bids.sidecars import read_label_names, read_sidecar
from bidsapp.demo.dataset import TRUTH_COLUMNS, VirtualScan, start_dataset, write_scan, write_truth
from bidsapp.demo.implant import Implanted, implant
from bidsapp.demo.placement import region_volumes_mm3
from bidsapp.demo.plan import Inside, Lesions, default_rates, draw_places, draw_tumours
from bidsapp.errors import DataError, MissingInputError, SelectionError, UsageError
from bidsapp.images.nifti import read_labels, read_volume
from bidsapp.images.regrid import on_grid
from bidsapp.images.volume import Volume
from bidsapp.settings import Selection

logger = logging.getLogger(__name__)

MOST_ATTEMPTS = 10
NOTES: Mapping[str, object] = {"Virtual": True, "Description": "A real scan with virtual tumours implanted."}
README = """# Virtual lesions

The tumours in these scans are virtual: `python -m bidsapp.demo implant-dataset` painted them into existing
scans, whose own terms of use still hold. The truth about every tumour lies in
`sourcedata/truth/lesions.tsv`; `docs/demo.md` of MetsAtlas explains it.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImplantPlan:
    """The choices behind tumours in existing scans.

    Parameters
    ----------
    seed
        The same plan and seed give the same tumours in the same scan, whatever other scans there are.
    n_lesions
        Fewest and most tumours of a scan.
    diameters_mm
        Used in turn; empty: drawn like those of metastases.
    structures
        Used in turn; empty: drawn with the preference of the virtual cohort.
    mass_effect_mm
        Push at the surface of each tumour; small ones push by at most half their radius.
    inside
        What the label map holds inside the tumours.

    Raises
    ------
    UsageError
        If a number is out of range.
    """

    seed: int = 1
    n_lesions: tuple[int, int] = (1, 6)
    diameters_mm: tuple[float, ...] = ()
    structures: tuple[str, ...] = ()
    mass_effect_mm: float = 0.0
    inside: Inside = "background"

    def __post_init__(self) -> None:
        if not 1 <= self.n_lesions[0] <= self.n_lesions[1] <= 255:
            raise UsageError(
                f"lesions per scan: two rising numbers from 1 to 255 are needed, got {self.n_lesions}"
            )
        if self.seed < 0 or self.mass_effect_mm < 0:
            raise UsageError(
                f"seed and mass effect must not be negative, got {self.seed} and {self.mass_effect_mm:g}"
            )


def implant_drawn(t1w: Volume, labels: Volume, plan: ImplantPlan, name: str) -> Implanted:
    """Draw tumours for one scan and implant them; drawn anew, places too, when there is no room for all.

    Parameters
    ----------
    t1w, labels
        Scan and SegAnat labels on one grid.
    plan
        How many, how large and where.
    name
        Of the scan; with the plan's seed it decides what is drawn.

    Raises
    ------
    DataError
        If none of ten draws fits.
    """
    volumes = region_volumes_mm3(labels)
    rng = np.random.default_rng([plan.seed, zlib.crc32(name.encode())])
    for attempt in range(1, MOST_ATTEMPTS + 1):
        n = int(rng.integers(plan.n_lesions[0], plan.n_lesions[1] + 1))
        if plan.structures:
            places = tuple(plan.structures[number % len(plan.structures)] for number in range(n))
        else:
            places = draw_places(n, default_rates(), volumes, rng)
        tumours = draw_tumours(
            places, rng, diameters_mm=plan.diameters_mm, mass_effect_mm=plan.mass_effect_mm
        )
        try:
            return implant(t1w, labels, Lesions(tumours, plan.inside), rng)
        except DataError as error:
            if attempt == MOST_ATTEMPTS:
                raise
            logger.info("%s: drawing again, %s", name, error)
    raise AssertionError("the last attempt returns or raises")


def implant_files(t1w_path: Path, labels_path: Path, plan: ImplantPlan, outputs: Mapping[str, Path]) -> None:
    """Implant tumours into one scan given by its files.

    Parameters
    ----------
    t1w_path
        The scan, in any grid.
    labels_path
        Its label map, in FreeSurfer's or Neuromorphometrics' codes; another grid is resampled.
    plan
        The tumours.
    outputs
        Where to write ``t1w``, ``mask``, ``dseg`` (FreeSurfer codes) and ``truth`` (``.tsv``).
    """
    t1w = read_volume(t1w_path)
    original = read_labels(labels_path)
    codes = {int(code) for code in np.unique(original.data)}
    labels = to_seganat(original, detect_scheme(codes, read_label_names(labels_path))).labels
    done = implant_drawn(t1w, on_grid(labels, t1w.space), plan, t1w_path.name)
    save_volume(_like(t1w, done.t1w), outputs["t1w"], NOTES)
    save_volume(done.mask, outputs["mask"], {"Virtual": True, "Type": "Lesion"})
    save_structures(done.labels, outputs["dseg"], {"Virtual": True})
    save_table(done.truth.assign(labels_inside=plan.inside), outputs["truth"], TRUTH_COLUMNS)


def implant_dataset(selection: Selection, folder: Path, plan: ImplantPlan) -> None:
    """Make a BIDS dataset of the scans of another one with virtual tumours, masks, labels and truth.

    Scans without a label map are left out, and so are scans that have a tumour mask already; the log says
    which.

    Parameters
    ----------
    selection
        The existing dataset.
    folder
        New or empty.
    plan
        The tumours.

    Raises
    ------
    SelectionError
        If no scan can be used.
    OutputError
        If the folder holds something or cannot be written.
    """
    scans = [
        files
        for participant in find_participants(selection)
        for files in _scans_or_none(selection, participant)
        if _is_usable(files)
    ]
    if not scans:
        raise SelectionError(
            f"no scan of {selection.bids_dir} has a label map and no tumours yet: give label maps with -d"
        )
    description = _describe(selection.bids_dir)
    start_dataset(folder, description, README)
    truths = [_implant_scan(files, folder, plan) for files in scans]
    write_truth(folder, pd.concat(truths, ignore_index=True))
    _copy_participants(selection.bids_dir, folder, {f"sub-{files.subject}" for files in scans})


def _implant_scan(files: SubjectFiles, folder: Path, plan: ImplantPlan) -> pd.DataFrame:
    """Implant tumours into one scan of a dataset and write it."""
    subject = load_subject(files)
    name = scan_name(files.subject, files.entities)
    done = implant_drawn(subject.t1w, on_grid(subject.labels, subject.t1w.space), plan, name)
    scan = VirtualScan(files.subject, files.entities, _like(subject.t1w, done.t1w), done.labels, done.mask)
    write_scan(folder, scan, {**read_sidecar(files.t1w), **NOTES})
    logger.info("%s: %d virtual tumours", name, len(done.truth))
    truth = done.truth.assign(labels_inside=plan.inside)
    truth.insert(0, "participant_id", f"sub-{files.subject}")
    truth.insert(1, "session_id", f"ses-{files.session}" if files.session else "n/a")
    return truth


def _scans_or_none(selection: Selection, participant: str) -> tuple[SubjectFiles, ...]:
    """Find the scans of a participant; a participant without any is passed over."""
    try:
        return find_scans(selection, participant)
    except MissingInputError as error:
        logger.warning("left out: %s", error)
        return ()


def _is_usable(files: SubjectFiles) -> bool:
    """Tell whether a scan can get virtual tumours, and log why not."""
    if files.labels is None:
        logger.warning("left out: %s has no label map", files.t1w.name)
    elif files.lesion_mask is not None:
        logger.warning("left out: %s has tumours of its own", files.t1w.name)
    return files.labels is not None and files.lesion_mask is None


def _like(t1w: Volume, done: Volume) -> Volume:
    """Store a scan with implanted tumours as whole numbers if the scan it came from was."""
    if t1w.data.dtype.kind not in "iu":
        return done
    kind = np.int16 if np.abs(done.data).max() < np.iinfo(np.int16).max else np.int32
    return Volume(np.rint(done.data).astype(kind), done.space)


def _describe(bids_dir: Path) -> Mapping[str, object]:
    """Name the new dataset after the old one; authors and licence are passed on."""
    path = bids_dir / "dataset_description.json"
    try:
        old = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise DataError(f"{path} must be a JSON file, but cannot be read: {error}") from error
    kept = {key: old[key] for key in ("Authors", "License", "Acknowledgements", "Funding") if key in old}
    return {"Name": f"Virtual lesions in: {old.get('Name', 'a dataset without a name')}", **kept}


def _copy_participants(bids_dir: Path, folder: Path, kept: set[str]) -> None:
    """Pass on the participants' table for those that are still there."""
    table, notes = bids_dir / "participants.tsv", bids_dir / "participants.json"
    if not table.is_file():
        return
    header, *rows = table.read_text(encoding="utf-8").splitlines()
    wanted = [row for row in rows if row.split("\t")[0] in kept]
    save_text("\n".join([header, *wanted]) + "\n", folder / table.name)
    if notes.is_file():
        save_text(notes.read_text(encoding="utf-8"), folder / notes.name)
