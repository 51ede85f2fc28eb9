"""Chance placement: a measure of each lesion's place against the measures that chance would give it.

Every lesion draws from a pool of values met at random places of the atlas: any place, a place in its own
region, or a place with room for its size. Lesions of one patient resemble each other: their places in
their pools, as normal scores, share an intraclass correlation (ICC). Drawing with that ICC (a Gaussian
copula) keeps the patients as they are and the distribution of every single lesion as chance makes it.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float32, Float64, Int64
from scipy.special import ndtr, ndtri

from bidsapp.errors import DataError

FEW_PATIENTS = 20
"""Below this effective number of patients the ICC is measured about chance: it errs upwards."""

_LARGEST_ICC = 0.99


@dataclass(frozen=True, slots=True, eq=False)
class Chance:
    """What chance gives each lesion.

    Parameters
    ----------
    pools
        Values met at random places, each pool in ascending order.
    strata
        Position of the pool that each lesion draws from.

    Raises
    ------
    DataError
        If a pool is empty or not in order, or a stratum is none of them.
    """

    pools: tuple[np.ndarray, ...]
    strata: Int64[np.ndarray, " n"]

    def __post_init__(self) -> None:
        if not self.pools or any(not len(pool) or not np.isfinite(pool).all() for pool in self.pools):
            raise DataError("a pool must hold finite values, got an empty or broken one")
        if any((np.diff(pool) < 0).any() for pool in self.pools):
            raise DataError("the values of a pool must be in ascending order: sort them")
        if len(self.strata) and not 0 <= self.strata.min() <= self.strata.max() < len(self.pools):
            raise DataError(f"strata must be positions of the {len(self.pools)} pools")

    def __len__(self) -> int:
        """Count the lesions."""
        return len(self.strata)

    def only(self, kept: np.ndarray) -> "Chance":
        """Keep some of the lesions (booleans or positions)."""
        return Chance(self.pools, self.strata[kept])

    def mean(self) -> float:
        """Mean over the lesions of what chance gives them."""
        means = np.array([pool.mean() for pool in self.pools])
        return float(means[self.strata].mean())


def uniform_chance(values: Float64[np.ndarray, " m"], n_lesions: int) -> Chance:
    """Let every lesion fall anywhere.

    Parameters
    ----------
    values
        Measured at points spread evenly over the atlas; NaN are left out.
    n_lesions
        How many draw from them.
    """
    return Chance((_pool(values),), np.zeros(n_lesions, dtype=np.int64))


def group_chance(values: Float64[np.ndarray, " m"], groups: np.ndarray, lesion_groups: np.ndarray) -> Chance:
    """Let every lesion fall anywhere within its own group, such as its region.

    A lesion whose group is missing or has no point falls anywhere.

    Parameters
    ----------
    values
        Measured at points spread evenly over the atlas; NaN are left out.
    groups
        Group of each point.
    lesion_groups
        Group of each lesion.
    """
    known = np.isfinite(values)
    pools = {name: _pool(part.to_numpy()) for name, part in pd.Series(values[known]).groupby(groups[known])}
    names = [name for name in pools if name in set(lesion_groups[pd.notna(lesion_groups)])]
    positions = {name: position for position, name in enumerate(names, 1)}
    strata = np.array([positions.get(name, 0) for name in lesion_groups], dtype=np.int64)
    return Chance((_pool(values), *(pools[name] for name in names)), strata)


def size_chance(
    values: Float64[np.ndarray, " m"],
    depth_mm: Float64[np.ndarray, " m"],
    lesion_radii_mm: Float64[np.ndarray, " n"],
    *,
    n_bins: int = 12,
) -> Chance:
    """Let every lesion fall where a ball of its size has room inside the brain.

    The centre of a large lesion cannot lie at the edge of the brain; without this it would seem to
    avoid the cortex. Each size bin keeps at least the 20 deepest points.

    Parameters
    ----------
    values
        Measured at points spread evenly over the atlas; NaN are left out.
    depth_mm
        Largest ball around each point that stays inside the brain.
    lesion_radii_mm
        Radius of the ball of each lesion's volume.
    n_bins
        Sizes are put into bins of equally many lesions.
    """
    known = np.isfinite(values)
    order = np.argsort(-depth_mm[known], kind="stable")
    depth, ordered = depth_mm[known][order], values[known][order]
    strata, radii = size_bins(lesion_radii_mm, n_bins)
    n_fitting = np.maximum(np.searchsorted(-depth, -radii, side="right"), 20)
    return Chance(tuple(_pool(ordered[:n]) for n in n_fitting) or (_pool(values),), strata)


def size_bins(
    radii_mm: Float64[np.ndarray, " n"], n_bins: int = 12
) -> tuple[Int64[np.ndarray, " n"], Float64[np.ndarray, " b"]]:
    """Put sizes into bins of about equally many; without sizes there are no bins.

    Returns
    -------
    bins, bin_radii
        Bin of each size, and the mean size of each bin.

    Examples
    --------
    >>> bins, radii = size_bins(np.array([1.0, 9.0, 2.0, 10.0]), 2)
    >>> bins.tolist(), radii.tolist()
    ([0, 1, 0, 1], [1.5, 9.5])
    """
    if not len(radii_mm):
        return np.zeros(0, dtype=np.int64), np.zeros(0)
    edges = np.unique(np.quantile(radii_mm, np.linspace(0, 1, n_bins + 1)[1:-1], method="lower"))
    _, bins = np.unique(np.searchsorted(edges, radii_mm, side="left"), return_inverse=True)
    return bins.astype(np.int64), np.bincount(bins, radii_mm) / np.bincount(bins)


def normal_scores(values: Float64[np.ndarray, " n"], chance: Chance) -> Float64[np.ndarray, " n"]:
    """Turn each lesion's place within its pool into a normal score: by chance standard normal.

    Examples
    --------
    >>> chance = uniform_chance(np.arange(5.0), 1)
    >>> normal_scores(np.array([2.0]), chance).tolist()
    [0.0]
    """
    scores = np.zeros(len(values))
    for stratum, pool in enumerate(chance.pools):
        here = chance.strata == stratum
        below = np.searchsorted(pool, values[here], side="left")
        below = below + np.searchsorted(pool, values[here], side="right")
        share = below / (2 * len(pool))
        scores[here] = ndtri(np.clip(share, 0.5 / len(pool), 1 - 0.5 / len(pool)))
    return scores


@dataclass(frozen=True, slots=True)
class Likeness:
    """How alike the lesions of a patient are.

    Parameters
    ----------
    icc
        Intraclass correlation, 0 to 0.99.
    standard_error
        Of the estimate; 0 if no patient has two lesions.
    """

    icc: float
    standard_error: float


INDEPENDENT = Likeness(0.0, 0.0)


def estimate_likeness(values: Float64[np.ndarray, " n"], chance: Chance, patients: np.ndarray) -> Likeness:
    """Estimate how alike the lesions of a patient are, from all pairs of lesions in one patient.

    The correlation of pairs is taken twice, of normal scores and of the values themselves, which differ
    where few places are far from all others; the larger one is kept. With 20 effective patients or more
    it is taken about the mean of the cohort, which may be far from chance; with fewer about chance
    itself, which errs upwards. A pair weighs as much as its pools are wide: a mean over lesions depends
    on those most.

    Parameters
    ----------
    values
        Of the lesions.
    chance
        What each of them draws from.
    patients
        Whose lesion each is.

    References
    ----------
    Ridout, Demetrio and Firth 1999, Biometrics 55:137-148 (the pairs estimator).
    doi:10.1111/j.0006-341X.1999.00137.x
    Cochran 1977, Sampling Techniques, 3rd ed., eq. (6.13) (standard error of a ratio of sums).
    """
    _, codes = np.unique(patients, return_inverse=True)
    width = np.array([pool.std() for pool in chance.pools])[chance.strata]
    if not _pair_sums(width, codes).sum() > 0:
        return INDEPENDENT
    means = np.array([pool.mean() for pool in chance.pools])[chance.strata]
    standardised = np.divide(values - means, width, out=np.zeros(len(values)), where=width > 0)
    found = (_pair_correlation(each, width, codes) for each in (normal_scores(values, chance), standardised))
    return max(found, key=lambda likeness: likeness.icc)


def draw_sets(
    chance: Chance, patients: np.ndarray, likeness: Likeness, n_sets: int, rng: np.random.Generator
) -> Float32[np.ndarray, "k n"]:
    """Draw random cohorts with the same patients, pools and likeness within patients.

    Parameters
    ----------
    chance
        What every lesion draws from.
    patients
        Whose lesion each is.
    likeness
        Of the lesions of a patient; `INDEPENDENT` for none. Every cohort has its own, drawn from a normal
        distribution with the standard error of the estimate and cut to what is possible, so that its
        uncertainty is part of chance.
    n_sets
        Number of cohorts.
    rng
        Source of chance.
    """
    n_lesions = len(chance)
    _, codes = np.unique(patients, return_inverse=True)
    n_patients = int(codes.max()) + 1 if n_lesions else 0
    uniform = rng.random((n_sets, n_lesions), dtype=np.float32)
    if likeness != INDEPENDENT:
        drawn = rng.normal(likeness.icc, likeness.standard_error, size=(n_sets, 1))
        icc = np.clip(drawn, 0.0, _LARGEST_ICC).astype(np.float32)
        scores = rng.standard_normal((n_sets, n_lesions), dtype=np.float32)
        scores *= np.sqrt(1 - icc)
        shared = rng.standard_normal((n_sets, n_patients), dtype=np.float32)
        shared *= np.sqrt(icc)
        scores += shared[:, codes]
        uniform = ndtr(scores, out=scores)
    sets = np.empty((n_sets, n_lesions), dtype=np.float32)
    for stratum in np.unique(chance.strata):
        pool = chance.pools[stratum].astype(np.float32)
        here = np.flatnonzero(chance.strata == stratum)
        index = np.minimum((uniform[:, here] * len(pool)).astype(np.int64), len(pool) - 1)
        sets[:, here] = pool[index]
    return sets


def _pair_correlation(scores: np.ndarray, width: np.ndarray, codes: np.ndarray) -> Likeness:
    """Correlate scores, by chance of mean 0 and variance 1, over the pairs of lesions of each patient."""
    sizes = np.bincount(codes)
    weights = _pair_sums(width, codes)
    variance, added = 1.0, 0.0
    if len(scores) ** 2 / float((sizes**2).sum()) >= FEW_PATIENTS:
        scores = scores - scores.mean()
        added = float((np.bincount(codes, scores) ** 2).sum()) / len(scores) ** 2
        variance = float(scores.var()) + added
    if not variance > 0:
        return INDEPENDENT
    products = (_pair_sums(scores * width, codes) + added * weights) / variance
    icc = float(products.sum() / weights.sum())
    error = float(np.sqrt(((products - icc * weights) ** 2).sum()) / weights.sum())
    return Likeness(min(max(icc, 0.0), _LARGEST_ICC), error)


def _pair_sums(values: np.ndarray, codes: np.ndarray) -> Float64[np.ndarray, " p"]:
    """Sum the products over all ordered pairs of lesions of each patient."""
    sums = np.bincount(codes, values) ** 2 - np.bincount(codes, values**2)
    return np.asarray(sums, dtype=np.float64)


def _pool(values: np.ndarray) -> np.ndarray:
    return np.sort(values[np.isfinite(values)])
