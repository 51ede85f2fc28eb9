"""Dataset and label maps -> the heads a network learns from, each with its affine to the atlas."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bidsapp.atlas.pack import AtlasPack
from bidsapp.atlas.schemes import to_seganat
from bidsapp.bids.find import find_participants, find_scans
from bidsapp.bids.load import load_subject
from bidsapp.errors import MetsAtlasError, MissingInputError, SelectionError
from bidsapp.geometry.space import Space
from bidsapp.images.nifti import read_labels
from bidsapp.images.volume import Volume
from bidsapp.registration.affine import align_affine
from bidsapp.registration.grids import crop_to_labels
from bidsapp.registration.paper import distance_map
from bidsapp.settings import Selection
from bidsapp.training.scans import TrainingScan

logger = logging.getLogger(__name__)

_MARGIN_MM = 30.0
_VALIDATION_EVERY = 5


def collect_scans(selection: Selection, atlas: AtlasPack, device: str) -> list[TrainingScan]:
    """Load every scan of a dataset that has a label map; one that cannot be used is said and left out.

    Raises
    ------
    MissingInputError, UsageError
        If the dataset or a participant that was asked for is not there.
    SelectionError
        If not one scan can be used.
    """
    collected: list[TrainingScan] = []
    for participant in find_participants(selection):
        try:
            for files in find_scans(selection, participant):
                loaded = load_subject(files)
                name = files.t1w.name.removesuffix(".gz").removesuffix(".nii")
                collected.append(
                    _prepare(name, participant, loaded.t1w, loaded.labels, loaded.labels, atlas, device)
                )
        except MetsAtlasError as error:
            logger.warning("sub-%s is left out: %s", participant, error)
    if not collected:
        raise SelectionError(
            f"training needs scans with label maps, found none to use in {selection.bids_dir}: give "
            "the label maps with -d NAME=FOLDER"
        )
    return collected


def collect_label_maps(folder: Path, atlas: AtlasPack, device: str) -> list[TrainingScan]:
    """Load label maps in FreeSurfer codes, of any name, that have no scan: contrasts are synthesised.

    Raises
    ------
    MissingInputError
        If the folder holds none.
    DataError
        If one is damaged or shows no brain.
    """
    paths = sorted(path for path in folder.glob("*.nii*") if path.is_file()) if folder.is_dir() else []
    if not paths:
        raise MissingInputError(
            f"the folder of label maps must hold NIfTI files, got {folder}: check the path"
        )
    collected = []
    for path in paths:
        codes = read_labels(path)
        labels = to_seganat(codes, "freesurfer").labels
        name = path.name.removesuffix(".gz").removesuffix(".nii")
        collected.append(_prepare(name, None, None, labels, codes, atlas, device))
    return collected


def split(
    scans: Sequence[TrainingScan], validation: Sequence[str]
) -> tuple[list[TrainingScan], list[TrainingScan]]:
    """Keep the scans of some participants back: those asked for, or else every fifth.

    Raises
    ------
    MissingInputError
        If a participant asked for is not there.
    """
    present = sorted({scan.participant for scan in scans if scan.participant})
    missing = sorted(set(validation) - set(present))
    if missing:
        raise MissingInputError(
            f"participants kept back must be among those collected, sub-{missing[0]} is not: "
            "check --validation-label"
        )
    kept_back = set(validation) or set(present[_VALIDATION_EVERY - 1 :: _VALIDATION_EVERY])
    learnt = [scan for scan in scans if scan.participant not in kept_back]
    return learnt, [scan for scan in scans if scan.participant in kept_back]


def _prepare(  # noqa: PLR0913, PLR0917 - the parts of one record
    name: str,
    participant: str | None,
    image: Volume | None,
    labels: Volume,
    codes: Volume,
    atlas: AtlasPack,
    device: str,
) -> TrainingScan:
    box = crop_to_labels(labels, _MARGIN_MM)
    logger.info("%s: affine alignment", name)
    return TrainingScan(
        name=name,
        participant=participant,
        image=image,
        labels=box,
        codes=_cut(codes, box.space),
        depth=distance_map(box),
        affine=align_affine(atlas.labels, labels, device=device),
    )


def _cut(volume: Volume, box: Space) -> Volume:
    """Cut a volume to a box of whole voxels of its own grid."""
    corner = np.rint(volume.space.world_to_voxel(box.voxel_to_world(np.zeros((1, 3))))[0]).astype(int)
    i, j, k = (slice(int(start), int(start) + size) for start, size in zip(corner, box.shape, strict=True))
    return Volume(np.ascontiguousarray(volume.data[i, j, k]), box)
