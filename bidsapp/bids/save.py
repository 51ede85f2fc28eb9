"""Volumes, tables and texts -> files that are whole or not there at all."""

import dataclasses
import errno
import json
import math
import re
import uuid
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd

from bidsapp.atlas.seganat import Structure, structures
from bidsapp.bids.names import lookup_path, sidecar_path
from bidsapp.errors import DataError, MissingInputError, OutputError, ReadWriteError
from bidsapp.images.nifti import write_volume
from bidsapp.images.volume import Volume

SIGNIFICANT_DIGITS = 6
"""Digits a number keeps in a table: enough for any measurement, few enough to be the same in every run."""

UNITS = MappingProxyType(
    {"mm": "mm", "mm2": "mm^2", "mm3": "mm^3", "ml": "mL", "s": "s", "degrees": "degree", "percent": "%"}
)
"""Word of a column's name -> its unit, as in ``volume_mm3`` or ``hd_mm_mean``; other numbers have unit 1."""

_HALF_WRITTEN = re.compile(r"\.[0-9a-f]{12}_(.+)")
_TRIES = 5
_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}
_REFUSED = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG,
}  # fmt: skip
_LOOKUP_COLUMNS = MappingProxyType(
    {
        "index": "Value of the voxels.",
        "name": "Name of the structure.",
        "abbreviation": "Short name.",
        "color": "Hexadecimal RGB.",
        "mapping": "Label of the common BIDS table: 0 background, 1 grey matter, 2 white matter, 3 CSF, "
        "7 lesion, 8 cortical grey matter, 9 subcortical grey matter, 10 brain stem, 11 cerebellum.",
    }
)


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a temporary neighbour of `path` to write to, and move it into place when all went well.

    Readers, and runs that write the same file at the same time, see the old file or the new one, never half
    of one. When anything fails the temporary file is removed and `path` stays as it was.

    Parameters
    ----------
    path
        The file to write; missing folders are made.

    Raises
    ------
    OutputError
        If the folder cannot be made or nothing may be written in it.
    ReadWriteError
        If writing fails half way, as on a full disk.
    """
    temporary = path.with_name(f".{uuid.uuid4().hex[:12]}_{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise _in_words(error, path) from error
    except ReadWriteError as error:
        if isinstance(error.__cause__, OSError):
            raise _in_words(error.__cause__, path) from error
        raise
    finally:
        _remove(temporary)


def sweep(folder: Path, names: Container[str] | None) -> None:
    """Remove what killed runs were writing in a folder, under these names or any; nobody may be at it now."""
    for left in folder.glob(".*"):
        match = _HALF_WRITTEN.fullmatch(left.name)
        if match and (names is None or match[1] in names):
            left.unlink(missing_ok=True)


def save_text(text: str, path: Path) -> None:
    """Write UTF-8 text; a file that holds the same text already is left alone.

    So the files all subjects share are not written again and again by runs that work side by side. One that
    starts may sweep away what another is about to move into place: that is written once more.

    Raises
    ------
    OutputError, ReadWriteError
        As `atomic_write`.
    """
    content = text.encode("utf-8")
    try:
        if path.read_bytes() == content:
            return
    except OSError:
        pass  # absent or unreadable: writing it tells which
    for attempt in range(_TRIES):
        try:
            with atomic_write(path) as temporary:
                temporary.write_bytes(content)
        except ReadWriteError as error:
            if attempt + 1 == _TRIES or not isinstance(error.__cause__, FileNotFoundError):
                raise
        else:
            return


def save_json(content: Mapping[str, object], path: Path) -> None:
    """Write JSON with sorted keys; records become objects, paths text, and NaN null.

    Raises
    ------
    DataError
        If a value has no JSON form, such as infinity.
    OutputError, ReadWriteError
        As `atomic_write`.
    """
    try:
        text = json.dumps(plain(content), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise DataError(f"{path.name} must hold what JSON can hold: {error}") from error
    save_text(text + "\n", path)


def save_volume(volume: Volume, path: Path, sidecar: Mapping[str, object]) -> None:
    """Write an image and the JSON that describes it, the JSON first: no image is ever without one.

    Parameters
    ----------
    volume
        Image, label map or mask.
    path
        Ends in ``.nii.gz``.
    sidecar
        BIDS metadata such as ``Resolution`` and ``Sources``.

    Raises
    ------
    DataError
        If `sidecar` has no JSON form.
    OutputError, ReadWriteError
        As `atomic_write`.
    """
    save_json(sidecar, sidecar_path(path))
    with atomic_write(path) as temporary:
        write_volume(volume, temporary)


def save_labels(labels: Volume, lookup: pd.DataFrame, path: Path, sidecar: Mapping[str, object]) -> None:
    """Write a label map, the table that names its values, and its sidecar.

    Parameters
    ----------
    labels
        Integers.
    lookup
        One row a value: ``index``, ``name``, ``abbreviation``, ``color``, ``mapping`` (see `lesion_lookup`).
    path
        Ends in ``_dseg.nii.gz``.
    sidecar
        BIDS metadata.

    Raises
    ------
    DataError
        If `lookup` does not name every value but 0, or lacks a column.
    OutputError, ReadWriteError
        As `atomic_write`.
    """
    if list(lookup.columns) != list(_LOOKUP_COLUMNS):
        raise DataError(
            f"a lookup table must have the columns {list(_LOOKUP_COLUMNS)}, got {list(lookup.columns)}"
        )
    unnamed = set(np.unique(labels.data).tolist()) - set(lookup["index"].tolist()) - {0}
    if unnamed:
        raise DataError(f"every value of {path.name} must be named in its table, {sorted(unnamed)} are not")
    save_text(_tsv(lookup), lookup_path(path))
    save_volume(labels, path, {**sidecar, **_column_notes(lookup, _LOOKUP_COLUMNS)})


def save_structures(labels: Volume, path: Path, sidecar: Mapping[str, object]) -> None:
    """Write a SegAnat label map with FreeSurfer's codes, which other tools know.

    Parameters
    ----------
    labels
        SegAnat indices, 0 to 34.
    path
        Ends in ``_dseg.nii.gz``.
    sidecar
        BIDS metadata.

    Raises
    ------
    DataError
        If `labels` holds other values.
    OutputError, ReadWriteError
        As `atomic_write`.
    """
    codes = np.array([structure.freesurfer for structure in structures()], dtype=np.uint8)
    lowest, highest = int(labels.data.min()), int(labels.data.max())
    if lowest < 0 or highest >= len(codes):
        raise DataError(f"SegAnat labels must be 0 to {len(codes) - 1}, got {lowest} to {highest}")
    save_labels(Volume(codes[labels.data.astype(np.intp)], labels.space), structure_lookup(), path, sidecar)


def structure_lookup() -> pd.DataFrame:
    """Name the FreeSurfer codes of the SegAnat structures.

    Examples
    --------
    >>> print(*structure_lookup().iloc[1], sep=", ")
    2, Left Cerebral White Matter, L-WM, #f5f5f5, 2
    """
    rows = [
        (each.freesurfer, each.name, each.abbreviation, each.color, _bids_mapping(each))
        for each in structures()
    ]
    return pd.DataFrame(rows, columns=list(_LOOKUP_COLUMNS))


def lesion_lookup(indices: Sequence[int]) -> pd.DataFrame:
    """Name the lesions of an instance map, one row a lesion.

    Examples
    --------
    >>> print(*lesion_lookup([1, 2]).iloc[1], sep=", ")
    2, Lesion 2, L2, #d62728, 7
    """
    rows = [(index, f"Lesion {index}", f"L{index}", "#d62728", 7) for index in indices]
    return pd.DataFrame(rows, columns=list(_LOOKUP_COLUMNS))


def save_table(table: pd.DataFrame, path: Path, columns: Mapping[str, str]) -> None:
    """Write a table as BIDS TSV, with "n/a" and six significant digits, and a JSON describing its columns.

    Parameters
    ----------
    table
        Column names end in their unit. The index is not written. Tabs and line breaks in text become spaces.
    path
        Ends in ``.tsv``.
    columns
        Column name to one sentence; may describe columns this table does not have.

    Raises
    ------
    DataError
        If a column is not described.
    OutputError, ReadWriteError
        As `atomic_write`.
    """
    unknown = [name for name in table.columns if name not in columns]
    if unknown:
        raise DataError(f"every column of {path.name} must be described, {unknown} are not")
    save_json(_column_notes(table, columns), sidecar_path(path))
    save_text(_tsv(table), path)


def load_table(path: Path) -> pd.DataFrame:
    """Read a table that `save_table` wrote: "n/a" becomes NaN, and text such as "01" stays text.

    A table without rows has columns without a type: leave it out when you join tables.

    Raises
    ------
    MissingInputError
        If there is no such file.
    DataError
        If the file or its JSON is damaged.
    ReadWriteError
        If reading fails.
    """
    if not path.is_file():
        raise MissingInputError(f"no table at {path}: run the participant level first")
    try:
        sidecar = sidecar_path(path)
        notes = json.loads(sidecar.read_text(encoding="utf-8")) if sidecar.is_file() else {}
        text = {name: "str" for name, note in notes.items() if note.get("Format") == "string"}
        return pd.read_csv(
            path, sep="\t", dtype=text, na_values=["n/a"], keep_default_na=False, quoting=3, encoding="utf-8"
        )
    except (ValueError, AttributeError) as error:
        raise DataError(
            f"{path} is no table of this app, or a damaged one: delete it and run again"
        ) from error
    except OSError as error:
        raise ReadWriteError(f"could not read {path} ({error.strerror}): check disk and rights") from error


def _tsv(table: pd.DataFrame) -> str:
    """Format a table as tab-separated text."""
    rows: list[Sequence[object]] = [list(table.columns), *table.itertuples(index=False, name=None)]
    return "".join("\t".join(map(_cell, row)) + "\n" for row in rows)


def _cell(value: object) -> str:
    """Format one cell."""
    if isinstance(value, (bool, np.bool_)):
        return str(value).lower()
    if isinstance(value, (float, np.floating)):
        number = float(value)
        return "n/a" if math.isnan(number) else f"{number + 0.0:.{SIGNIFICANT_DIGITS}g}"
    if value is None or value is pd.NA or value is pd.NaT:
        return "n/a"
    return " ".join(str(value).split()) or "n/a"


def _column_notes(table: pd.DataFrame, columns: Mapping[str, str]) -> dict[str, object]:
    """Describe the columns a table has: a number's name tells its unit, text has the format "string"."""
    notes: dict[str, object] = {}
    for name in table.columns:
        note = {"Description": columns[name]}
        units = [UNITS[word] for word in str(name).split("_")[1:] if word in UNITS]
        holds = pd.api.types.infer_dtype(table[name].dropna(), skipna=True)
        if holds in {"integer", "floating", "mixed-integer-float"}:
            note["Units"] = units[-1] if units else "1"
        elif holds == "boolean":
            note["Format"] = "boolean"
        elif holds != "empty":
            note["Format"] = "string"
        notes[name] = note
    return notes


