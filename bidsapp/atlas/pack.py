"""AtlasPack = template, anatomical labels, territories, perfusion: what a patient is compared with."""

import csv
import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bidsapp.atlas.schemes import detect_scheme, to_seganat
from bidsapp.atlas.seganat import N_CLASSES
from bidsapp.errors import DataError, MissingInputError
from bidsapp.geometry.space import Space
from bidsapp.images.nifti import read_labels, read_volume
from bidsapp.images.regrid import on_grid
from bidsapp.images.volume import Volume

logger = logging.getLogger(__name__)

MIN_STRUCTURES = 20
MIN_INSIDE_FRACTION = 0.9
IMAGE_ENDINGS = (".nii.gz", ".nii", ".mgz")


@dataclass(frozen=True)
class AtlasPack:
    """One atlas, checked at birth.

    Parameters
    ----------
    name
        As in file names: ``space-<name>``.
    template
        T1-weighted intensities, finite.
    labels
        SegAnat indices (uint8, 0 to 34) on the grid of `template`.
    territories
        Arterial territories as integers, on any grid of the same world frame, or None.
    territory_names
        Name of every territory that occurs.
    perfusion
        Cerebral blood flow, any unit, on any grid of the same world frame, or None. NaN where unknown.
    checksums
        sha256 of each file it was made from, by file name.

    Raises
    ------
    DataError
        If one of these statements does not hold, or fewer than 20 of the 34 structures are there.
    """

    name: str
    template: Volume
    labels: Volume
    territories: Volume | None
    territory_names: Mapping[int, str]
    perfusion: Volume | None
    checksums: Mapping[str, str]

    def __post_init__(self) -> None:
        if not self.name.isalnum():
            raise DataError(
                f"an atlas name must be letters and digits (it enters file names), got {self.name!r}"
            )
        if not np.isfinite(self.template.data).all() or np.ptp(self.template.data) == 0:
            raise DataError(f"the template of {self.name} must be finite and not constant: set NaN to zero")
        _check_labels(self.name, self.template, self.labels)
        if self.territories is not None:
            codes = np.unique(self.territories.data)
            if self.territories.data.dtype.kind not in "iu" or codes.min() < 0 or codes.max() == 0:
                raise DataError(
                    f"the territories of {self.name} must be whole numbers from zero up, and not all 0"
                )
            nameless = sorted(set(codes.tolist()) - {0} - set(self.territory_names))
            if nameless:
                raise DataError(
                    f"territories {nameless} of {self.name} have no name: add them to the _dseg.tsv"
                )
        if self.perfusion is not None and not (np.nan_to_num(self.perfusion.data) > 0).any():
            raise DataError(f"the perfusion map of {self.name} holds no positive value: check the file")


def _check_labels(name: str, template: Volume, labels: Volume) -> None:
    """Check grid, values and number of structures of an atlas's labels."""
    if not labels.space.matches(template.space):
        raise DataError(
            f"template and labels of {name} must lie on one grid, got {template.space.shape} and "
            f"{labels.space.shape} or different positions: resample the labels"
        )
    if labels.data.dtype != np.uint8 or labels.data.max() >= N_CLASSES:
        raise DataError(
            f"the labels of {name} must be SegAnat indices (uint8, 0 to {N_CLASSES - 1}), "
            f"got {labels.data.dtype} up to {labels.data.max()}: translate them first"
        )
    n_present = np.count_nonzero(np.bincount(labels.data.ravel(), minlength=N_CLASSES)[1:])
    if n_present < MIN_STRUCTURES:
        raise DataError(
            f"the labels of {name} must hold at least {MIN_STRUCTURES} of the {N_CLASSES - 1} structures, "
            f"got {n_present}: use a whole-brain label map"
        )


class _PackFiles(NamedTuple):
    """The files of an atlas folder, by what they are."""

    template: Path
    labels: Path
    label_names: Path | None
    territories: Path | None
    territory_names: Path | None
    perfusion: Path | None


def load_pack(folder: Path) -> AtlasPack:
    """Load a user's atlas from a folder with names as in TemplateFlow.

    ``tpl-<NAME>[_...]_T1w`` and ``tpl-<NAME>[_...]_dseg`` are needed; a second ``_dseg`` whose ``atlas-`` or
    ``desc-`` contains "Arterial" (with a ``_dseg.tsv``) and a ``_cbf`` or ``_perfusion`` map are optional.
    Labels with ``seg-SegAnat`` or ``atlas-SegAnat`` hold SegAnat indices; others are translated.
    Labels on another grid are brought to the template's by nearest neighbour.

    Parameters
    ----------
    folder
        Holds exactly one file of each kind.

    Returns
    -------
    pack
        Named after the template's ``tpl-``.

    Raises
    ------
    MissingInputError
        If the folder, the template, the labels or the names of the territories are missing.
    DataError
        If a kind occurs twice, a file cannot be used or lies elsewhere, or `AtlasPack` refuses the whole.
    """
    paths = _find_files(folder)
    template = read_volume(paths.template)
    territories = perfusion = None
    names: dict[int, str] = {}
    if paths.territories is not None and paths.territory_names is not None:
        territories = read_labels(paths.territories)
        names = read_label_names(paths.territory_names)
        _check_frame(territories, template.space, paths.territories)
    if paths.perfusion is not None:
        perfusion = read_volume(paths.perfusion, allow_nan=True)
        _check_frame(perfusion, template.space, paths.perfusion)
    return AtlasPack(
        name=_entities(paths.template)["tpl"],
        template=template,
        labels=_load_labels(paths, template.space),
        territories=territories,
        territory_names=names,
        perfusion=perfusion,
        checksums={path.name: checksum(path) for path in paths if path is not None},
    )


