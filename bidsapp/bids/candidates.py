"""Which label map and which lesion mask belong to a scan: the rules, in words and in order."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from bidsapp.bids.index import BidsFile, Dataset
from bidsapp.bids.sidecars import read_sidecar
from bidsapp.errors import UsageError

# Spaces that are the scan's own frame; a file without the entity lies there too.
SCAN_SPACES = ("orig", "T1w")

# Entities in which a candidate that has them must agree with the scan.
SHARED_ENTITIES = ("acquisition", "ceagent", "reconstruction", "run")

LESION_LABELS = ("lesion", "tumor", "tumour", "gtv", "l", "tc", "wt", "et")
LESION_DESCRIPTIONS = ("lesion", "tumor", "gtv")
LESION_WORDS = re.compile(r"lesion|tumou?r|^gtv|^brats", re.IGNORECASE)

# desc-, seg- and atlas- values of tools that number structures as FreeSurfer's colour table does.
FREESURFER_WORDS = re.compile(r"aparc|aseg|synthseg|samseg|fastsurfer|freesurfer|wmparc", re.IGNORECASE)
FREESURFER_FILES = ("aparc+aseg.mgz", "aseg.mgz", "aparc.DKTatlas+aseg.deep.mgz")

SHORT_NAMES = {
    "ses": "session",
    "acq": "acquisition",
    "ce": "ceagent",
    "rec": "reconstruction",
    "seg": "segmentation",
    "sub": "subject",
}
ENTITY_NAMES = re.compile(
    "subject|session|task|acquisition|ceagent|reconstruction|run|echo|part|chunk|inv|flip|mt"
    "|modality|space|atlas|segmentation|roi|label|desc|res|den|hemi|suffix|extension|datatype"
)

Rank: TypeAlias = tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file that may be a scan's label map or lesion mask.

    Parameters
    ----------
    file
        The file and its entities.
    dataset
        Where it comes from.
    position
        Place of the dataset in the order of search; datasets given with ``-d`` come first.
    rank
        Its place among the candidates of one dataset, lowest first.
    """

    file: BidsFile
    dataset: Dataset
    position: int
    rank: Rank

    @property
    def name(self) -> str:
        """The file as notes show it: name of its dataset and path below it."""
        below = self.file.path.relative_to(self.dataset.root.absolute())
        return f"{self.dataset.name}:{below.as_posix()}"

    @property
    def given_position(self) -> int:
        """Place of the dataset among those given with ``-d``; those found by themselves all come after."""
        return self.position if self.dataset.is_given else 1_000_000


@dataclass(frozen=True, slots=True)
class Choice:
    """What was taken for a scan, and what was not and why.

    Parameters
    ----------
    taken
        None: nothing fits.
    left
        Would have fitted too.
    refused
        Did not fit, with the reason.
    """

    taken: Candidate | None
    left: tuple[Candidate, ...]
    refused: tuple[tuple[Candidate, str], ...]

    def note(self, what: str) -> str:
        """Say in one sentence what was chosen as `what`."""
        if self.taken:
            others = ", ".join(candidate.name for candidate in self.left)
            return f"{what}: {self.taken.name}" + (f"; left aside: {others}" if others else "")
        reasons = ", ".join(f"{candidate.name} ({reason})" for candidate, reason in self.refused)
        return f"{what}: none found" + (f"; not used: {reasons}" if reasons else "")


def choose(
    candidates: Iterable[Candidate],
    scan: BidsFile,
    *,
    wanted: Mapping[str, object] | None,
    is_only_session: bool,
) -> Choice:
    """Choose the candidate that belongs to a scan.

    Refused are files the filter excludes, files in a space other than the scan's, and files whose session,
    acquisition, contrast agent, reconstruction or run is another. The first of what is left is taken:

    1. datasets given with ``-d``, in their order;
    2. for lesion masks the rule (`lesion_rank`) that recognises them;
    3. the file that shares more entities with the scan;
    4. for label maps FreeSurfer's codes before others (`label_map_rank`);
    5. the order of the datasets' names, then of the files' names.

    Parameters
    ----------
    candidates
        Of one purpose, from all datasets.
    scan
        The T1w file.
    wanted
        The filter of this purpose, or None.
    is_only_session
        Whether the participant has no other session: then a file that names no session belongs to it.
    """
    refused: list[tuple[Candidate, str]] = []
    usable: list[Candidate] = []
    for candidate in candidates:
        if wanted is not None and not passes(candidate.file.entities, wanted):
            reason: str | None = "the filter excludes it"
        else:
            reason = mismatch(candidate.file.entities, scan.entities, is_only_session=is_only_session)
        if reason:
            refused.append((candidate, reason))
        else:
            usable.append(candidate)
    usable.sort(key=lambda candidate: _order(candidate, scan))
    return Choice(usable[0] if usable else None, tuple(usable[1:]), tuple(refused))


def _order(candidate: Candidate, scan: BidsFile) -> Rank:
    """Return the sort key that `choose` documents."""
    entities = candidate.file.entities
    shared = sum(name in entities for name in ("session", *SHARED_ENTITIES) if name in scan.entities)
    rule, *rest = candidate.rank
    return (candidate.given_position, rule, -shared, *rest, candidate.position, candidate.file.path.name)


