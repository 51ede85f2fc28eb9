"""Which lesion found is which lesion implanted: by scan, and by the centre in the patient."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int64

from bidsapp.errors import DataError

TOLERANCE_MM = 1.0
"""Both tables measure the same voxels, so their centres differ by the rounding of a table's cells only."""

NATIVE, TRUE_NATIVE = ["native_x_mm", "native_y_mm", "native_z_mm"], ["x_mm", "y_mm", "z_mm"]


@dataclass(frozen=True, slots=True)
class Matches:
    """Who belongs to whom.

    Parameters
    ----------
    found, true
        Rows of the two lists, pair by pair, in the order of the true ones.
    missed
        Rows of the true ones that nobody found.
    extra
        Rows of the found ones that are no true one.
    """

    found: Int64[np.ndarray, " n"]
    true: Int64[np.ndarray, " n"]
    missed: tuple[int, ...]
    extra: tuple[int, ...]


def match_centres(
    found_mm: Float64[np.ndarray, "n 3"], true_mm: Float64[np.ndarray, "m 3"], *, tolerance_mm: float
) -> Matches:
    """Pair centres that are each other's nearest, no farther apart than the tolerance.

    Parameters
    ----------
    found_mm, true_mm
        World millimetres, both in the same world. Either may be empty.
    tolerance_mm
        Pairs farther apart are none.
    """
    apart = np.linalg.norm(true_mm[:, None] - found_mm[None], axis=2)
    if not apart.size:
        none = np.empty(0, np.int64)
        return Matches(none, none, tuple(range(len(true_mm))), tuple(range(len(found_mm))))
    nearest_found, nearest_true = apart.argmin(axis=1), apart.argmin(axis=0)
    true = np.arange(len(true_mm))
    is_pair = (nearest_true[nearest_found] == true) & (apart.min(axis=1) <= tolerance_mm)
    paired_found, paired_true = nearest_found[is_pair], true[is_pair]
    missed = tuple(int(row) for row in np.setdiff1d(true, paired_true))
    extra = tuple(int(row) for row in np.setdiff1d(np.arange(len(found_mm)), paired_found))
    return Matches(paired_found, paired_true, missed, extra)


def match_lesions(found: pd.DataFrame, truth: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Bring lesions found and implanted into the same order, row by row; every one must have its partner.

    Parameters
    ----------
    found
        Lesion tables of the app, all scans.
    truth
        ``sourcedata/truth/lesions.tsv``; scans that were not worked on are left out beforehand.

    Returns
    -------
    found, truth
        Rows of the same lesion at the same place.

    Raises
    ------
    DataError
        If a lesion was missed, or found where none is.
    """
    found = found.assign(scan=_scans(found["subject"], found["session"]))
    truth = truth.assign(scan=_scans(truth["participant_id"], truth["session_id"]))
    pairs_found, pairs_true, complaints = [], [], []
    for scan in sorted({*found["scan"], *truth["scan"]}):
        ours, theirs = found[found["scan"] == scan], truth[truth["scan"] == scan]
        matches = match_centres(
            ours[NATIVE].to_numpy(np.float64),
            theirs[TRUE_NATIVE].to_numpy(np.float64),
            tolerance_mm=TOLERANCE_MM,
        )
        pairs_found.append(ours.iloc[matches.found])
        pairs_true.append(theirs.iloc[matches.true])
        if matches.missed or matches.extra:
            complaints.append(f"{scan}: {len(matches.missed)} missed, {len(matches.extra)} found in vain")
    if complaints:
        raise DataError(f"each implanted lesion must be found exactly once, got {'; '.join(complaints)}")
    if not pairs_found:
        raise DataError("lesions are needed to compare, got two empty tables")
    return pd.concat(pairs_found, ignore_index=True), pd.concat(pairs_true, ignore_index=True)


def _scans(subjects: pd.Series, sessions: pd.Series) -> pd.Series:
    """Name the scan of each row, whether or not labels come with their prefix, as in ``01_02``."""
    labels = subjects.astype(str).str.removeprefix("sub-")
    visits = sessions.astype("object").fillna("").astype(str).str.removeprefix("ses-")
    return (labels + "_" + visits).str.removesuffix("_")
