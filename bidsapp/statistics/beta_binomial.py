"""The number of lesions in a region, summed over patients whose lesions are alike: its exact distribution."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
from jaxtyping import Float64, Int64
from scipy.stats import betabinom, binom

from bidsapp.errors import DataError

SMALLEST_P_VALUE = 1e-50
"""Smaller ones are given as this."""

_NEGLIGIBLE = 1e-60
_NO_ICC = 1e-7
"""Below, the beta function of huge numbers loses more digits than the ICC adds."""


def sum_distribution(sizes: Sequence[int], probability: float, icc: float) -> Float64[np.ndarray, " n"]:
    """Distribution of the number of lesions in a region, summed over patients.

    Each patient's number is beta-binomial with a = p (1 - ICC) / ICC and b = (1 - p) (1 - ICC) / ICC,
    binomial where the ICC is 0. The sum is their convolution; probabilities below 1e-60 are left out.

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
    given = np.asarray(sizes, dtype=np.int64)
    return _distributions(given, np.array([probability]), np.array([icc]))[0]


def clustered_p_value(n_inside: int, sizes: Sequence[int], probability: float, icc: float) -> float:
    """Test one region's number of lesions, patients kept together.

    Null hypothesis: a lesion lies in the region with `probability`, and lesions of one patient are
    correlated by `icc`. Two-sided by doubling the smaller tail; one test, not corrected.

    Parameters
    ----------
    n_inside
        Lesions in the region, all patients.
    sizes, probability, icc
        As for `sum_distribution`.

    Examples
    --------
    >>> round(clustered_p_value(6, [1, 1, 2, 3, 5, 8], 0.1, 0.2), 6)
    0.10282
    """
    given = np.asarray(sizes, dtype=np.int64)
    return float(clustered_p_values(np.array([n_inside]), given, np.array([probability]), np.array([icc]))[0])


def clustered_p_values(
    n_inside: Int64[np.ndarray, " r"],
    sizes: Int64[np.ndarray, " n"],
    probabilities: Float64[np.ndarray, " r"],
    iccs: Float64[np.ndarray, " r"],
) -> Float64[np.ndarray, " r"]:
    """Test several regions at once, each as `clustered_p_value` does; not corrected for their number.

    Parameters
    ----------
    n_inside
        Lesions in each region, all patients.
    sizes
        Lesions of each patient.
    probabilities, iccs
        Of each region.
    """
    found = []
    distributions = _distributions(sizes, probabilities, iccs)
    for observed, distribution in zip(n_inside.tolist(), distributions, strict=True):
        tail = min(float(distribution[: observed + 1].sum()), float(distribution[observed:].sum()))
        found.append(min(1.0, max(2 * tail, SMALLEST_P_VALUE)))
    return np.array(found)


def _distributions(
    sizes: Int64[np.ndarray, " n"], probabilities: np.ndarray, iccs: np.ndarray
) -> list[np.ndarray]:
    """Convolve the patients, region by region; those with one lesion are a binomial together."""
    if not ((probabilities > 0) & (probabilities < 1) & (iccs >= 0) & (iccs < 1)).all():
        raise DataError(
            f"probability must lie in (0, 1) and icc in [0, 1), got {probabilities.tolist()} and "
            f"{iccs.tolist()}"
        )
    values, repeats = np.unique(sizes[sizes > 1], return_counts=True)
    n_single = int((sizes == 1).sum())
    largest = int(values.max(initial=1))
    singles = np.asarray(binom.pmf(np.arange(n_single + 1), n_single, probabilities[:, None]))
    several = _patients(values, largest, probabilities, iccs)
    found = []
    for region in range(len(probabilities)):
        parts = [_Part.trimmed(0, singles[region])]
        for place, (size, n_patients) in enumerate(zip(values.tolist(), repeats.tolist(), strict=True)):
            parts += _power(_Part.trimmed(0, several[region, place, : size + 1]), n_patients)
        found.append(_convolve(parts).padded(int(sizes.sum()) + 1))
    return found


def _patients(
    values: np.ndarray, largest: int, probabilities: np.ndarray, iccs: np.ndarray
) -> Float64[np.ndarray, "r s k"]:
    """Give the distribution of one patient of each size, region by region."""
    inside, sizes = np.arange(largest + 1), values[None, :, None]
    p, icc = probabilities[:, None, None], iccs[:, None, None]
    independent = binom.pmf(inside, sizes, p)
    strength = (1 - icc) / np.maximum(icc, _NO_ICC)
    alike = betabinom.pmf(inside, sizes, p * strength, (1 - p) * strength)
    return np.where(icc < _NO_ICC, independent, alike)


@dataclass(frozen=True, slots=True)
class _Part:
    """Probabilities from `start` on; those before and after are next to nothing.

    Leaving them out makes the cost of a sum grow with its standard deviation instead of its length.
    """

    start: int
    values: Float64[np.ndarray, " n"]

    @classmethod
    def trimmed(cls, start: int, values: np.ndarray) -> "_Part":
        if values[0] > _NEGLIGIBLE and values[-1] > _NEGLIGIBLE:
            return cls(start, values)
        kept = np.flatnonzero(values > _NEGLIGIBLE)
        return cls(start + int(kept[0]), values[kept[0] : kept[-1] + 1])

    def plus(self, other: "_Part") -> "_Part":
        return _Part.trimmed(self.start + other.start, np.convolve(self.values, other.values))

    def padded(self, length: int) -> Float64[np.ndarray, " n"]:
        whole = np.zeros(length)
        whole[self.start : self.start + len(self.values)] = self.values
        return whole


def _power(one: _Part, n_patients: int) -> list[_Part]:
    """Give distributions whose sum is that of `n_patients` alike, by repeated doubling."""
    parts = []
    while n_patients:
        if n_patients % 2:
            parts.append(one)
        n_patients //= 2
        if n_patients:
            one = one.plus(one)
    return parts


def _convolve(parts: Sequence[_Part]) -> _Part:
    """Convolve all, always the two shortest; nothing is subtracted, so far tails keep their digits."""
    order = count()
    heap = [(len(part.values), next(order), part) for part in parts]
    heapq.heapify(heap)
    while len(heap) > 1:
        first, second = heapq.heappop(heap)[2], heapq.heappop(heap)[2]
        merged = first.plus(second)
        heapq.heappush(heap, (len(merged.values), next(order), merged))
    return heap[0][2]
