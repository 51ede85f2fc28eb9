"""Region tests for lesions that come in patients: the default inference.

Lesions of one patient resemble each other, so 500 lesions in 200 patients hold less information than 500
independent ones. A chi-square that ignores this finds too much. Here the number of a patient's lesions in a
region is beta-binomial: expected share p, and an intraclass correlation (ICC) within the patient; the number
over all patients is the sum of these, its distribution their convolution.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float64
from scipy.stats import betabinom, binom, chi2
from statsmodels.stats.proportion import proportion_confint

from bidsapp.errors import DataError
from bidsapp.statistics.multiple_comparisons import METHODS, adjust
from bidsapp.statistics.regions import PAPER, RegionSettings, check_counts, why_not

FEW_PATIENTS = 20
"""Below this effective number of patients the ICC is measured about the null hypothesis: it errs upwards."""

_LARGEST_ICC = 0.99


@dataclass(frozen=True, slots=True)
class Clustering:
    """How alike the lesions of one patient are.

    Parameters
    ----------
    icc
        Intraclass correlation of each region, at least the pooled one; 0 means independent lesions.
    pooled_icc
        The same over all regions together.
    design_effect
        How many lesions of this cohort weigh as much as one independent lesion, each region.
    effective_patients
        Squared number of lesions over the sum of squared lesions per patient: the number of patients,
        unless a few of them hold most lesions.
    """

    icc: pd.Series
    pooled_icc: float
    design_effect: pd.Series
    effective_patients: float


def sum_distribution(sizes: Sequence[int], probability: float, icc: float) -> Float64[np.ndarray, " n"]:
    """Distribution of the number of lesions in a region, summed over patients.

    Each patient's number is beta-binomial with a = p (1 - ICC) / ICC and b = (1 - p) (1 - ICC) / ICC,
    binomial where the ICC is 0.

    Parameters
    ----------
    sizes
        Lesions of each patient.
    probability
        p, the chance of one lesion to lie in the region.
    icc
        Intraclass correlation, at least 0 and below 1.

    Returns
    -------
    distribution
        Probability of 0, 1, ..., ``sum(sizes)`` lesions.

    Raises
    ------
    DataError
        If `probability` does not lie between 0 and 1, or `icc` is out of range.

    References
    ----------
    Skellam 1948, J. R. Stat. Soc. B 10:257-261 (the beta-binomial distribution).

    Examples
    --------
    >>> sum_distribution([1, 1], 0.5, 0.0).round(6).tolist()
    [0.25, 0.5, 0.25]
    """
    if not 0 < probability < 1 or not 0 <= icc < 1:
        raise DataError(f"probability must lie in (0, 1) and icc in [0, 1), got {probability} and {icc}")
    distribution = np.ones(1)
    values, repeats = np.unique(np.asarray(sizes, dtype=np.int64), return_counts=True)
    for size, n_patients in zip(values.tolist(), repeats.tolist(), strict=True):
        one = _one_patient(size, probability, icc)
        for _ in range(n_patients):
            distribution = np.convolve(distribution, one)
    return distribution


def clustered_p_value(count: int, sizes: Sequence[int], probability: float, icc: float) -> float:
    """Test one region's number of lesions, patients kept together.

    Null hypothesis: a lesion lies in the region with `probability`, and lesions of one patient are
    correlated by `icc`. Two-sided by doubling the smaller tail; one test, not corrected.

    Parameters
    ----------
    count
        Lesions in the region, all patients.
    sizes, probability, icc
        As for `sum_distribution`.

    Examples
    --------
    >>> round(clustered_p_value(6, [1, 1, 2, 3, 5, 8], 0.1, 0.2), 6)
    0.10282
    """
    distribution = sum_distribution(sizes, probability, icc)
    tail = min(float(distribution[: count + 1].sum()), float(distribution[count:].sum()))
    return min(1.0, 2 * tail)


def estimate_clustering(counts: pd.DataFrame, fractions: pd.Series) -> Clustering:
    """Measure how alike the lesions of one patient are, from pairs of lesions in the same patient.

    ICC = sum over pairs of (y - p)(y' - p) / (number of pairs * p (1 - p)), y being 1 for a lesion in the
    region; negative estimates count as 0. A region's ICC is the larger of its own and the pooled one. p is
    the cohort's share; with fewer than 20 effective patients that share is too much their own making, and
    p is the share under the null hypothesis, which makes the test careful. Patients with one lesion each
    give ICC 0: there is nothing to be alike.

    Parameters
    ----------
    counts
        Lesions of each patient (rows) in each region (columns).
    fractions
        Share of each region under the null hypothesis.

    References
    ----------
    Ridout, Demetrio and Firth 1999, Biometrics 55:137-148 (moment and pair estimators; design effect
    1 + (sum n^2 / N - 1) ICC after Kish 1965). doi:10.1111/j.0006-341X.1999.00137.x

    Examples
    --------
    Two patients whose two lesions always lie together:

    >>> counts = pd.DataFrame({"A": [2, 0], "B": [0, 2]})
    >>> estimate_clustering(counts, pd.Series({"A": 0.5, "B": 0.5})).pooled_icc
    0.99
    """
    values = counts.to_numpy(np.float64)
    sizes = values.sum(axis=1, keepdims=True)
    n_lesions, squares = float(sizes.sum()), float((sizes**2).sum())
    effective = n_lesions**2 / squares if squares else 0.0
    share = fractions.loc[counts.columns].to_numpy(np.float64)
    if effective >= FEW_PATIENTS:
        share = values.sum(axis=0) / n_lesions
    products = ((values - sizes * share) ** 2 - values * (1 - share) ** 2 - (sizes - values) * share**2).sum(
        0
    )
    scale = share * (1 - share) * (squares - n_lesions)
    pooled = _as_icc(products.sum(), scale.sum())
    own = [max(pooled, _as_icc(*pair)) for pair in zip(products, scale, strict=True)]
    icc = pd.Series(own, index=counts.columns, dtype=np.float64)
    inflation = max(squares / n_lesions - 1, 0.0) if n_lesions else 0.0
    return Clustering(icc, pooled, 1 + inflation * icc, effective)


def largest_design_effect(chi2_statistic: float, alpha: float, n_tests: int) -> float:
    """Find the largest design effect under which a chi-square (1 degree of freedom) stays significant.

    Below 1 the finding is not significant even for independent lesions.

    Parameters
    ----------
    chi2_statistic
        Two-cell chi-square that takes lesions as independent.
    alpha
        Level, shared among `n_tests` by Bonferroni.
    n_tests
        Questions asked.

    References
    ----------
    Rao and Scott 1981, J. Am. Stat. Assoc. 76:221-230 (chi-square divided by the design effect).
    doi:10.1080/01621459.1981.10477633

    Examples
    --------
    >>> round(largest_design_effect(32.746689, 0.01, 19), 2)
    2.72
    """
    return chi2_statistic / float(chi2.isf(alpha / n_tests, 1))


def clustered_table(
    counts: pd.DataFrame, fractions: pd.Series, settings: RegionSettings = PAPER
) -> pd.DataFrame:
    """Compare each region's number of lesions with what its volume would give it, patients kept together.

    Null hypothesis, region by region: a lesion lies in the region with the region's share of the volume,
    lesions of one patient are alike by the measured ICC. Two-sided; corrected for every region that has a
    volume (no smallest count).

    Parameters
    ----------
    counts
        Lesions of each patient (rows, each with at least one lesion) in each region (columns).
    fractions
        Probability of each region under the null hypothesis.
    settings
        Alpha and coverage of the intervals.

    Returns
    -------
    table
        One row a region: ``region``, ``icc``, ``design_effect``, ``clustered_p_value`` and its corrections,
        ``clustered_ratio_low`` and ``clustered_ratio_high`` (Wilson on the lesions divided by the design
        effect), ``largest_design_effect`` and ``largest_icc`` under which the region stays significant,
        ``clustered_significant`` (Bonferroni) and ``clustered_reason``: why a number is missing (NaN).

    Raises
    ------
    DataError
        If the regions differ or a count is not a whole number.
    """
    observed = counts.sum(axis=0)
    check_counts(observed, fractions)
    if (counts.to_numpy() < 0).any():
        raise DataError("counts must be at least 0")
    sizes = counts.sum(axis=1)
    clustering = estimate_clustering(counts, fractions)
    n_tests = int(((fractions > 0) & (fractions < 1)).sum())
    rows = []
    for region in counts.columns:
        reason = why_not(int(observed[region]), float(fractions[region]), int(sizes.sum()))
        if not reason and sizes.gt(0).sum() < 2 and sizes.sum() > 1:
            reason = "one patient: nothing to tell the region's pull from the patient's"
        row: dict[str, object] = {"region": region, "clustered_reason": reason}
        if not reason:
            row |= _clustered_row(
                int(observed[region]),
                sizes,
                float(fractions[region]),
                float(clustering.icc[region]),
                settings,
            ) | _robustness(int(observed[region]), sizes, float(fractions[region]), settings.alpha, n_tests)
        rows.append(row)
    table = pd.DataFrame(rows).reindex(columns=["region", *_NUMBERS, "clustered_reason"])
    table[list(_NUMBERS)] = table[list(_NUMBERS)].astype(np.float64)
    for method in METHODS:
        table[f"clustered_{method}_p_value"] = adjust(table["clustered_p_value"], method)
    table["clustered_significant"] = table["clustered_bonferroni_p_value"] < settings.alpha
    return table


_NUMBERS = (
    "icc",
    "design_effect",
    "clustered_ratio_low",
    "clustered_ratio_high",
    "clustered_p_value",
    "largest_design_effect",
    "largest_icc",
)


def _clustered_row(
    count: int, sizes: pd.Series, fraction: float, icc: float, settings: RegionSettings
) -> dict[str, object]:
    n_lesions = int(sizes.sum())
    design_effect = 1 + (float((sizes**2).sum()) / n_lesions - 1) * icc
    low, high = proportion_confint(
        count / design_effect, n_lesions / design_effect, alpha=1 - settings.confidence, method="wilson"
    )
    return {
        "icc": icc,
        "design_effect": design_effect,
        "clustered_ratio_low": low / fraction,
        "clustered_ratio_high": high / fraction,
        "clustered_p_value": clustered_p_value(count, sizes[sizes > 0].tolist(), fraction, icc),
    }


def _robustness(
    count: int, sizes: pd.Series, fraction: float, alpha: float, n_tests: int
) -> dict[str, object]:
    """Find how much clustering a finding survives; missing where even none is too much."""
    n_lesions = int(sizes.sum())
    expected = n_lesions * fraction
    statistic = (count - expected) ** 2 / (expected * (1 - fraction))
    survived = largest_design_effect(statistic, alpha, n_tests)
    inflation = float((sizes**2).sum()) / n_lesions - 1
    largest_icc = min(1.0, (survived - 1) / inflation) if survived >= 1 and inflation > 0 else np.nan
    return {"largest_design_effect": survived, "largest_icc": largest_icc}


def _one_patient(size: int, probability: float, icc: float) -> Float64[np.ndarray, " n"]:
    lesions = np.arange(size + 1)
    if icc < 1e-7 or size < 2:  # below, the beta function of huge numbers loses more than the ICC adds
        return np.asarray(binom.pmf(lesions, size, probability), dtype=np.float64)
    strength = (1 - icc) / icc
    return np.asarray(
        betabinom.pmf(lesions, size, probability * strength, (1 - probability) * strength), dtype=np.float64
    )


def _as_icc(products: float, scale: float) -> float:
    return float(np.clip(products / scale, 0.0, _LARGEST_ICC)) if scale > 0 else 0.0
