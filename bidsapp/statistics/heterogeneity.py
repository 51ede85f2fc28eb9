"""Whether the centres agree on where lesions sit."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.stats import chi2_contingency

from bidsapp.statistics.regions import OTHER, ChiSquareTest


@dataclass(frozen=True, slots=True)
class HeterogeneityTest:
    """Chi-square of centres by regions, with its two p-values.

    Parameters
    ----------
    contingency
        Statistic and p-value when every lesion counts as independent.
    permutation_p_value
        Share of shuffled cohorts, in which whole patients change their centre, that differ at least as
        much; None when nothing could be tested.
    n_permutations
        Shuffles done.
    """

    contingency: ChiSquareTest
    permutation_p_value: float | None
    n_permutations: int


def pool_regions(counts: pd.DataFrame, cells: Sequence[str]) -> pd.DataFrame:
    """Keep the columns in `cells` and add up the others as "Other".

    Examples
    --------
    >>> pool_regions(pd.DataFrame({"A": [1], "B": [2], "C": [3]}), ["A"]).to_dict("list")
    {'A': [1], 'Other': [5]}
    """
    kept = [cell for cell in cells if cell in counts.columns]
    return counts[kept].assign(**{OTHER: counts.drop(columns=kept).sum(axis=1)})


def contingency_test(counts: pd.DataFrame) -> ChiSquareTest:
    """Test whether the rows of a table of counts share one distribution over its columns.

    Null hypothesis: the region of a lesion does not depend on its centre; every lesion is independent.
    One test. Rows and columns without lesions are left out.

    Parameters
    ----------
    counts
        Lesions of each centre (rows) in each region (columns).
    """
    table = counts.loc[counts.sum(axis=1) > 0, counts.sum(axis=0) > 0]
    cells = tuple(str(name) for name in table.columns)
    if table.shape[0] < 2:
        return ChiSquareTest(None, None, None, cells, "fewer than two centres have lesions")
    if table.shape[1] < 2:
        return ChiSquareTest(None, None, None, cells, "all lesions lie in one cell")
    result = chi2_contingency(table.to_numpy(), correction=False)
    return ChiSquareTest(float(result.statistic), int(result.dof), float(result.pvalue), cells)


def heterogeneity_test(
    counts: pd.DataFrame, centres: pd.Series, *, n_permutations: int = 999, seed: int = 0
) -> HeterogeneityTest:
    """Compare centres, keeping each patient's lesions together.

    Null hypothesis: patients are exchangeable between centres. One test.

    Parameters
    ----------
    counts
        Lesions of each patient (rows) in each region (columns).
    centres
        Centre of each patient, same index.
    n_permutations
        Random reassignments; the smallest possible p-value is ``1 / (n_permutations + 1)``.
    seed
        Of the reassignments.

    References
    ----------
    Phipson and Smyth 2010, Stat. Appl. Genet. Mol. Biol. 9:39, eq. (2). doi:10.2202/1544-6115.1585
    """
    labels = centres.loc[counts.index].to_numpy()
    measured = contingency_test(counts.groupby(labels).sum())
    if measured.chi2 is None:
        return HeterogeneityTest(measured, None, 0)
    if len(counts) == len(set(labels)):
        only = replace(measured, reason="each centre has one patient: no permutation test")
        return HeterogeneityTest(only, None, 0)
    rng = np.random.default_rng(seed)
    values = counts.loc[:, counts.sum(axis=0) > 0].to_numpy(np.float64)
    _, codes = np.unique(labels, return_inverse=True)
    membership = np.eye(codes.max() + 1)[codes]
    statistics = [
        _chi_square(membership[rng.permutation(len(values))].T @ values) for _ in range(n_permutations)
    ]
    as_large = int((np.array(statistics) >= measured.chi2 * (1 - 1e-9)).sum())
    return HeterogeneityTest(measured, (1 + as_large) / (1 + n_permutations), n_permutations)


def _chi_square(table: np.ndarray) -> float:
    rows = table.sum(axis=1, keepdims=True)
    table, rows = table[rows[:, 0] > 0], rows[rows[:, 0] > 0]
    expected = rows * table.sum(axis=0) / table.sum()
    return float(((table - expected) ** 2 / expected).sum())
