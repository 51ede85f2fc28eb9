"""Codes of FreeSurfer (SAMSEG, SynthSeg, FastSurfer) and Neuromorphometrics -> SegAnat."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from bidsapp.atlas.seganat import structures
from bidsapp.errors import DataError
from bidsapp.geometry.space import Space
from bidsapp.images.volume import Volume

SCHEMES = ("freesurfer", "neuromorphometrics")
UNKNOWN = 255
MIN_STRUCTURES = 5
MIN_LEAD = 0.2  # 34 of 36 codes of an aseg are FreeSurfer structures, 14 could be Neuromorphometrics


@dataclass(frozen=True)
class Translation:
    """A label map in SegAnat indices, and what could not be translated.

    Parameters
    ----------
    labels
        uint8, 0 (background) to 34.
    unmapped
        Number of voxels that became background although no table says so, by original code.
    """

    labels: Volume
    unmapped: Mapping[int, int]


class _Table(NamedTuple):
    """One scheme: SegAnat index by code (`UNKNOWN` where there is none) and the codes without a side."""

    index_of: np.ndarray
    sides_of: Mapping[int, tuple[int, int]]


@cache
def _table(scheme: str) -> _Table:
    """Read a scheme's table from the data folder."""
    if scheme not in SCHEMES:
        raise DataError(f"the label scheme must be one of {', '.join(SCHEMES)}, got {scheme!r}")
    text = files("bidsapp.data").joinpath(f"{scheme}.tsv").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in text.splitlines()[1:]]
    index_of = np.full(int(rows[-1][1]) + 2, UNKNOWN, dtype=np.uint8)
    sides_of: dict[int, tuple[int, int]] = {}
    for first, last, step, index, other_side, _ in rows:
        codes = range(int(first), int(last) + 1, int(step))
        index_of[codes] = int(index)
        if other_side != "n/a":
            sides_of.update(dict.fromkeys(codes, (int(index), int(other_side))))
    index_of.flags.writeable = False
    return _Table(index_of, sides_of)


def to_seganat(labels: Volume, scheme: str) -> Translation:
    """Translate a label map to SegAnat on its own grid.

    Left and right choroid plexus become one structure. Midline codes that SegAnat splits (corpus callosum,
    white matter hypointensities, 5th ventricle, vermis) go, voxel by voxel, to the side whose white matter,
    ventricle or cerebellar cortex is nearer in millimetres (left if equally near).

    Parameters
    ----------
    labels
        Non-negative integers in the codes of `scheme`.
    scheme
        "freesurfer" (also SAMSEG, SynthSeg, FastSurfer) or "neuromorphometrics".

    Returns
    -------
    translation
        Codes that the table knows as background are not counted as unmapped; midline voxels are, if neither
        of their two sides is there.

    Raises
    ------
    DataError
        If the scheme is unknown, values are not non-negative integers, or no structure is found.

    References
    ----------
    Wielenberg et al. 2026, table 2. doi:10.48550/arXiv.2602.12933

    Examples
    --------
    >>> codes = Volume(np.array([[[0, 2, 1035, 31, 63, 7777]]]), Space((1, 1, 6), np.eye(4)))
    >>> translation = to_seganat(codes, "freesurfer")
    >>> translation.labels.data.tolist(), dict(translation.unmapped)
    ([[[0, 1, 3, 34, 34, 0]]], {7777: 1})
    """
    index_of, sides_of = _table(scheme)
    codes = labels.data
    if codes.dtype.kind not in "iu" or codes.min() < 0:
        raise DataError(f"labels must be whole numbers from zero up, got {codes.dtype} from {codes.min()}")
    last = len(index_of) - 1
    codes = (np.minimum(codes, last) if codes.max() > last else codes).astype(np.int16)
    counts = np.bincount(codes.ravel(), minlength=last + 1)
    unmapped = _unknown_codes(labels.data, counts, index_of)
    indices = index_of[codes]
    indices[indices == UNKNOWN] = 0
    for pair in sorted({sides_of[code] for code in sides_of if counts[code]}):
        without_side = [code for code in sides_of if sides_of[code] == pair and counts[code]]
        midline = np.isin(codes, without_side)
        if not _to_nearer_side(indices, midline, pair, labels.space):
            indices[midline] = 0
            unmapped.update({code: int(counts[code]) for code in without_side})
    if not indices.any():
        raise DataError(
            f"no brain structure found among the {np.count_nonzero(counts)} codes of a {scheme} label map: "
            f"check that the labels are whole-brain labels in one of the schemes {', '.join(SCHEMES)}"
        )
    return Translation(Volume(indices, labels.space), dict(sorted(unmapped.items())))


