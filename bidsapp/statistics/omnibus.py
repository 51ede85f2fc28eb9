"""All regions at once, without large numbers: simulated cohorts instead of a chi-square distribution."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int64

from bidsapp.statistics.clustered import ONE_PATIENT, pair_iccs, pooled_null_icc
from bidsapp.statistics.regions import check_counts

N_DRAWS = 999


@dataclass(frozen=True, slots=True)
class SimulatedOmnibus:
    """Chi-square over every region that has a volume, against simulated cohorts.

    Parameters
    ----------
    chi2
        Sum over the regions of (measured - expected)² / expected; None where nothing can be tested.
    independent_p_value
        Share of cohorts of independent lesions that deviate at least as much.
    clustered_p_value
        The same with patients of the same sizes whose lesions are alike by `icc`.
    icc
        The larger of the pooled pair estimate and the likeliest one under the null hypothesis.
    n_draws
        Simulated cohorts; the smallest possible p-value is ``1 / (n_draws + 1)``.
    reason
        Why something is missing; empty if nothing is.
    """

    chi2: float | None
    independent_p_value: float | None
    clustered_p_value: float | None
    icc: float | None
    n_draws: int
    reason: str = ""


def simulated_omnibus(
    counts: pd.DataFrame, fractions: pd.Series, *, n_draws: int = N_DRAWS, seed: int = 0
) -> SimulatedOmnibus:
    """Test all regions at once against their volumes, however few lesions they expect.

    Null hypothesis: a lesion falls into a region with the region's share of the volume; independent
    lesions are multinomial, those of one patient Dirichlet-multinomial. One test, one-sided by nature.

    Parameters
    ----------
    counts
        Lesions of each patient (rows) in each region (columns).
    fractions
        Share of each region under the null hypothesis.
    n_draws
        Simulated cohorts of either kind.
    seed
        Of the simulation.

    Raises
    ------
    DataError
        If counts and fractions do not belong together.

    References
    ----------
    Mosimann 1962, Biometrika 49:65-82 (the Dirichlet-multinomial distribution). Phipson and Smyth 2010,
    Stat. Appl. Genet. Mol. Biol. 9:39, eq. (2).
    """
    observed = counts.sum(axis=0)
    check_counts(observed, fractions)
    shares = fractions.loc[counts.columns].to_numpy(np.float64)
    if observed.sum() == 0:
        return SimulatedOmnibus(None, None, None, None, 0, "no lesions")
    if observed.to_numpy()[shares == 0].any():
        return SimulatedOmnibus(None, None, None, None, 0, "lesions lie in a region without a volume")
    kept = shares > 0
    if kept.sum() < 2:
        return SimulatedOmnibus(None, None, None, None, 0, "fewer than two regions have a volume")
    values, shares = counts.to_numpy(np.int64)[:, kept], shares[kept]
    sizes = values.sum(axis=1)
    rng = np.random.default_rng(seed)
    measured = float(_chi_square(values.sum(axis=0)[None], shares)[0])
    independent = _p_value(measured, rng.multinomial(int(sizes.sum()), shares, size=n_draws), shares)
    if (sizes > 0).sum() < 2 and sizes.sum() > 1:
        return SimulatedOmnibus(measured, independent, None, None, n_draws, ONE_PATIENT)
    icc = max(pair_iccs(values, shares)[1], pooled_null_icc(values, shares))
    together = np.array([_draw(sizes, shares, icc, rng) for _ in range(n_draws)])
    return SimulatedOmnibus(measured, independent, _p_value(measured, together, shares), icc, n_draws)


def _draw(
    sizes: Int64[np.ndarray, " n"], shares: Float64[np.ndarray, " r"], icc: float, rng: np.random.Generator
) -> Int64[np.ndarray, " r"]:
    """Draw one cohort; patients with one lesion are independent whatever the ICC."""
    several = sizes[sizes > 1] if icc > 0 else sizes[:0]
    total = rng.multinomial(int(sizes.sum() - several.sum()), shares)
    if not len(several):
        return total
    mixes = rng.standard_gamma(shares * (1 - icc) / icc, size=(len(several), len(shares)))
    sums = mixes.sum(axis=1, keepdims=True)
    mixes = np.where(sums > 0, mixes / np.maximum(sums, np.finfo(float).tiny), shares)
    return total + rng.multinomial(several, mixes / mixes.sum(axis=1, keepdims=True)).sum(axis=0)


def _p_value(measured: float, draws: np.ndarray, shares: np.ndarray) -> float:
    as_large = int((_chi_square(draws, shares) >= measured * (1 - 1e-9)).sum())
    return (1 + as_large) / (1 + len(draws))


def _chi_square(counts: np.ndarray, shares: np.ndarray) -> Float64[np.ndarray, " k"]:
    expected = counts.sum(axis=1, keepdims=True) * shares
    return np.asarray(((counts - expected) ** 2 / expected).sum(axis=1))
