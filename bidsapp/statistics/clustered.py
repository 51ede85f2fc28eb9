"""Region tests for lesions that come in patients: the default inference.

Lesions of one patient resemble each other, so 500 lesions in 200 patients hold less information than 500
independent ones. A chi-square that ignores this finds too much. Here the number of a patient's lesions in a
region is beta-binomial: expected share p, and an intraclass correlation (ICC) within the patient; the number
over all patients is the sum of these, its distribution their convolution.

Two estimates of the ICC: about the cohort's own shares, for the intervals; and the likeliest one if the null
hypothesis is true, for the test. The second matters for compact regions that a few patients with very many
lesions all miss: the cohort then shows no clustering there, although that is how it came to look empty.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int64
from scipy.stats import betabinom, chi2
from statsmodels.stats.proportion import proportion_confint

from bidsapp.errors import DataError
from bidsapp.statistics.beta_binomial import clustered_p_values
from bidsapp.statistics.multiple_comparisons import METHODS, adjust
from bidsapp.statistics.regions import PAPER, RegionSettings, check_counts, why_not

FEW_PATIENTS = 20
"""Below this effective number of patients the ICC is measured about the null hypothesis: it errs upwards."""

_LARGEST_ICC = 0.99
ICC_GRID = np.concatenate([[0.0], np.geomspace(0.005, 0.95, 40)])


@dataclass(frozen=True, slots=True)
class Clustering:
    """How alike the lesions of one patient are.

    Parameters
    ----------
    icc
        Intraclass correlation of each region, at least the pooled one; 0 means independent lesions.
    null_icc
        The same under the null hypothesis, at least `icc`: what the test uses.
    pooled_icc
        The same over all regions together.
    design_effect
        How many lesions of this cohort weigh as much as one independent lesion, each region.
    effective_patients
        Squared number of lesions over the sum of squared lesions per patient: the number of patients,
        unless a few of them hold most lesions.
    """

    icc: pd.Series
    null_icc: pd.Series
    pooled_icc: float
    design_effect: pd.Series
    effective_patients: float


def estimate_clustering(counts: pd.DataFrame, fractions: pd.Series) -> Clustering:
    """Measure how alike the lesions of one patient are, from pairs of lesions in the same patient.

    ICC = sum over pairs of (y - p)(y' - p) / (number of pairs * p (1 - p)), y being 1 for a lesion in the
    region; negative estimates count as 0. A region's ICC is the larger of its own and the pooled one. p is
    the cohort's share; with fewer than 20 effective patients that share is too much their own making, and
    p is the share under the null hypothesis, which makes the test careful. Patients with one lesion each
    give ICC 0: there is nothing to be alike. Under the null hypothesis, the ICC of a region is the one of
    highest beta-binomial likelihood, its share held at the null's, and never less than the estimate above.

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
    values = counts.to_numpy(np.int64)
    shares = fractions.loc[counts.columns].to_numpy(np.float64)
    own, pooled = pair_iccs(values, shares)
    sizes = values.sum(axis=1)
    inflation = _inflation(sizes)
    icc = pd.Series(own, index=counts.columns, dtype=np.float64)
    at_null = pd.Series(np.maximum(own, null_iccs(values, shares)), index=counts.columns, dtype=np.float64)
    return Clustering(icc, at_null, pooled, 1 + inflation * icc, effective_patients(sizes))


def effective_patients(sizes: Int64[np.ndarray, " n"]) -> float:
    """Count patients by their weight: squared number of lesions over the sum of squares; 0 without lesions.

    Examples
    --------
    >>> effective_patients(np.array([2, 2, 2])), effective_patients(np.array([8, 1, 1]))
    (3.0, 1.5151515151515151)
    """
    squares = float((sizes**2).sum())
    return float(sizes.sum()) ** 2 / squares if squares else 0.0


def pair_iccs(
    counts: Int64[np.ndarray, "n r"], fractions: Float64[np.ndarray, " r"]
) -> tuple[Float64[np.ndarray, " r"], float]:
    """Estimate the ICC of each region, at least the pooled one, and the pooled one: `estimate_clustering`."""
    own, pooled = iccs_of_terms(pair_terms(counts).sum(axis=1), fractions)
    return own, float(pooled[0])


def pair_terms(counts: Int64[np.ndarray, "n r"]) -> Int64[np.ndarray, "3 n r"]:
    """Give what each patient adds to the three sums that `iccs_of_terms` needs.

    Lesions in the region; ordered pairs of lesions that both lie there; pairs whose first lies there.
    """
    sizes = counts.sum(axis=1, keepdims=True)
    return np.stack([counts, counts * (counts - 1), counts * (sizes - 1)])


def iccs_of_terms(
    sums: Int64[np.ndarray, "3 *k r"], fractions: Float64[np.ndarray, " r"]
) -> tuple[Float64[np.ndarray, "*k r"], Float64[np.ndarray, "*k 1"]]:
    """Estimate the ICCs of `pair_iccs` for one cohort or many, each given by its sums of `pair_terms`."""
    inside, alike, mixed = sums
    n_lesions, pairs = inside.sum(axis=-1, keepdims=True), mixed.sum(axis=-1, keepdims=True)
    is_small = n_lesions**2 < FEW_PATIENTS * (pairs + n_lesions)
    share = np.where(is_small, fractions, inside / np.maximum(n_lesions, 1))
    products = alike - 2 * share * mixed + share**2 * pairs
    scale = share * (1 - share) * pairs
    pooled = _as_icc(products.sum(axis=-1, keepdims=True), scale.sum(axis=-1, keepdims=True))
    return np.maximum(pooled, _as_icc(products, scale)), pooled


def estimate_design_effects(
    counts: Int64[np.ndarray, "n r"], fractions: Float64[np.ndarray, " r"]
) -> Float64[np.ndarray, " r"]:
    """Give the design effect of each region as `estimate_clustering` does, for simulations."""
    return 1 + _inflation(counts.sum(axis=1)) * pair_iccs(counts, fractions)[0]


def null_iccs(
    counts: Int64[np.ndarray, "n r"], fractions: Float64[np.ndarray, " r"]
) -> Float64[np.ndarray, " r"]:
    """Find the ICC of highest beta-binomial likelihood, each region's share being `fractions`.

    0 where the share is 0 or 1, or no patient has two lesions.

    Parameters
    ----------
    counts
        Lesions of each patient (rows) in each region (columns).
    fractions
        Share of each region under the null hypothesis.

    Examples
    --------
    Half of the volume, and all lesions of a patient always together:

    >>> null_iccs(np.array([[5, 0], [0, 5], [5, 0], [0, 5]]), np.array([0.5, 0.5])).round(2).tolist()
    [0.95, 0.95]
    """
    logs = _null_likelihoods(counts, fractions)
    possible = (fractions > 0) & (fractions < 1)
    return np.where(possible, ICC_GRID[logs.argmax(axis=0)], 0.0)


def pooled_null_icc(counts: Int64[np.ndarray, "n r"], fractions: Float64[np.ndarray, " r"]) -> float:
    """Find the one ICC of highest likelihood over all regions, their shares being `fractions`."""
    possible = (fractions > 0) & (fractions < 1)
    return float(ICC_GRID[_null_likelihoods(counts, fractions)[:, possible].sum(axis=1).argmax()])


def _null_likelihoods(
    counts: Int64[np.ndarray, "n r"], fractions: Float64[np.ndarray, " r"]
) -> Float64[np.ndarray, "g r"]:
    """Log likelihood of each ICC of the grid; 0 throughout if no patient has two lesions."""
    several = counts[counts.sum(axis=1) > 1]
    if not len(several):
        return np.zeros((len(ICC_GRID), len(fractions)))
    kinds = [
        np.unique(np.stack([several.sum(axis=1), column]), axis=1, return_counts=True) for column in several.T
    ]
    lengths = np.array([len(repeats) for _, repeats in kinds])
    size, inside = np.concatenate([kind for kind, _ in kinds], axis=1)
    repeats = np.concatenate([repeats for _, repeats in kinds])
    possible = (fractions > 0) & (fractions < 1)
    share = np.repeat(np.where(possible, fractions, 0.5), lengths)
    logs = patient_likelihoods(inside, size, share) * repeats
    return np.asarray(np.add.reduceat(logs, np.cumsum(lengths) - lengths, axis=1))


def patient_likelihoods(
    inside: Int64[np.ndarray, " n"], sizes: Int64[np.ndarray, " n"], shares: Float64[np.ndarray, " n"]
) -> Float64[np.ndarray, "g n"]:
    """Log likelihood of each ICC of `ICC_GRID` (rows) for each patient (columns)."""
    strength = 1 / np.maximum(ICC_GRID, 1e-6)[:, None] - 1
    return np.asarray(betabinom.logpmf(inside, sizes, shares * strength, (1 - shares) * strength))


def region_p_values(
    counts: Int64[np.ndarray, "n r"], fractions: Float64[np.ndarray, " r"]
) -> Float64[np.ndarray, " r"]:
    """Test every region as `clustered_table` does, for simulations; not corrected.

    Parameters
    ----------
    counts
        Lesions of each patient (rows) in each region (columns).
    fractions
        Share of each region under the null hypothesis, all between 0 and 1.
    """
    icc = np.maximum(pair_iccs(counts, fractions)[0], null_iccs(counts, fractions))
    return clustered_p_values(counts.sum(axis=0), counts.sum(axis=1), fractions, icc)


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
        One row a region: ``region``, ``icc``, ``null_icc``, ``design_effect``, ``clustered_p_value`` and its
        corrections,
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
    testable = (fractions > 0) & (fractions < 1)
    reasons = {
        region: why_not(int(observed[region]), float(fractions[region]), int(sizes.sum()))
        for region in counts.columns
    }
    one_patient = sizes.gt(0).sum() < 2 and sizes.sum() > 1
    rows = []
    for region, why in reasons.items():
        reason = why or (ONE_PATIENT if one_patient else "")
        row: dict[str, object] = {"region": region, "clustered_reason": reason}
        if not reason:
            fraction, count = float(fractions[region]), int(observed[region])
            row |= {"icc": clustering.icc[region], "design_effect": clustering.design_effect[region]}
            row |= _robustness(count, sizes, fraction, settings.alpha, int(testable.sum()))
            row["null_icc"] = float(clustering.null_icc[region])
        rows.append(row)
    table = pd.DataFrame(rows).reindex(columns=["region", *_NUMBERS, "clustered_reason"])
    table[list(_NUMBERS)] = table[list(_NUMBERS)].astype(np.float64)
    is_tested = table["clustered_reason"] == ""
    tested = table["region"][is_tested].tolist()
    found, shares = observed[tested].to_numpy(np.int64), fractions[tested].to_numpy(np.float64)
    icc = clustering.null_icc[tested].to_numpy(np.float64)
    table.loc[is_tested, "clustered_p_value"] = clustered_p_values(found, sizes.to_numpy(), shares, icc)
    low, high = ratio_intervals(
        found, shares, clustering.design_effect[tested].to_numpy(), int(sizes.sum()), settings.confidence
    )
    table.loc[is_tested, "clustered_ratio_low"], table.loc[is_tested, "clustered_ratio_high"] = low, high
    for method in METHODS:
        table[f"clustered_{method}_p_value"] = adjust(table["clustered_p_value"], method)
    table["clustered_significant"] = table["clustered_bonferroni_p_value"] < settings.alpha
    return table


def ratio_intervals(
    n_inside: Int64[np.ndarray, " r"],
    fractions: Float64[np.ndarray, " r"],
    design_effects: Float64[np.ndarray, " r"],
    n_lesions: int,
    confidence: float = PAPER.confidence,
) -> tuple[Float64[np.ndarray, " r"], Float64[np.ndarray, " r"]]:
    """Give the Wilson interval of each ratio, lesions divided by the design effect.

    Parameters
    ----------
    n_inside
        Lesions in each region.
    fractions
        Share of each region under the null hypothesis: the ratio's denominator.
    design_effects
        Of each region.
    n_lesions
        In all regions.
    confidence
        Coverage.
    """
    effective = np.maximum(n_lesions, 1) / design_effects
    low, high = proportion_confint(
        n_inside / design_effects, effective, alpha=1 - confidence, method="wilson"
    )
    return np.asarray(low) / fractions, np.asarray(high) / fractions


ONE_PATIENT = "one patient: nothing to tell the region's pull from the patient's"

_NUMBERS = (
    "icc",
    "null_icc",
    "design_effect",
    "clustered_ratio_low",
    "clustered_ratio_high",
    "clustered_p_value",
    "largest_design_effect",
    "largest_icc",
)


def _robustness(
    count: int, sizes: pd.Series, fraction: float, alpha: float, n_tests: int
) -> dict[str, object]:
    """Find how much clustering a finding survives; missing where even none is too much."""
    n_lesions = int(sizes.sum())
    expected = n_lesions * fraction
    statistic = (count - expected) ** 2 / (expected * (1 - fraction))
    survived = largest_design_effect(statistic, alpha, n_tests)
    inflation = _inflation(sizes.to_numpy(np.int64))
    largest_icc = min(1.0, (survived - 1) / inflation) if survived >= 1 and inflation > 0 else np.nan
    return {"largest_design_effect": survived, "largest_icc": largest_icc}


def _inflation(sizes: Int64[np.ndarray, " n"]) -> float:
    """Kish's sum of squares over sum, less 1: by how much an ICC of 1 would inflate the variance."""
    n_lesions = int(sizes.sum())
    return max(float((sizes**2).sum()) / n_lesions - 1, 0.0) if n_lesions else 0.0


def _as_icc(
    products: Float64[np.ndarray, "*k"], scale: Float64[np.ndarray, "*k"]
) -> Float64[np.ndarray, "*k"]:
    return np.clip(products / np.where(scale > 0, scale, np.inf), 0.0, _LARGEST_ICC)
