"""Entities <-> file names: every name the app writes, in one table."""

import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType

from bidsapp.errors import DataError

SOURCE_ENTITIES = ("ses", "task", "acq", "ce", "rec", "run", "echo", "part")
"""Entities of the T1w scan that are kept in output names, in the order BIDS asks for."""

_LABEL = re.compile(r"[0-9A-Za-z+]+")
_RUN_ID = re.compile(r"[0-9A-Za-z_-]+")


class Kind(StrEnum):
    """What a file of one scan holds; the value is its path below the output folder.

    ``{folder}`` is ``sub-01`` or ``sub-01/ses-02``, ``{scan}`` is ``sub-01[_ses-02][_ce-gadolinium]...``, and
    ``{space}`` names the atlas. A sidecar has the same name with ``.json`` (see `sidecar_path`).
    """

    WARPED_T1W = "{folder}/anat/{scan}_space-{space}_res-1_T1w.nii.gz"
    STRUCTURES = "{folder}/anat/{scan}_space-{space}_seg-SegAnat_res-1_dseg.nii.gz"
    LESION_MASK = "{folder}/anat/{scan}_space-{space}_res-1_label-lesion_mask.nii.gz"
    LESION_INSTANCES = "{folder}/anat/{scan}_space-{space}_seg-lesions_res-1_dseg.nii.gz"
    NATIVE_LESION_MASK = "{folder}/anat/{scan}_space-orig_label-lesion_mask.nii.gz"
    FIXED_TO_MOVING = "{folder}/anat/{scan}_from-T1w_to-{space}_mode-image_xfm.h5"
    MOVING_TO_FIXED = "{folder}/anat/{scan}_from-{space}_to-T1w_mode-image_xfm.h5"
    JACOBIAN = "{folder}/anat/{scan}_from-T1w_to-{space}_mode-image_desc-jacobian_xfm.nii.gz"
    REGISTRATION_METRICS = "{folder}/anat/{scan}_desc-registration_metrics.tsv"
    STRUCTURE_METRICS = "{folder}/anat/{scan}_desc-structures_metrics.tsv"
    LESION_METRICS = "{folder}/anat/{scan}_desc-lesions_metrics.tsv"
    CONVERGENCE_METRICS = "{folder}/anat/{scan}_desc-convergence_metrics.tsv"
    REPORT = "{scan}.html"


class LogKind(StrEnum):
    """What a run remembers about one scan; the value is its path below the output folder."""

    STATUS = "sub-{subject}/log/{run_id}/{scan}_status.json"
    SETTINGS = "sub-{subject}/log/{run_id}/{scan}_settings.json"
    CRASH = "sub-{subject}/log/{run_id}/{scan}_crash.txt"


def output_path(output_dir: Path, subject: str, entities: Mapping[str, str], kind: Kind, space: str) -> Path:
    """Name one output file of one scan.

    Different scans never share a name: every entity is kept, and labels cannot hold the separators.

    Parameters
    ----------
    output_dir
        The derivative dataset.
    subject
        Label without "sub-".
    entities
        Entities of the T1w scan to their labels, in any order; a session is one of them (``ses``).
    kind
        What the file holds.
    space
        Name of the atlas, such as "MNI152NLin2009aSym".

    Raises
    ------
    DataError
        If a label is not made of letters, digits and "+", an entity cannot be kept (`SOURCE_ENTITIES`), or
        the atlas is called like the patient's own space.

    Examples
    --------
    >>> output_path(Path("out"), "01", {"run": "1", "ses": "02"}, Kind.LESION_MASK, "MNI").as_posix()
    'out/sub-01/ses-02/anat/sub-01_ses-02_run-1_space-MNI_res-1_label-lesion_mask.nii.gz'
    """
    if space in {"T1w", "orig"}:
        raise DataError(
            f"the atlas must not be called like the patient's own space, got {space!r}: rename it"
        )
    scan = scan_name(subject, entities)
    folder = f"sub-{subject}/ses-{entities['ses']}" if "ses" in entities else f"sub-{subject}"
    return output_dir / kind.value.format(folder=folder, scan=scan, space=_checked("space", space))


def log_path(output_dir: Path, subject: str, entities: Mapping[str, str], kind: LogKind, run_id: str) -> Path:
    """Name what one run remembers about one scan.

    Raises
    ------
    DataError
        If a label, entity or `run_id` (letters, digits, "-" and "_") is not allowed in a name.

    Examples
    --------
    >>> log_path(Path("out"), "01", {}, LogKind.STATUS, "20260213-120000_ab12").as_posix()
    'out/sub-01/log/20260213-120000_ab12/sub-01_status.json'
    """
    if not _RUN_ID.fullmatch(run_id):
        raise DataError(f"a run id must be made of letters, digits, '-' and '_', got {run_id!r}")
    scan = scan_name(subject, entities)
    return output_dir / kind.value.format(subject=subject, run_id=run_id, scan=scan)


def latest_log(output_dir: Path, subject: str, entities: Mapping[str, str], kind: LogKind) -> Path | None:
    """Find what the newest run remembers about one scan: run ids start with the time, the last one wins."""
    name = log_path(output_dir, subject, entities, kind, "any").name
    return max((output_dir / f"sub-{subject}" / "log").glob(f"*/{name}"), default=None)


