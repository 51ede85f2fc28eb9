"""Kruskal-Wallis tests for lesions that come in patients: p-values by moving patients, not lesions."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int64
from scipy.stats import kruskal, rankdata


@dataclass(frozen=True, slots=True)
class RankTest:
    """Kruskal-Wallis statistic with its two p-values.

    Parameters
    ----------
    statistic, degrees_of_freedom, p_value
        As if every lesion were independent; None when there is nothing to compare.
    permutation_p_value
        With patients kept together; None when it cannot be had.
    n_groups, n_lesions
        Compared.
    n_permutations
        Shuffles done.
    reason
        Why something is missing.
    """

    statistic: float | None
    degrees_of_freedom: int | None
    p_value: float | None
    permutation_p_value: float | None
    n_groups: int
    n_lesions: int
    n_permutations: int = 0
    reason: str = ""


def kruskal_between_patients(
    values: Float64[np.ndarray, " n"],
    groups: np.ndarray,
    patients: np.ndarray,
    rng: np.random.Generator,
    *,
    n_permutations: int = 999,
) -> RankTest:
    """Compare groups of patients, such as centres, by a measure of their lesions.

    Null hypothesis: patients are exchangeable between groups. Whole patients change their group. One test,
    one-sided by nature.

    Parameters
    ----------
    values
        Of each lesion; NaN are left out.
    groups
        Of each lesion, the same for all lesions of a patient; missing ones are left out.
    patients
        Whose lesion each is.
    rng
        Source of chance.
    n_permutations
        The smallest possible p-value is ``1 / (n_permutations + 1)``.

    References
    ----------
    Kruskal and Wallis 1952, J. Am. Stat. Assoc. 47:583-621. doi:10.1080/01621459.1952.10483441
    Phipson and Smyth 2010, Stat. Appl. Genet. Mol. Biol. 9:39, eq. (2). doi:10.2202/1544-6115.1585
    """
    measured, ranks, group_codes, patient_codes = _measured(values, groups, patients)
    if measured.statistic is None:
        return measured
    n_patients, n_groups = int(patient_codes.max()) + 1, measured.n_groups
    group_of = np.zeros(n_patients, dtype=np.int64)
    group_of[patient_codes] = group_codes
    if n_patients == n_groups:
        return replace(measured, reason="each group has one patient: no permutation test")
    sums = np.bincount(patient_codes, ranks)
    sizes = np.bincount(patient_codes)

    def shuffled() -> float:
        moved = rng.permutation(group_of)
        rank_sums = np.bincount(moved, sums, minlength=n_groups)
        return _between(rank_sums, np.bincount(moved, sizes, minlength=n_groups))

    found = np.array([shuffled() for _ in range(n_permutations)])
    wanted = _between(np.bincount(group_codes, ranks), np.bincount(group_codes))
    return _ranked(measured, wanted, found)


def kruskal_within_patients(
    values: Float64[np.ndarray, " n"],
    groups: np.ndarray,
    patients: np.ndarray,
    rng: np.random.Generator,
    *,
    n_permutations: int = 999,
) -> RankTest:
    """Compare groups of lesions, such as regions, that cut across patients.

    Null hypothesis: the measures of a patient's lesions have nothing to do with their groups; lesions are
    exchangeable within a patient, and so are patients with equally many lesions. Both are shuffled: the
    lesions of each patient among themselves, and the whole sets of measures among such patients. One test,
    one-sided by nature.

    Parameters
    ----------
    values
        Of each lesion; NaN are left out.
    groups
        Of each lesion; missing ones are left out.
    patients
        Whose lesion each is.
    rng
        Source of chance.
    n_permutations
        The smallest possible p-value is ``1 / (n_permutations + 1)``.

    References
    ----------
    As for `kruskal_between_patients`.
    """
    measured, ranks, group_codes, patient_codes = _measured(values, groups, patients)
    if measured.statistic is None:
        return measured
    counts = np.bincount(patient_codes)
    count_of = counts[patient_codes]
    slots = np.lexsort((patient_codes, count_of))
    group_sizes = np.bincount(group_codes)

    def shuffled() -> float:
        keys = rng.random(len(counts))[patient_codes]
        donors = np.lexsort((rng.random(len(ranks)), keys, count_of))
        return _between(np.bincount(group_codes[slots], ranks[donors]), group_sizes)

    found = np.array([shuffled() for _ in range(n_permutations)])
    if np.allclose(found, found[0], rtol=1e-12):
        reason = "no patient has lesions to exchange: no permutation test"
        return replace(measured, reason=reason)
    return _ranked(measured, _between(np.bincount(group_codes, ranks), group_sizes), found)


def _measured(
    values: np.ndarray, groups: np.ndarray, patients: np.ndarray
) -> tuple[RankTest, Float64[np.ndarray, " n"], Int64[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
    """Leave out what is missing, number groups and patients, rank the values, and compare the groups."""
    known = np.isfinite(values) & pd.notna(groups)
    group_codes, _ = pd.factorize(np.asarray(groups)[known], sort=True)
    patient_codes, _ = pd.factorize(np.asarray(patients)[known], sort=True)
    measured = _kruskal(values[known], group_codes)
    return measured, rankdata(values[known]), group_codes.astype(np.int64), patient_codes.astype(np.int64)


def _kruskal(values: np.ndarray, group_codes: np.ndarray) -> RankTest:
    n_groups = len(np.unique(group_codes))
    if n_groups < 2:
        reason = "fewer than two groups have lesions" if len(values) else "no lesion has a value"
        return RankTest(None, None, None, None, n_groups, len(values), reason=reason)
    if np.ptp(values) == 0:
        return RankTest(None, None, None, None, n_groups, len(values), reason="all values are equal")
    statistic, p_value = kruskal(*(values[group_codes == code] for code in range(n_groups)))
    return RankTest(float(statistic), n_groups - 1, float(p_value), None, n_groups, len(values))


def _between(rank_sums: np.ndarray, sizes: np.ndarray) -> float:
    """Sum of squared rank sums over sizes: it rises with the statistic of Kruskal and Wallis, eq. (1.1)."""
    filled = sizes > 0
    return float((rank_sums[filled] ** 2 / sizes[filled]).sum())


def _ranked(measured: RankTest, wanted: float, found: np.ndarray) -> RankTest:
    as_large = int((found >= wanted * (1 - 1e-12)).sum())
    p_value = (1 + as_large) / (1 + len(found))
    return replace(measured, permutation_p_value=p_value, n_permutations=len(found))
