"""Soft membership: the probability of each region, given how well the place of a lesion is known."""

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

import numpy as np
import pandas as pd
from jaxtyping import Float64
from scipy.stats import norm, qmc

from bidsapp.atlas.seganat import structures
from bidsapp.errors import DataError
from bidsapp.images.volume import Volume
from bidsapp.lesions.mapping import OUTSIDE, labels_at

_CHUNK = 4096

SOFT_COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "region": "Region; outside for lesions in none.",
        "n_hard": "Lesions whose measured centre lies in the region.",
        "n_soft": "Sum over the lesions of the probability that they lie in the region, given "
        "location_error_mm (1 mm where it is not known).",
    }
)


def region_probabilities(
    points_mm: Float64[np.ndarray, "n 3"],
    standard_error_mm: Float64[np.ndarray, " n"],
    labels: Volume,
    *,
    n_nodes: int = 512,
) -> pd.DataFrame:
    """Give each lesion a probability of lying in each region instead of one region.

    The true place is taken as normally distributed about the measured one, alike in all directions. The
    same quasi-random nodes serve every lesion, so the result does not depend on chance.

    Parameters
    ----------
    points_mm
        Centres of gravity, atlas world RAS+.
    standard_error_mm
        Standard deviation of the place of each lesion along each axis; its mean distance is 1.6 times as
        long. 0 gives the hard assignment, NaN (not known) gives missing probabilities.
    labels
        SegAnat indices of the atlas.
    n_nodes
        A power of 2. With 512, probabilities beside a flat border err by 0.004 on average, 0.03 at most.

    Returns
    -------
    probabilities
        One row a lesion, one column a region and "outside"; rows add up to 1.

    Raises
    ------
    DataError
        If a standard error is below 0 or infinite.

    References
    ----------
    Owen 1998, J. Complexity 14:466-489 (scrambled nets). doi:10.1006/jcom.1998.0487
    """
    errors = np.asarray(standard_error_mm)
    if (errors < 0).any() or np.isinf(errors).any():
        raise DataError("each lesion needs a standard error of at least 0 mm (NaN where it is not known)")
    names = [*dict.fromkeys(each.region for each in structures()[1:]), OUTSIDE]
    column = np.array([names.index(OUTSIDE), *(names.index(each.region) for each in structures()[1:])])
    nodes = _nodes(n_nodes)
    shares = np.full((len(points_mm), len(names)), np.nan)
    known = np.flatnonzero(np.isfinite(errors))
    for start in range(0, len(known), _CHUNK):
        here = known[start : start + _CHUNK]
        around = points_mm[here, None] + errors[here, None, None] * nodes
        found = column[labels_at(around.reshape(-1, 3), labels)].reshape(len(here), -1)
        cells = found + len(names) * np.arange(len(here))[:, None]
        counts = np.bincount(cells.ravel(), minlength=len(here) * len(names))
        shares[here] = counts.reshape(len(here), -1) / len(nodes)
    return pd.DataFrame(shares, columns=names)


def soft_region_table(
    points_mm: Float64[np.ndarray, "n 3"], standard_error_mm: Float64[np.ndarray, " n"], labels: Volume
) -> pd.DataFrame:
    """Count lesions by region with and without the uncertainty of their place.

    Lesions whose standard error is not known count by their measured place in both.

    Parameters
    ----------
    points_mm, standard_error_mm, labels
        As for `region_probabilities`.

    Returns
    -------
    table
        Columns of `SOFT_COLUMNS`; both counts add up to the number of lesions.
    """
    hard = region_probabilities(points_mm, np.zeros(len(points_mm)), labels, n_nodes=1)
    soft = region_probabilities(points_mm, standard_error_mm, labels).fillna(hard)
    counts = {"n_hard": hard.sum().round().astype(int), "n_soft": soft.sum()}
    return pd.DataFrame(counts).rename_axis("region").reset_index()


@cache
def _nodes(n_nodes: int) -> Float64[np.ndarray, "n 3"]:
    """Spread standard normal nodes evenly: a scrambled Sobol sequence, always the same, centred."""
    if n_nodes == 1:
        return np.zeros((1, 3))
    uniform = qmc.Sobol(3, scramble=True, rng=np.random.default_rng(0)).random(n_nodes)
    nodes = norm.ppf(np.clip(uniform, 1e-9, 1 - 1e-9))
    return np.asarray(nodes - nodes.mean(axis=0))