def _bids_mapping(structure: Structure) -> int:
    """Find a structure's label in the common table of BIDS (derivatives, imaging)."""
    regions = {"Cerebral Cortex": 8, "Brain Stem": 10, "Cerebellum Cortex": 11, "Cerebellum White Matter": 11}
    tissues = {"none": 0, "white": 2, "csf": 3, "grey": 9}
    return regions.get(structure.region, tissues[structure.tissue])


def plain(value: object) -> object:
    """Turn records, arrays, paths and enumerations into what JSON knows."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    match value:
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case np.ndarray() | np.generic():
            return plain(value.tolist())
        case list() | tuple():
            return [plain(item) for item in value]
        case Enum():
            return plain(value.value)
        case Path():
            return value.as_posix()
    return None if isinstance(value, float) and math.isnan(value) else value


def _in_words(error: OSError, path: Path) -> OutputError | ReadWriteError:
    """Say what a failed write means for the user."""
    if error.errno in _DISK_FULL or "No space left" in str(error):
        return ReadWriteError(f"the disk is full, could not write {path}: free some space and run again")
    reason = error.strerror or str(error)
    if error.errno in _REFUSED:
        return OutputError(f"could not create {path} ({reason}): choose an output folder that can be written")
    return ReadWriteError(f"could not write {path} ({reason}): check the disk and run again")


def _remove(temporary: Path) -> None:
    """Remove a temporary file; a folder that vanished or is no folder holds none."""
    try:
        temporary.unlink(missing_ok=True)
    except OSError:
        return
