"""Measured against expected counts: are lesions where the volumes of regions would put them.

The counts follow Wielenberg et al. 2026, section 3.8.2 and table 4 (doi:10.48550/arXiv.2602.12933). They
treat every lesion as an independent draw; `bidsapp.statistics.clustered` drops that assumption.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import binomtest, chisquare
from statsmodels.stats.proportion import proportion_confint

from bidsapp.errors import DataError, UsageError
from bidsapp.statistics.multiple_comparisons import adjust

PAPER_CELLS = ("Cerebral White Matter", "Cerebral Cortex", "Cerebellum Cortex")
OTHER = "Other"


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionSettings:
    """How a region is tested; the defaults are the paper's.

    Parameters
    ----------
    alpha
        Probability of any false finding within one stratum.
    minimum_count
        A region with fewer lesions is reported, but not tested and not corrected for.
    confidence
        Coverage of the intervals.
    """

    alpha: float = 0.01
    minimum_count: int = 10
    confidence: float = 0.95

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1 or not 0 < self.confidence < 1:
            raise UsageError(f"alpha and confidence must lie between 0 and 1, got {self}")


PAPER = RegionSettings()


@dataclass(frozen=True, slots=True)
class ChiSquareTest:
    """Outcome of a chi-square test over several cells.

    Parameters
    ----------
    chi2, degrees_of_freedom, p_value
        None where the test cannot be done.
    cells
        Names of the cells compared.
    reason
        Why there is no p-value; empty when there is one.
    """

    chi2: float | None
    degrees_of_freedom: int | None
    p_value: float | None
    cells: tuple[str, ...]
    reason: str = ""


def volume_fractions(volumes: pd.Series) -> pd.Series:
    """Turn region volumes (mm3, or any one unit) into each region's share of all of them.

    Raises
    ------
    DataError
        If a volume is negative or missing, or all are zero.

    Examples
    --------
    >>> volume_fractions(pd.Series({"Putamen": 1.0, "Caudate": 3.0})).to_dict()
    {'Putamen': 0.25, 'Caudate': 0.75}
    """
    values = volumes.astype(np.float64)
    if not np.isfinite(values).all() or (values < 0).any() or not values.sum() > 0:
        raise DataError(f"region volumes must be at least 0 and not all 0, got {volumes.to_dict()}")
    return values / values.sum()


def region_table(observed: pd.Series, fractions: pd.Series, settings: RegionSettings = PAPER) -> pd.DataFrame:
    """Compare each region's number of lesions with what its volume would give it.

    Null hypothesis, region by region: every lesion falls into the region independently with the region's
    share of the volume. Two-sided; corrected (Bonferroni) for the regions with at least
    `settings.minimum_count` lesions. The others are shown with their p-values and ``tested`` False.

    Parameters
    ----------
    observed
        Number of lesions of each region, indexed by its name.
    fractions
        Probability of each region under the null hypothesis, same index.
    settings
        Alpha, smallest count that is tested, coverage of the interval.

    Returns
    -------
    table
        One row a region: ``region``, ``n_observed``, ``n_expected``, ``expected_fraction``, ``ratio`` with
        ``ratio_low`` and ``ratio_high`` (Wilson), ``chi2`` (two cells: this region and the rest), ``z``,
        ``chi2_p_value``, ``exact_p_value`` (binomial), ``tested``, ``bonferroni_p_value``,
        ``significant`` and ``reason``: why a number is missing (NaN) or the region was not tested.

    Raises
    ------
    DataError
        If the regions differ, a count is not a whole number or a fraction is no probability.

    References
    ----------
    Wielenberg et al. 2026, table 4. Wilson 1927, J. Am. Stat. Assoc. 22:209.
    doi:10.1080/01621459.1927.10502953

    Examples
    --------
    >>> table = region_table(pd.Series({"A": 20, "B": 80}), pd.Series({"A": 0.1, "B": 0.9}))
    >>> table.loc[0, ["n_expected", "ratio", "chi2"]].astype(float).round(3).tolist()
    [10.0, 2.0, 11.111]
    """
    check_counts(observed, fractions)
    n_lesions = int(observed.sum())
    rows = [
        _region_row(region, int(observed[region]), float(fractions[region]), n_lesions, settings)
        for region in observed.index
    ]
    table = pd.DataFrame(rows)
    table["bonferroni_p_value"] = adjust(table["chi2_p_value"].where(table["tested"]), "bonferroni")
    table["significant"] = table["bonferroni_p_value"] < settings.alpha
    return table[[*(name for name in table.columns if name != "reason"), "reason"]]


def omnibus_test(
    observed: pd.Series,
    fractions: pd.Series,
    cells: Sequence[str] | None = None,
    *,
    minimum_expected: float = 5.0,
) -> ChiSquareTest:
    """Test all regions at once against their volumes.

    Null hypothesis: each lesion falls independently into a region with the region's share of the volume.
    One test, one-sided by nature (any departure raises chi-square).

    Parameters
    ----------
    observed, fractions
        As for `region_table`.
    cells
        Regions that keep a cell of their own, the rest is pooled into "Other"; by default those that
        expect `minimum_expected` lesions (Cochran's rule), and as many more as bring "Other" to it.
    minimum_expected
        See `cells`.

    Raises
    ------
    DataError
        As `region_table`, and if a cell is no region.

    References
    ----------
    Cochran 1954, Biometrics 10:417-451. doi:10.2307/3001616
    """
    check_counts(observed, fractions)
    expected = fractions * observed.sum()
    kept = list(cells) if cells is not None else _cells_with_enough(expected, minimum_expected)
    if set(kept) - set(observed.index):
        raise DataError(f"cells must be among the regions {list(observed.index)}, got {kept}")
    rest = [region for region in observed.index if region not in kept]
    counts = np.array([*observed[kept], observed[rest].sum()], dtype=np.float64)
    wanted = np.array([*expected[kept], expected[rest].sum()])
    if counts[-1] == 0 and wanted[-1] == 0:
        counts, wanted = counts[:-1], wanted[:-1]
    names = (*kept, OTHER)[: len(counts)]
    if observed.sum() == 0 or len(counts) < 2:
        return ChiSquareTest(None, None, None, names, "too few lesions for two cells")
    if (wanted == 0).any():
        return ChiSquareTest(None, None, None, names, "a cell expects no lesion")
    chi2, p_value = chisquare(counts, wanted * counts.sum() / wanted.sum())
    return ChiSquareTest(float(chi2), len(counts) - 1, float(p_value), names)


def check_counts(observed: pd.Series, fractions: pd.Series) -> None:
    """Refuse counts and fractions that do not belong together."""
    if not observed.index.is_unique or set(observed.index) != set(fractions.index):
        raise DataError(
            f"counts and fractions must name the same regions, got {list(observed.index)} and "
            f"{list(fractions.index)}"
        )
    counts = observed.to_numpy(np.float64)
    if not np.isfinite(counts).all() or (counts < 0).any() or (counts != np.round(counts)).any():
        raise DataError(f"counts must be whole numbers of at least 0, got {observed.to_dict()}")
    shares = fractions.to_numpy(np.float64)
    if not np.isfinite(shares).all() or (shares < 0).any() or (shares > 1).any():
        raise DataError(f"fractions must be probabilities, got {fractions.to_dict()}")


def why_not(count: int, fraction: float, n_lesions: int) -> str:
    """Say in words why nothing can be tested; empty when it can."""
    if n_lesions == 0:
        return "no lesions"
    if fraction == 0:
        return "no lesion expected: the region has no volume" + (", yet lesions lie in it" if count else "")
    if fraction == 1:
        return "the region is all there is"
    return ""


def _region_row(
    region: str, count: int, fraction: float, n_lesions: int, settings: RegionSettings
) -> dict[str, object]:
    expected = fraction * n_lesions
    row: dict[str, object] = {
        "region": region,
        "n_observed": count,
        "n_expected": expected,
        "expected_fraction": fraction,
    }
    names = ("ratio", "ratio_low", "ratio_high", "chi2", "z", "chi2_p_value", "exact_p_value")
    reason = why_not(count, fraction, n_lesions)
    if reason:
        return row | dict.fromkeys(names, np.nan) | {"tested": False, "reason": reason}
    low, high = proportion_confint(count, n_lesions, alpha=1 - settings.confidence, method="wilson")
    chi2, p_value = chisquare([count, n_lesions - count], [expected, n_lesions - expected])
    z = (count - expected) / np.sqrt(expected * (1 - fraction))
    exact = float(binomtest(count, n_lesions, fraction).pvalue)
    values = (count / expected, low / fraction, high / fraction, chi2, z, p_value, exact)
    is_tested = count >= settings.minimum_count
    reason = "" if is_tested else f"fewer than {settings.minimum_count} lesions"
    numbers = dict(zip(names, map(float, values), strict=True))
    return row | numbers | {"tested": is_tested, "reason": reason}


def _cells_with_enough(expected: pd.Series, minimum: float) -> list[str]:
    kept = [str(region) for region in expected.index if expected[region] >= minimum]
    rest = float(expected.sum() - expected[kept].sum())
    while kept and 0 < rest < minimum:
        smallest = min(kept, key=lambda region: float(expected[region]))
        kept.remove(smallest)
        rest += float(expected[smallest])
    return kept
