"""What one participant has in one dataset: the files of one folder, their entities read by pybids."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from bids.layout import parse_file_entities
from bids.layout.models import Config

from bidsapp.bids.sidecars import read_json
from bidsapp.errors import MissingInputError
from bidsapp.settings import Selection

OWN_NAME = "metsatlas"
DESCRIPTION = "dataset_description.json"

# Images are looked for in anat/ only; these folders can be large and hold grids of other modalities.
IGNORED_FOLDERS = re.compile(
    r"/(func|dwi|fmap|perf|pet|eeg|ieeg|meg|nirs|beh|figures|logs?|mri|surf|\.git)(/|$)"
)


@dataclass(frozen=True, slots=True)
class BidsFile:
    """An image file and the entities that its path below the dataset folder spells.

    Parameters
    ----------
    path
        Absolute; may be a link to nothing.
    entities
        In the long names of pybids (``session``, ``acquisition``, ``ceagent``, ``segmentation`` ...),
        with ``suffix``, ``extension`` and, where the folder tells, ``datatype``.
    """

    path: Path
    entities: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Dataset:
    """A folder of derivatives.

    Parameters
    ----------
    name
        As in ``-d NAME=PATH``, or the folder's own name.
    root
        Its folder.
    is_given
        True: named with ``-d``; False: found inside the raw dataset.
    """

    name: str
    root: Path
    is_given: bool


def index_participant(root: Path, participant: str) -> tuple[BidsFile, ...]:
    """List the NIfTI files in the folders of one participant, sorted by path.

    Everything else in `root` is ignored, so the time does not grow with the number of participants.
    Entities are read below `root`: a folder above it named ``ses-1`` says nothing about the files.

    Parameters
    ----------
    root
        Folder of a raw or derivative dataset.
    participant
        Label without "sub-".

    Raises
    ------
    DataError
        If the dataset's description is no JSON object.
    """
    if not (root / f"sub-{participant}").is_dir():
        return ()
    if (root / DESCRIPTION).is_file():
        read_json(root / DESCRIPTION)  # a broken one is refused
    root = root.absolute()
    listed = []
    for path in sorted(_files_below(root / f"sub-{participant}", root)):
        if path.name.endswith((".nii", ".nii.gz")):
            found = parse_file_entities(f"/{path.relative_to(root).as_posix()}", config=_configs())
            entities = {name: str(value) for name, value in found.items()}
            listed.append(BidsFile(path, entities))
    return tuple(listed)


def _files_below(folder: Path, root: Path) -> Iterator[Path]:
    """Yield files and links to nothing; a layout of pybids would look at every participant, for each."""
    for path in folder.iterdir():
        if not path.is_dir():
            yield path
        elif not IGNORED_FOLDERS.search(f"/{path.relative_to(root).as_posix()}"):
            yield from _files_below(path, root)


@cache
def _configs() -> list[Config]:
    """Load what pybids knows of entities, once."""
    return [Config.load("bids"), Config.load("derivatives")]


def derivative_datasets(selection: Selection) -> tuple[Dataset, ...]:
    """List the datasets to search: those given with ``-d`` in their order, then those found by name.

    Found are the folders in ``derivatives/`` that have a dataset_description.json or look like a FreeSurfer
    subjects folder, and ``sourcedata/freesurfer`` of the raw dataset and of every derivative. Outputs of
    this app are skipped unless given.

    Parameters
    ----------
    selection
        ``bids_dir`` and ``derivatives`` count.

    Raises
    ------
    MissingInputError
        If a folder given with ``-d`` does not exist.
    """
    given = tuple(Dataset(name, Path(path), is_given=True) for name, path in selection.derivatives.items())
    for dataset in given:
        if not dataset.root.is_dir():
            raise MissingInputError(
                f"the derivative dataset -d {dataset.name}={dataset.root} does not exist or is no folder: "
                "check the path, and in a container whether the folder is mounted"
            )
    seen = {dataset.root.resolve() for dataset in given}
    found = []
    for root in _folders_inside(selection.bids_dir, tuple(dataset.root for dataset in given)):
        if root.resolve() not in seen:
            seen.add(root.resolve())
            found.append(Dataset(root.name, root, is_given=False))
    return given + tuple(found)


def _folders_inside(bids_dir: Path, given: tuple[Path, ...]) -> Iterator[Path]:
    """Yield every derivative folder that can be found without being told."""
    folders = bids_dir / "derivatives"
    derivatives = sorted(path for path in folders.iterdir() if path.is_dir()) if folders.is_dir() else []
    described = [root for root in derivatives if (root / DESCRIPTION).is_file()]
    yield from (root for root in described if not _is_own_output(root))
    yield from (root for root in derivatives if root not in described and is_freesurfer_folder(root))
    for root in (*given, *described, bids_dir):
        freesurfer = root / "sourcedata" / "freesurfer"
        if freesurfer.is_dir():
            yield freesurfer


def is_freesurfer_folder(root: Path) -> bool:
    """Tell whether `root` is a FreeSurfer subjects folder: some ``sub-*/mri`` lies in it."""
    return next(root.glob("sub-*/mri"), None) is not None


def _is_own_output(root: Path) -> bool:
    """Tell whether this app wrote the dataset: its copies of masks must not become inputs."""
    makers = read_json(root / DESCRIPTION).get("GeneratedBy")
    listed = makers if isinstance(makers, list) else []
    names = [str(maker.get("Name", "")) for maker in listed if isinstance(maker, dict)]
    return any(name.lower().startswith(OWN_NAME) for name in names)