def group_path(output_dir: Path, name: str) -> Path:
    """Name a table of the whole group, ``group/<name>.tsv``.

    Raises
    ------
    DataError
        If `name` is not made of letters, digits and "_".

    Examples
    --------
    >>> group_path(Path("out"), "lesion_regions").as_posix()
    'out/group/lesion_regions.tsv'
    """
    for part in name.split("_"):
        _checked("group table", part)
    return output_dir / "group" / f"{name}.tsv"


def group_report_path(output_dir: Path) -> Path:
    """Name the page of the whole group."""
    return output_dir / "group.html"


def group_map_path(output_dir: Path, space: str, quantity: str, suffix: str = "probseg") -> Path:
    """Name a map of the whole group on the atlas grid.

    Parameters
    ----------
    output_dir
        The derivative dataset.
    space
        Name of the atlas.
    quantity
        What the voxels hold, such as "frequency".
    suffix
        "probseg" for shares, "statmap" for statistics.

    Raises
    ------
    DataError
        If `space` or `quantity` is not made of letters, digits and "+".

    Examples
    --------
    >>> group_map_path(Path("out"), "MNI", "frequency").as_posix()
    'out/tpl-MNI/anat/tpl-MNI_res-1_label-L_desc-frequency_probseg.nii.gz'
    """
    template = f"tpl-{_checked('space', space)}"
    name = f"{template}_res-1_label-L_desc-{_checked('desc', quantity)}_{suffix}.nii.gz"
    return output_dir / template / "anat" / name


def find_outputs(output_dir: Path, kind: Kind, space: str) -> tuple[Path, ...]:
    """List the files of one kind that are there, over all subjects and sessions, sorted by path."""
    _checked("space", space)
    folders = ("sub-*", "sub-*/ses-*") if kind.value.startswith("{folder}") else ("",)
    found = {
        path
        for folder in folders
        for path in output_dir.glob(kind.value.format(folder=folder, scan="sub-*", space=space))
    }
    return tuple(sorted(found))


def parse_scan(path: Path) -> tuple[str, Mapping[str, str]]:
    """Read subject and source entities back from the name of an output file.

    Raises
    ------
    DataError
        If the name does not start with ``sub-<label>``.

    Examples
    --------
    >>> subject, entities = parse_scan(Path("sub-01_ses-02_space-MNI_res-1_T1w.nii.gz"))
    >>> subject, dict(entities)
    ('01', {'ses': '02'})
    """
    parts = [part.split("-", 1) for part in path.name.split(".")[0].split("_") if "-" in part]
    if not parts or parts[0][0] != "sub":
        raise DataError(f"an output file's name must start with sub-<label>, got {path.name!r}")
    return parts[0][1], MappingProxyType({key: label for key, label in parts if key in SOURCE_ENTITIES})


def scan_name(subject: str, entities: Mapping[str, str]) -> str:
    """Join subject and source entities, in BIDS order, to the stem all names of a scan start with.

    Raises
    ------
    DataError
        If a label is not made of letters, digits and "+", or an entity is not one of `SOURCE_ENTITIES`.

    Examples
    --------
    >>> scan_name("01", {"run": "1", "ce": "gadolinium"})
    'sub-01_ce-gadolinium_run-1'
    """
    unknown = sorted(set(entities) - set(SOURCE_ENTITIES))
    if unknown:
        raise DataError(
            f"entities of a scan must be among {', '.join(SOURCE_ENTITIES)}, got {', '.join(unknown)}: "
            "rename the scan, or leave it out with a filter file"
        )
    pairs = [("sub", subject), *((key, entities[key]) for key in SOURCE_ENTITIES if key in entities)]
    return "_".join(f"{key}-{_checked(key, label)}" for key, label in pairs)


def sidecar_path(path: Path) -> Path:
    """Name the JSON file that describes `path`.

    Examples
    --------
    >>> sidecar_path(Path("sub-01_T1w.nii.gz")).name
    'sub-01_T1w.json'
    """
    return path.with_name(path.name.split(".")[0] + ".json")


def lookup_path(path: Path) -> Path:
    """Name the table that says which structure each value of the label map `path` is.

    Examples
    --------
    >>> lookup_path(Path("sub-01_seg-lesions_dseg.nii.gz")).name
    'sub-01_seg-lesions_dseg.tsv'
    """
    return sidecar_path(path).with_suffix(".tsv")


def bids_uri(dataset: str, root: Path, path: Path) -> str:
    """Point to a file of a linked dataset, as ``Sources`` in a sidecar asks for.

    Parameters
    ----------
    dataset
        Its name in ``DatasetLinks``: "raw", or the name given with ``-d NAME=PATH``.
    root
        Its folder.
    path
        A file inside it.

    Raises
    ------
    DataError
        If `path` is not inside `root`.

    Examples
    --------
    >>> bids_uri("raw", Path("/data"), Path("/data/sub-01/anat/sub-01_T1w.nii.gz"))
    'bids:raw:sub-01/anat/sub-01_T1w.nii.gz'
    """
    if not path.is_relative_to(root):
        raise DataError(f"{path} must lie inside the {dataset} dataset {root} to be named as its file")
    return f"bids:{dataset}:{path.relative_to(root).as_posix()}"


def _checked(entity: str, label: str) -> str:
    """Return a label that is safe in a path."""
    if not _LABEL.fullmatch(label):
        raise DataError(
            f"the label of {entity} must be made of letters, digits and '+', got {label!r}: rename it"
        )
    return label