def _unknown_codes(codes: np.ndarray, counts: np.ndarray, index_of: np.ndarray) -> dict[int, int]:
    """Count the voxels of every code that the table does not list."""
    last = len(index_of) - 1
    unknown = {
        int(code): int(counts[code]) for code in np.flatnonzero(counts[:last]) if index_of[code] == UNKNOWN
    }
    if counts[last]:
        values, sizes = np.unique(codes[codes >= last], return_counts=True)
        unknown |= dict(zip(values.tolist(), sizes.tolist(), strict=True))
    return unknown


def _to_nearer_side(indices: np.ndarray, midline: np.ndarray, pair: tuple[int, int], space: Space) -> bool:
    """Give each midline voxel the index of the nearer side, in place; False if there is neither side."""
    inside = _bounding_box(midline | (indices == pair[0]) | (indices == pair[1]))
    part, midline = indices[inside], midline[inside]
    points = np.argwhere(midline)
    distances = [_distances_mm(points, (part == index) & ~midline, space) for index in pair]
    if not np.isfinite(distances).any():
        return False
    left, right = distances
    part[midline] = np.where(left <= right, pair[0], pair[1])
    return True


def _distances_mm(points: np.ndarray, mask: np.ndarray, space: Space) -> np.ndarray:
    """Distance from voxel indices to the nearest voxel of a mask; infinite if it is empty."""
    padded = np.pad(mask, 1)
    core = padded[1:-1, 1:-1, 1:-1].copy()
    for axis in range(3):
        for shift in (-1, 1):
            core &= np.roll(padded, shift, axis)[1:-1, 1:-1, 1:-1]
    border = np.argwhere(mask & ~core)
    if len(border) == 0:
        return np.full(len(points), np.inf)
    tree = cKDTree(border @ space.affine[:3, :3].T)
    distances, _ = tree.query(points @ space.affine[:3, :3].T)
    return np.asarray(distances, dtype=np.float64)


def _bounding_box(mask: np.ndarray) -> tuple[slice, slice, slice]:
    """Find the smallest box that holds every voxel of a mask that is not empty."""
    i, j, k = (np.flatnonzero(mask.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1)))
    return slice(i[0], i[-1] + 1), slice(j[0], j[-1] + 1), slice(k[0], k[-1] + 1)


def detect_scheme(codes: set[int], names: Mapping[int, str] | None) -> str:
    """Tell which scheme a label map speaks.

    The names of the table beside the label map decide; without them, the scheme in which more of the codes
    are structures.

    Parameters
    ----------
    codes
        Every value that occurs in the map.
    names
        Structure name by code, from the ``_dseg.tsv``.

    Returns
    -------
    scheme
        "freesurfer" or "neuromorphometrics".

    Raises
    ------
    DataError
        If neither explains the codes clearly better than the other.

    Examples
    --------
    >>> detect_scheme({0, 44, 45}, {44: "Right Cerebral White Matter", 45: "Left Cerebral White Matter"})
    'neuromorphometrics'
    """
    if names:
        votes = {scheme: _n_names_agreeing(names, scheme) for scheme in SCHEMES}
        best, other = sorted(votes, key=lambda scheme: -votes[scheme])
        if votes[best] > votes[other]:
            return best
    found = {scheme: _structures_among(codes, scheme) for scheme in SCHEMES}
    best, other = sorted(found, key=lambda scheme: -len(found[scheme]))
    lead = (len(found[best]) - len(found[other])) / max(1, len(codes - {0}))
    if len(found[best]) >= MIN_STRUCTURES and lead >= MIN_LEAD:
        return best
    raise DataError(
        f"cannot tell the label scheme from the codes {sorted(codes)[:12]}: FreeSurfer knows "
        f"{len(found['freesurfer'])} of them as structures, Neuromorphometrics "
        f"{len(found['neuromorphometrics'])}. Put a _dseg.tsv with the columns index and name beside the map"
    )


def _structures_among(codes: set[int], scheme: str) -> set[int]:
    """Select the codes that stand for a structure, not for background."""
    index_of = _table(scheme).index_of
    return {code for code in codes if 0 < code < len(index_of) and index_of[code] not in {0, UNKNOWN}}


def _n_names_agreeing(names: Mapping[int, str], scheme: str) -> int:
    """Count the codes whose name begins with that of the structure the scheme gives them."""
    index_of = _table(scheme).index_of
    known = _structures_among(set(names), scheme)
    plain = {structure.index: _plain(structure.name) for structure in structures()}
    return sum(_plain(names[code]).startswith(plain[int(index_of[code])]) for code in known)


def _plain(name: str) -> str:
    """Reduce a name to lower-case letters and digits."""
    return re.sub(r"[^a-z0-9]", "", name.lower())
