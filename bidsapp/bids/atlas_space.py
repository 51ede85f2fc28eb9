"""A folder of lesion masks that are in atlas space already -> which file stands for which patient."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bidsapp.bids.candidates import SHORT_NAMES, lesion_rank
from bidsapp.bids.index import BidsFile
from bidsapp.bids.load import load_lesion_mask
from bidsapp.errors import DataError, MissingInputError
from bidsapp.geometry.space import Space
from bidsapp.images.volume import Volume

IMAGE_ENDINGS = (".nii.gz", ".nii")


@dataclass(frozen=True, slots=True)
class AtlasSpaceMask:
    """The lesions of one patient in one session, in atlas space.

    Parameters
    ----------
    subject
        Label without "sub-".
    session
        Label without "ses-", or None.
    path
        Its mask.
    """

    subject: str
    session: str | None
    path: Path


def find_atlas_space_masks(folder: Path, template: str) -> tuple[AtlasSpaceMask, ...]:
    """Find the lesion masks of a folder by their names; which files are masks is decided as everywhere.

    Of several for one session, one with ``seg-lesions`` or ``desc-instances`` is taken, whose numbers keep
    lesions apart that touch in the atlas; else the best by the usual rules.

    Parameters
    ----------
    folder
        Searched with all its subfolders for ``sub-<label>[_ses-<label>]..._space-<template>_..._mask`` and
        ``_dseg`` images.
    template
        Name of the atlas.

    Returns
    -------
    masks
        Sorted by subject and session, one each.

    Raises
    ------
    MissingInputError
        If the folder is not there or holds no lesion mask.
    DataError
        If a session has masks in other spaces only, or two that are equally good.
    """
    if not folder.is_dir():
        raise MissingInputError(f"no folder of lesion masks at {folder}: check the path")
    found: dict[tuple[str, str], list[BidsFile]] = {}
    for path in sorted(folder.rglob("sub-*.nii*")):
        file = BidsFile(path, _entities(path))
        if path.name.endswith(IMAGE_ENDINGS) and lesion_rank(file, is_raw=False):
            found.setdefault((file.entities["subject"], file.entities.get("session", "")), []).append(file)
    if not found:
        raise MissingInputError(
            f"{folder} holds no lesion mask: name them sub-<label>_space-{template}_label-lesion_mask.nii.gz"
        )
    return tuple(
        AtlasSpaceMask(subject, session or None, _choose(files, template))
        for (subject, session), files in sorted(found.items())
    )


def load_atlas_space_mask(path: Path, space: Space, template: str) -> tuple[Volume | None, str]:
    """Read a mask that must lie on the grid of the atlas.

    Parameters
    ----------
    path
        As found.
    space
        Grid of the atlas.
    template
        Name of the atlas.

    Returns
    -------
    mask, kind
        As `bidsapp.bids.load.load_lesion_mask`.

    Raises
    ------
    DataError
        If the mask cannot be used or lies on another grid.
    """
    mask, kind, _ = load_lesion_mask(path)
    if mask is not None and not mask.space.matches(space):
        raise DataError(
            f"{path} must lie on the grid of the atlas {template}, {_grid(space)}, got {_grid(mask.space)}: "
            "give with --atlas the template that the masks were made with, or resample them to this one"
        )
    return mask, kind


def _choose(files: list[BidsFile], template: str) -> Path:
    """Take the one mask of a session in atlas space."""
    here = [file for file in files if file.entities.get("space") == template]
    if not here:
        spaces = sorted({file.entities.get("space", "no space- at all") for file in files})
        raise DataError(
            f"{files[0].path.name} must lie in space-{template}, the atlas of this run, got "
            f"{', '.join(spaces)}: give the atlas of that space with --atlas (a folder tpl-<NAME>_...)"
        )
    ranked = sorted((_rank(file), file.path) for file in here)
    if len(ranked) > 1 and ranked[0][0] == ranked[1][0]:
        raise DataError(
            f"a session must have one lesion mask in space-{template}, got {ranked[0][1].name} and "
            f"{ranked[1][1].name}: keep one"
        )
    return ranked[0][1]


def _rank(file: BidsFile) -> tuple[object, ...]:
    parts = file.path.name.split("_")
    keeps_lesions_apart = "seg-lesions" in parts or "desc-instances" in parts
    return (not keeps_lesions_apart, *(lesion_rank(file, is_raw=False) or ()))


def _entities(path: Path) -> Mapping[str, str]:
    """Read the entities of a file name, in long names."""
    *pairs, suffix = path.name.split(".")[0].split("_")
    entities = {SHORT_NAMES.get(key, key): label for key, _, label in (pair.partition("-") for pair in pairs)}
    return {**entities, "suffix": suffix}


def _grid(space: Space) -> str:
    """Describe a grid: sizes, and world position of its first voxel."""
    shape = " x ".join(map(str, space.shape))
    sizes = " x ".join(f"{size:g}" for size in space.voxel_sizes_mm)
    first = ", ".join(f"{value:g}" for value in space.affine[:3, 3])
    return f"{shape} voxels of {sizes} mm, the first at ({first})"