def checksum(path: Path) -> str:
    """Return the sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_label_names(path: Path) -> dict[int, str]:
    """Read name by code from a BIDS ``_dseg.tsv`` (columns index, name; hemisphere L or R if there is one).

    Parameters
    ----------
    path
        Tab-separated, UTF-8.

    Returns
    -------
    names
        With the side in front where a column hemisphere gives it: "Left Anterior Cerebral Artery".

    Raises
    ------
    DataError
        If a column is missing or an index is no whole number.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        sides = {"L": "Left ", "R": "Right "}
        return {int(row["index"]): sides.get(row.get("hemisphere") or "", "") + row["name"] for row in rows}
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path} must be a tab-separated table with the columns index (whole numbers) and name: mend it"
        ) from error


def _find_files(folder: Path) -> _PackFiles:
    """Choose the files of an atlas folder by their names alone."""
    if not folder.is_dir():
        raise MissingInputError(f"no atlas folder at {folder}: check the path")
    images = [path for path in sorted(folder.glob("tpl-*")) if path.name.endswith(IMAGE_ENDINGS)]
    segmentations = [path for path in images if _suffix(path) == "dseg"]
    arterial = [path for path in segmentations if _is_arterial(path)]
    flow = [path for path in images if _suffix(path).startswith(("cbf", "perfusion"))]
    labels = _only([path for path in segmentations if path not in arterial], "dseg", folder)
    territories = _only(arterial, "atlas-Arterial_dseg", folder) if arterial else None
    territory_names = None if territories is None else _names_beside(territories)
    if territories is not None and territory_names is None:
        raise MissingInputError(
            f"{territories} has no table of names: put a _dseg.tsv (index, name) beside it"
        )
    return _PackFiles(
        template=_only([path for path in images if _suffix(path) == "T1w"], "T1w", folder),
        labels=labels,
        label_names=_names_beside(labels),
        territories=territories,
        territory_names=territory_names,
        perfusion=_only(flow, "cbf", folder) if flow else None,
    )


def _only(paths: list[Path], kind: str, folder: Path) -> Path:
    """Return the one file of a kind."""
    if not paths:
        raise MissingInputError(f"the atlas folder {folder} must hold a tpl-<NAME>_{kind}.nii.gz: add it")
    if len(paths) > 1:
        listed = ", ".join(path.name for path in paths)
        raise DataError(f"the atlas folder {folder} must hold one {kind} image, got {listed}: leave one")
    return paths[0]


def _entities(path: Path) -> dict[str, str]:
    """Split a file name into its entities, without the suffix."""
    parts = path.name.split(".")[0].split("_")[:-1]
    return {key: value for key, _, value in (part.partition("-") for part in parts)}


def _suffix(path: Path) -> str:
    """Return what stands between the last underscore and the first dot of a file name."""
    return path.name.split(".")[0].rpartition("_")[2]


def _is_arterial(path: Path) -> bool:
    """Tell whether a segmentation names itself arterial."""
    entities = _entities(path)
    return any("arterial" in entities.get(key, "").lower() for key in ("atlas", "seg", "desc"))


def _names_beside(path: Path) -> Path | None:
    """Find the table for a segmentation: of those whose entities it shares, the one with most."""
    own = _entities(path).items()
    tables = [table for table in sorted(path.parent.glob("*dseg.tsv")) if _entities(table).items() <= own]
    return max(tables, key=lambda table: len(_entities(table)), default=None)


def _load_labels(paths: _PackFiles, space: Space) -> Volume:
    """Read anatomical labels, translate them to SegAnat and bring them to the template's grid."""
    labels = read_labels(paths.labels)
    _check_frame(labels, space, paths.labels)
    entities = _entities(paths.labels)
    if "seganat" in {entities.get(key, "").lower() for key in ("atlas", "seg", "desc")}:
        if labels.data.max() >= N_CLASSES:
            raise DataError(
                f"{paths.labels} must hold SegAnat indices up to 34, got {labels.data.max()}: rename it"
            )
        labels = Volume(labels.data.astype(np.uint8), labels.space)
    else:
        names = None if paths.label_names is None else read_label_names(paths.label_names)
        codes = set(np.unique(labels.data).tolist())
        translation = to_seganat(labels, detect_scheme(codes, names))
        if translation.unmapped:
            logger.warning("%s: codes without a structure: %s", paths.labels.name, dict(translation.unmapped))
        labels = translation.labels
    if not labels.space.matches(space):
        logger.info("%s brought to the template's grid by nearest neighbour", paths.labels.name)
    return on_grid(labels, space)


def _check_frame(volume: Volume, space: Space, path: Path) -> None:
    """Check that what a map shows lies inside the template's box."""
    index = np.argwhere(np.nan_to_num(volume.data) > 0)
    voxels = space.world_to_voxel(volume.space.voxel_to_world(index.astype(np.float64)))
    is_inside = ((voxels > -0.5) & (voxels < np.array(space.shape) - 0.5)).all(axis=1)
    inside = float(np.sum(is_inside)) / max(1, len(index))
    if inside < MIN_INSIDE_FRACTION:
        raise DataError(
            f"{path} must lie in the template's frame, but only {inside:.0%} of what it shows is inside the "
            "template's box: register it to the template first"
        )
