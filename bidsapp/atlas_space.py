"""Cohorts that were registered elsewhere: lesion masks in atlas space give the same lesion records."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bidsapp.atlas.pack import AtlasPack
from bidsapp.bids.atlas_space import AtlasSpaceMask, find_atlas_space_masks, load_atlas_space_mask
from bidsapp.lesions.instances import find_lesions
from bidsapp.lesions.table import LesionScan, atlas_space_table

NOTE = (
    "Lesions were read from masks in atlas space: pieces were counted there, volumes are those in the atlas, "
    "and nothing is known of how the registration changed them."
)


@dataclass(frozen=True)
class AtlasSpaceLesions:
    """The lesions of a folder of masks.

    Parameters
    ----------
    lesions
        One row a lesion: columns of `bidsapp.lesions.table.LESION_COLUMNS`.
    masks
        Every session found, those without a lesion included.
    notes
        What a reader should know, in words.
    """

    lesions: pd.DataFrame
    masks: tuple[AtlasSpaceMask, ...]
    notes: tuple[str, ...]


def read_atlas_space_lesions(folder: Path, atlas: AtlasPack) -> AtlasSpaceLesions:
    """Read all lesion masks of a folder that lie on the grid of the atlas, one at a time.

    Parameters
    ----------
    folder
        Any folder of BIDS-named masks.
    atlas
        Its name must be the masks' ``space-``.

    Raises
    ------
    MissingInputError
        If there is no mask.
    DataError
        If a mask is in another space or on another grid, or cannot be used.
    """
    masks = find_atlas_space_masks(folder, atlas.name)
    return AtlasSpaceLesions(atlas_space_table(_scans(masks, atlas), atlas), masks, (NOTE,))


def _scans(masks: tuple[AtlasSpaceMask, ...], atlas: AtlasPack) -> Iterator[LesionScan]:
    space = atlas.labels.space
    for each in masks:
        mask, kind = load_atlas_space_mask(each.path, space, atlas.name)
        lesions = find_lesions(mask, kind) if mask is not None else ()
        yield LesionScan(each.subject, each.session, lesions, space)
