"""The JSON and TSV files that belong to an image, its own or inherited from the folders above."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path

from bidsapp.errors import DataError

MAX_LEVELS = 6


def inherited_files(image: Path, extension: str) -> tuple[Path, ...]:
    """List the files that describe an image by the inheritance principle of BIDS, nearest first.

    A file applies if it has the image's suffix and all its entities are the image's. The search ends at
    the folder that has a dataset_description.json. Links to nothing are passed over.

    Parameters
    ----------
    image
        A BIDS-named NIfTI file.
    extension
        ``.json`` or ``.tsv``.

    References
    ----------
    BIDS specification 1.10, "The inheritance principle".
    """
    stem = image.name.removesuffix(".gz").removesuffix(".nii")
    suffix = stem.rpartition("_")[2]
    parts = set(stem.split("_"))
    found: list[Path] = []
    for folder in image.parents[:MAX_LEVELS]:
        here = [path for path in folder.glob(f"*{suffix}{extension}") if _applies(path, suffix, parts)]
        found.extend(sorted(here, key=lambda path: (-path.name.count("_"), path.name)))
        if (folder / "dataset_description.json").exists():
            break
    return tuple(found)


def _applies(path: Path, suffix: str, parts: set[str]) -> bool:
    """Tell whether the name says no more than the image's name does."""
    own = path.stem.split("_")
    return own[-1] == suffix and set(own) <= parts and path.is_file()


def read_sidecar(image: Path) -> Mapping[str, object]:
    """Gather the metadata of an image; the nearest file wins.

    Raises
    ------
    DataError
        If a JSON file that applies cannot be read or is not an object.
    """
    gathered: dict[str, object] = {}
    for path in reversed(inherited_files(image, ".json")):
        gathered.update(read_json(path))
    return gathered


def read_json(path: Path) -> Mapping[str, object]:
    """Read a JSON file that holds an object.

    Raises
    ------
    DataError
        If it cannot be read or holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} must be a JSON file, but cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} must hold a JSON object, got a {type(content).__name__}")
    return content


def read_label_names(image: Path) -> Mapping[int, str]:
    """Read what the codes of a label map mean; empty if no table comes with it.

    Parameters
    ----------
    image
        The ``_dseg`` file; its nearest table (``index``, ``name`` columns) is read.

    Raises
    ------
    DataError
        If the table lacks a column or an index is not a whole number.
    """
    tables = inherited_files(image, ".tsv")
    if not tables:
        return {}
    path = tables[0]
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        return {int(row["index"]): str(row["name"]) for row in rows}
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise DataError(
            f"{path} must be a table with the columns index (whole numbers) and name, separated by tabs; "
            f"got a problem with {error}"
        ) from error
