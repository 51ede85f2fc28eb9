"""The patient without whom a region's clustered test is least significant."""

import numpy as np
from jaxtyping import Float64, Int64

from bidsapp.statistics.beta_binomial import clustered_p_values
from bidsapp.statistics.clustered import ICC_GRID, iccs_of_terms, pair_terms, patient_likelihoods

_PATIENTS_SUMMED = 200_000
"""Most refits times patients of the cohort: 5000 patients are refitted 40 times, each takes about 10 ms."""


def least_significant_without(
    counts: Int64[np.ndarray, "n r"], fractions: Float64[np.ndarray, " r"], column: int
) -> tuple[int, bool]:
    """Leave out every patient in turn, and find the one without whom the p-value of a region is largest.

    Every cohort of n - 1 patients has its own ICC, and may be a small one (`estimate_clustering`). Of
    patients with equally many lesions, one is passed over if another has at least as many lesions that make
    the region deviate, and leaves an ICC at least as large: without the other, p is at least as large. If
    too many remain, only those without whom a normal approximation is least significant are left out.

    Parameters
    ----------
    counts
        Lesions of each patient (rows) in each region (columns).
    fractions
        Share of each region under the null hypothesis.
    column
        The region: its share lies between 0 and 1, and other patients have lesions, too.

    Returns
    -------
    place
        Row of the patient.
    all_tried
        Whether all patients were left out or passed over as above.

    Examples
    --------
    >>> counts = np.array([[1, 4], [5, 0], [1, 4], [2, 3]])
    >>> least_significant_without(counts, np.array([0.2, 0.8]), 0)
    (1, True)
    """
    inside, sizes = counts[:, column], counts.sum(axis=1)
    fraction = float(fractions[column])
    icc = iccs_without(counts, fractions, column)
    towards = 1 if inside.sum() >= fraction * sizes.sum() else -1
    kept = _not_passed_over(sizes, towards * inside, icc)
    kept = kept[np.argsort(_chi2_without(inside, sizes, fraction, icc)[kept], kind="stable")]
    tried = kept[: max(20, _PATIENTS_SUMMED // len(counts))]
    p_values = np.empty(len(tried))
    for size in np.unique(sizes[tried]):
        alike = sizes[tried] == size
        rest = np.delete(sizes, int(np.flatnonzero(sizes == size)[0]))
        n_inside, shares = inside.sum() - inside[tried][alike], np.full(int(alike.sum()), fraction)
        p_values[alike] = clustered_p_values(n_inside, rest, shares, icc[tried][alike])
    return int(tried[p_values.argmax()]), len(tried) == len(kept)


def iccs_without(
    counts: Int64[np.ndarray, "n r"], fractions: Float64[np.ndarray, " r"], column: int
) -> Float64[np.ndarray, " n"]:
    """Give the ICC with which one region is tested, without each patient in turn.

    Parameters
    ----------
    counts, fractions, column
        As for `least_significant_without`.
    """
    terms = pair_terms(counts)
    own, _ = iccs_of_terms(terms.sum(axis=1, keepdims=True) - terms, fractions)
    patients = np.stack([counts.sum(axis=1), counts[:, column]])
    kinds, kind_of, repeats = np.unique(patients, axis=1, return_inverse=True, return_counts=True)
    logs = patient_likelihoods(kinds[1], kinds[0], np.full(len(repeats), fractions[column]))
    logs = np.where(kinds[0] > 1, logs, 0.0)
    without = (logs * repeats).sum(axis=1, keepdims=True) - logs
    return np.maximum(own[:, column], ICC_GRID[without.argmax(axis=0)][kind_of.ravel()])


def _not_passed_over(
    sizes: Int64[np.ndarray, " n"], deviating: Int64[np.ndarray, " n"], icc: Float64[np.ndarray, " n"]
) -> Int64[np.ndarray, " m"]:
    """Keep, of patients with equally many lesions, those that no other exceeds in both other measures."""
    kept: list[int] = []
    for place in np.lexsort((-deviating, -icc, sizes)).tolist():
        if not kept or sizes[place] != sizes[kept[-1]] or deviating[place] > deviating[kept[-1]]:
            kept.append(place)
    return np.array(kept, dtype=np.int64)


def _chi2_without(
    inside: Int64[np.ndarray, " n"], sizes: Int64[np.ndarray, " n"], fraction: float, icc: np.ndarray
) -> Float64[np.ndarray, " n"]:
    """Chi-square of two cells over the design effect, without each patient in turn."""
    n_inside, n_lesions = inside.sum() - inside, np.maximum(sizes.sum() - sizes, 1)
    squares = (sizes**2).sum() - sizes**2
    design_effect = 1 + np.maximum(squares / n_lesions - 1, 0) * icc
    deviation = (n_inside - fraction * n_lesions) ** 2
    return np.asarray(deviation / (n_lesions * fraction * (1 - fraction) * design_effect))