def mismatch(entities: Mapping[str, str], scan: Mapping[str, str], *, is_only_session: bool) -> str | None:
    """Tell why a file cannot belong to a scan; None if it can.

    Examples
    --------
    >>> mismatch({"run": "2"}, {"run": "1"}, is_only_session=True)
    'it belongs to run 2'
    >>> mismatch({"space": "T1w"}, {"run": "1"}, is_only_session=True)
    """
    space = entities.get("space")
    if space is not None and space not in SCAN_SPACES:
        return f"it lies in space-{space}"
    session = entities.get("session")
    if session is None and "session" in scan and not is_only_session:
        return "it names no session, but the participant has several"
    if session != scan.get("session") and session is not None:
        return f"it belongs to session {session}"
    for name in SHARED_ENTITIES:
        if name in entities and not _same(entities[name], scan.get(name)):
            return f"it belongs to {name} {entities[name]}"
    return None


def passes(entities: Mapping[str, str], wanted: Mapping[str, object]) -> bool:
    """Tell whether a file has what a filter asks for.

    Parameters
    ----------
    entities
        Long names to values.
    wanted
        Entity (long or short name) to a value, a list of values, None (must be absent) or "*" (any value).

    Raises
    ------
    UsageError
        If the filter names an entity that does not exist.

    Examples
    --------
    >>> passes({"run": "01"}, {"run": 1, "acq": None})
    True
    >>> passes({"run": "01"}, {"session": "*"})
    False
    """
    for short, value in wanted.items():
        name = SHORT_NAMES.get(short, short)
        if not ENTITY_NAMES.fullmatch(name):
            raise UsageError(
                f"a filter may name the entities {ENTITY_NAMES.pattern.replace('|', ', ')}; got {short!r}: "
                "mend the file given with --bids-filter-file"
            )
        own = entities.get(name)
        allowed: Sequence[object] = value if isinstance(value, list | tuple) else (value,)
        if not any(own is not None if one == "*" else _same(own, one) for one in allowed):
            return False
    return True


def _same(own: str | None, other: object) -> bool:
    """Compare two values of an entity: 1 and "01" are the same, and so are "01" and "ses-01"."""
    if own is None or other is None:
        return own is other
    text = str(other).removeprefix("ses-").removeprefix("sub-")
    return own == text or (own.isdecimal() and text.isdecimal() and int(own) == int(text))


def lesion_rank(file: BidsFile, *, is_raw: bool) -> Rank | None:
    """Tell by which rule a file is a lesion mask, and how good; None if it is none.

    1. ``_mask`` with ``label-`` lesion, tumor, tumour, GTV, L, TC, WT, ET (in this order), then ``desc-``
       lesion, tumor, gtv, then any other whose sidecar says ``"Type": "Lesion"``;
    2. ``_dseg``, then ``_probseg``, with a word for a lesion in ``label-``, ``desc-`` or ``seg-``;
    3. the legacy ``_roi`` with such a ``label-``; in the raw dataset ``_mask`` counts as this.

    References
    ----------
    BIDS specification 1.10, "Imaging derivatives: masks".
    """
    entities = file.entities
    suffix = entities.get("suffix", "")
    label, description = entities.get("label", "").lower(), entities.get("desc", "").lower()
    if suffix == "mask":
        rule = 3 if is_raw else 1
        if label in LESION_LABELS:
            return rule, LESION_LABELS.index(label)
        if description in LESION_DESCRIPTIONS:
            return rule, 10 + LESION_DESCRIPTIONS.index(description)
        return (rule, 20) if read_sidecar(file.path).get("Type") == "Lesion" else None
    if suffix in ("dseg", "probseg") and (is_lesion_map(entities) or label in LESION_LABELS):
        return 2, int(suffix == "probseg")
    if suffix == "roi" and label in LESION_LABELS:
        return 3, 0
    return None


def is_lesion_map(entities: Mapping[str, str]) -> bool:
    """Tell whether the name of a ``_dseg`` speaks of lesions instead of anatomy."""
    return any(LESION_WORDS.search(entities.get(name, "")) for name in ("label", "desc", "segmentation"))


def label_map_rank(file: BidsFile) -> Rank | None:
    """Tell how good a file that is no lesion mask is as an anatomical label map: FreeSurfer's codes first."""
    if file.entities.get("suffix") != "dseg":
        return None
    words = " ".join(file.entities.get(name, "") for name in ("desc", "segmentation", "atlas"))
    return 0, int(not FREESURFER_WORDS.search(words)), 0


def freesurfer_files(root: Path, participant: str) -> tuple[tuple[BidsFile, Rank], ...]:
    """List the label maps in a FreeSurfer or FastSurfer subjects folder, with their ranks.

    Parameters
    ----------
    root
        Holds ``sub-01/mri`` or ``sub-01_ses-02/mri``.
    participant
        Label without "sub-".
    """
    listed = []
    for tree in sorted(root.absolute().glob(f"sub-{participant}*/mri")):
        named = re.fullmatch(r"sub-([0-9a-zA-Z+]+)(?:_ses-([0-9a-zA-Z+]+))?", tree.parent.name)
        if named is None or named[1] != participant:
            continue
        session = {"session": named[2]} if named[2] else {}
        for place, name in enumerate(FREESURFER_FILES):
            path = tree / name
            if path.is_file() or path.is_symlink():
                entities = {"subject": participant, "extension": ".mgz", **session}
                listed.append((BidsFile(path, entities), (0, 0, place)))
    return tuple(listed)
