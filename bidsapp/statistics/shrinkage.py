"""Ratios of measured to expected as in epidemiology: exact intervals, and shrinkage of small regions."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.stats import chi2, gamma, nbinom

FEWEST_LESIONS = 10
"""With fewer of them, how much regions differ beyond chance cannot be told."""

_LIMITS = ((-7.0, 12.0), (-7.0, 12.0))
"""Of the logarithms of the prior's shape and rate; at the upper ends all regions share one ratio."""

RATIO_COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "poisson_ratio_low": "95 % exact Poisson interval of the ratio, as of a standardised incidence "
        "ratio, low end; every lesion independent.",
        "poisson_ratio_high": "Its high end.",
        "shrunken_ratio": "Ratio drawn towards that of all regions, the more the fewer lesions are expected "
        "(empirical Bayes); every lesion independent; n/a with fewer than 10 lesions.",
        "shrunken_ratio_low": "95 % credible interval of it, low end.",
        "shrunken_ratio_high": "Its high end.",
    }
)


def gamma_prior(observed: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    """Fit how ratios differ between regions: a gamma distribution, by the likelihood of all counts.

    Given its ratio, a region's count is Poisson; over all ratios it is negative binomial.

    Parameters
    ----------
    observed, expected
        Of each region; expected above 0.

    Returns
    -------
    shape, rate
        The mean ratio is ``shape / rate``.

    References
    ----------
    Clayton and Kaldor 1987, Biometrics 43:671-681 (gamma-Poisson model of standardised ratios).
    doi:10.2307/2532003
    """

    def surprise(logarithms: np.ndarray) -> float:
        shape, rate = np.exp(logarithms)
        return -float(nbinom.logpmf(observed, shape, rate / (rate + expected)).sum())

    found = minimize(
        surprise,
        np.zeros(2),
        method="Nelder-Mead",
        bounds=_LIMITS,
        options={"xatol": 1e-10, "fatol": 1e-12, "maxiter": 2000},
    )
    shape, rate = np.exp(found.x)
    return float(shape), float(rate)


def ratio_table(observed: pd.Series, fractions: pd.Series, confidence: float = 0.95) -> pd.DataFrame:
    """Give each region's ratio an exact interval, and shrink it; every lesion is taken as independent.

    Parameters
    ----------
    observed
        Lesions of each region.
    fractions
        Expected share of each region, same index.
    confidence
        Coverage of both intervals.

    Returns
    -------
    table
        ``region`` and `RATIO_COLUMNS`; NaN where nothing is expected, or too few lesions are there.

    References
    ----------
    Garwood 1936, Biometrika 28:437-442 (exact Poisson interval). doi:10.1093/biomet/28.3-4.437
    """
    count, expected = observed.to_numpy(np.float64), (fractions * observed.sum()).to_numpy(np.float64)
    table = pd.DataFrame({"region": observed.index, **dict.fromkeys(RATIO_COLUMNS, np.nan)})
    there = expected > 0
    count, expected = count[there], expected[there]
    tail = (1 - confidence) / 2
    low = np.where(count > 0, chi2.ppf(tail, 2 * np.maximum(count, 1)) / 2, 0.0)
    table.loc[there, "poisson_ratio_low"] = low / expected
    table.loc[there, "poisson_ratio_high"] = chi2.isf(tail, 2 * count + 2) / 2 / expected
    if count.sum() >= FEWEST_LESIONS and there.sum() > 2:
        shape, rate = gamma_prior(count, expected)
        table.loc[there, "shrunken_ratio"] = (shape + count) / (rate + expected)
        table.loc[there, "shrunken_ratio_low"] = gamma.ppf(tail, shape + count) / (rate + expected)
        table.loc[there, "shrunken_ratio_high"] = gamma.isf(tail, shape + count) / (rate + expected)
    return table
