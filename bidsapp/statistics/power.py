"""What a cohort can and cannot show: power, detectable ratios and the number of lesions that is needed."""

from collections.abc import Mapping
from math import ceil
from types import MappingProxyType

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from statsmodels.stats.power import normal_power_het, normal_sample_size_one_tail

from bidsapp.errors import DataError

POWER = 0.8

POWER_COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "region": "Region, left and right merged.",
        "expected_fraction": "Its share of the volume.",
        "design_effect": "Lesions of this cohort that weigh as much as one independent lesion.",
        "n_lesions": "Lesions of the cohort.",
        "power_half": "Probability to find a ratio of 1/2 in a cohort of this size and design effect.",
        "power_double": "The same for a ratio of 2; n/a if the region is too large to double.",
        "detectable_ratio_low": "Largest ratio below 1 found with 80 % probability; n/a if none is.",
        "detectable_ratio_high": "Smallest ratio above 1 found with 80 % probability; n/a if none is.",
        "n_lesions_half": "Lesions needed to find a ratio of 1/2 with a probability of 80 %.",
        "n_lesions_double": "The same for a ratio of 2.",
        "reason": "Why there are no numbers; n/a if there are.",
    }
)


def needed_lesions(
    fraction: float, ratio: float, level: float, *, power: float = POWER, design_effect: float = 1.0
) -> int:
    """Count the lesions needed to find that a region holds `ratio` times its expected share.

    Parameters
    ----------
    fraction
        Share of the region under the null hypothesis.
    ratio
        True share over `fraction`; not 1.
    level
        Two-sided, already divided by the number of tests.
    power
        Probability to find it.
    design_effect
        Lesions that weigh as much as one independent lesion.

    Raises
    ------
    DataError
        If fraction or ratio leave nothing to find.

    References
    ----------
    Fleiss, Levin and Paik 2003, Statistical Methods for Rates and Proportions, section 2.5 (one
    proportion, normal approximation).

    Examples
    --------
    >>> needed_lesions(224 / 517, 1.38, 0.01 / 8)
    150
    """
    if not 0 < fraction < 1 or not 0 < fraction * ratio < 1 or ratio == 1:
        raise DataError(f"share and ratio must leave a difference to find, got {fraction} and {ratio}")
    null, alternative = _deviation(fraction), _deviation(fraction * ratio)
    difference = abs(fraction * ratio - fraction)
    independent = normal_sample_size_one_tail(difference, power, level / 2, null, alternative)
    return ceil(round(float(independent) * design_effect, 6))


def power_of(
    fraction: float, ratio: float, level: float, n_lesions: float, *, design_effect: float = 1.0
) -> float:
    """Give the probability to find that a region holds `ratio` times its expected share.

    Parameters
    ----------
    fraction, ratio, level, design_effect
        As for `needed_lesions`.
    n_lesions
        Of the cohort.

    Examples
    --------
    >>> round(power_of(224 / 517, 1.38, 0.01 / 8, 149), 2)
    0.8
    """
    difference = fraction * ratio - fraction
    return float(
        normal_power_het(
            difference,
            n_lesions / design_effect,
            level,
            std_null=_deviation(fraction),
            std_alternative=_deviation(fraction * ratio),
        )
    )


def power_table(
    fractions: pd.Series, design_effects: pd.Series, n_lesions: int, *, alpha: float = 0.01
) -> pd.DataFrame:
    """Tell for every region what a cohort like this one can find.

    Normal approximation, two-sided, Bonferroni over every region that has a volume. It says what the
    next cohort needs; it adds nothing to the p-values of this one.

    Parameters
    ----------
    fractions
        Share of each region under the null hypothesis.
    design_effects
        Of each region; missing where unknown.
    n_lesions
        Lesions of the cohort.
    alpha
        Family-wise level.

    Returns
    -------
    table
        One row a region: columns of `POWER_COLUMNS`.
    """
    n_tests = int(((fractions > 0) & (fractions < 1)).sum())
    rows = []
    for region, fraction in fractions.items():
        effect = float(design_effects.get(region, np.nan))
        row = {"region": region, "expected_fraction": fraction, "n_lesions": n_lesions}
        row |= dict.fromkeys([name for name in POWER_COLUMNS if name not in row], np.nan) | {"reason": ""}
        if not 0 < fraction < 1:
            row["reason"] = "the region has no volume, or is all there is"
        elif not np.isfinite(effect):
            row["reason"] = "the design effect of this cohort is not known"
        else:
            row |= _power_row(float(fraction), effect, n_lesions, alpha / n_tests)
        rows.append(row)
    return pd.DataFrame(rows, columns=list(POWER_COLUMNS))


def _power_row(fraction: float, effect: float, n_lesions: int, level: float) -> dict[str, object]:
    doubles = 2 * fraction < 1
    many = {"design_effect": effect}
    return {
        "design_effect": effect,
        "power_half": power_of(fraction, 0.5, level, n_lesions, **many) if n_lesions else np.nan,
        "power_double": power_of(fraction, 2.0, level, n_lesions, **many)
        if n_lesions and doubles
        else np.nan,
        "detectable_ratio_low": _detectable(fraction, (1e-6, 1 - 1e-6), level, n_lesions / effect),
        "detectable_ratio_high": _detectable(
            fraction, (1 + 1e-6, (1 - 1e-9) / fraction), level, n_lesions / effect
        ),
        "n_lesions_half": float(needed_lesions(fraction, 0.5, level, **many)),
        "n_lesions_double": float(needed_lesions(fraction, 2.0, level, **many)) if doubles else np.nan,
    }


def _detectable(fraction: float, ends: tuple[float, float], level: float, n_effective: float) -> float:
    """Find the ratio nearest to 1 that has the wanted power; missing if not even the farthest has."""
    near, far = (ends[1], ends[0]) if ends[1] < 1 else ends
    if n_effective <= 0 or power_of(fraction, far, level, n_effective) < POWER:
        return float("nan")
    return float(brentq(lambda ratio: power_of(fraction, ratio, level, n_effective) - POWER, near, far))


def _deviation(share: float) -> float:
    return float(np.sqrt(share * (1 - share)))
