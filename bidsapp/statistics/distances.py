"""Distances of lesions to a surface against chance: earth mover's distance, mean, and the whole curve.

Each question is asked twice: with every lesion independent, and with the lesions of a patient as alike as
they are measured to be (see `bidsapp.statistics.placement`). The second answer is the one to quote.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pandas as pd
from jaxtyping import Float, Float64

from bidsapp.errors import DataError
from bidsapp.statistics.placement import (
    INDEPENDENT,
    Chance,
    draw_sets,
    estimate_likeness,
)

N_STEPS = 64
"""Distances at which a curve is compared."""

DISTANCE_COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "null": "Where chance puts a lesion: uniform, anywhere in the atlas; region, anywhere in its own "
        "region; size, anywhere with room for its size.",
        "n_lesions": "Lesions with a distance.",
        "n_patients": "Patients they belong to.",
        "mean_distance_mm": "Mean distance of the lesions, with its sign.",
        "expected_distance_mm": "Mean distance by chance, with its sign.",
        "mean_difference_mm": "mean_distance_mm - expected_distance_mm.",
        "mean_difference_low_mm": "Lower end of its 95 % interval, patients kept together.",
        "mean_difference_high_mm": "Upper end of its 95 % interval, patients kept together.",
        "icc": "How alike the distances of one patient are: intraclass correlation.",
        "emd_mm": "Mean earth mover's distance of the lesions to the random sets.",
        "emd_chance_mm": "Mean earth mover's distance between random sets, patients kept together.",
        "independent_emd_p_value": "Rank p-value of emd_mm, every lesion independent.",
        "independent_mean_p_value": "Two-sided rank p-value of the mean, every lesion independent.",
        "independent_curve_p_value": "Global rank p-value of the curve, every lesion independent.",
        "emd_p_value": "Rank p-value of emd_mm, patients kept together.",
        "mean_p_value": "Two-sided rank p-value of the mean, patients kept together.",
        "curve_p_value": "Global rank p-value of the curve, patients kept together.",
        "reason": "Why something is missing; n/a if nothing is.",
    }
)

CURVE_COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "null": DISTANCE_COLUMNS["null"],
        "distance_mm": "Distance to the surface, with its sign.",
        "lesions_fraction": "Share of the lesions at this distance or below.",
        "null_fraction": "The same by chance.",
        "envelope_low": "Lower end of the global 95 % envelope, patients kept together: by chance the whole "
        "curve stays inside with 95 % probability.",
        "envelope_high": "Upper end of the same envelope.",
    }
)


@dataclass(frozen=True, slots=True)
class EmdTest:
    """Earth mover's distance of a measured set to random ones.

    Parameters
    ----------
    p_value
        Share of all sets, the measured one included, that lie at least as far from the others. None when
        nothing could be tested.
    emd_mm
        Mean distance of the measured set to the random sets.
    emd_chance_mm
        Mean distance between random sets.
    reason
        Why there is no test.
    """

    p_value: float | None
    emd_mm: float | None
    emd_chance_mm: float | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Envelope:
    """A global envelope of curves, with its p-value.

    Parameters
    ----------
    low, high
        By chance a whole curve stays between them with the envelope's coverage.
    p_value
        Share of all curves, the measured one included, that are at least as extreme.
    """

    low: Float64[np.ndarray, " t"]
    high: Float64[np.ndarray, " t"]
    p_value: float


@dataclass(frozen=True, slots=True)
class DistanceAnalysis:
    """Distances to one surface against several kinds of chance.

    Parameters
    ----------
    table
        One row a kind: columns of `DISTANCE_COLUMNS`.
    curves
        Columns of `CURVE_COLUMNS`; without rows where nothing was tested.
    """

    table: pd.DataFrame
    curves: pd.DataFrame


def analyse_distances(
    distances_mm: Float64[np.ndarray, " n"],
    chances: Mapping[str, Chance],
    patients: np.ndarray,
    rng: np.random.Generator,
    *,
    n_sets: int = 999,
) -> DistanceAnalysis:
    """Compare distances with several kinds of chance.

    Null hypothesis of each row: every lesion lies where its pool says, lesions of one patient being as
    alike as measured. Nothing is corrected for the number of rows: they are different questions.

    Parameters
    ----------
    distances_mm
        With their sign; NaN are left out.
    chances
        Name to what chance gives each lesion.
    patients
        Whose lesion each is.
    rng
        Source of chance.
    n_sets
        Random sets; the smallest possible p-value is ``1 / (n_sets + 1)``.

    Raises
    ------
    DataError
        If distances, patients and chances are not of one length.
    """
    if any(len(chance) != len(distances_mm) for chance in chances.values()) or len(patients) != len(
        distances_mm
    ):
        raise DataError(
            f"distances, patients and chances must have one length, got {len(distances_mm)} distances"
        )
    known = np.isfinite(distances_mm)
    rows, curves = [], []
    for name, chance in chances.items():
        row, curve = _analyse(distances_mm[known], chance.only(known), patients[known], rng, n_sets)
        rows.append({"null": name, **row})
        curves.append(curve.assign(null=name))
    table = pd.DataFrame(rows).reindex(columns=list(DISTANCE_COLUMNS))
    together = pd.concat(curves, ignore_index=True) if curves else pd.DataFrame()
    return DistanceAnalysis(table, together.reindex(columns=list(CURVE_COLUMNS)))


def emd_rank_test(distances_mm: Float[np.ndarray, " n"], null_sets: Float[np.ndarray, "k n"]) -> EmdTest:
    """Rank the lesions among random sets by their mean earth mover's distance to all other sets.

    Null hypothesis: the lesions are one more random set. All sets are treated alike, each against all
    others, so the rank is exact; a test between the two groups of distances is not, because pairs of
    distances share sets. One-sided by nature.

    Parameters
    ----------
    distances_mm
        Of the lesions.
    null_sets
        Random sets of equally many lesions.

    References
    ----------
    Phipson and Smyth 2010, Stat. Appl. Genet. Mol. Biol. 9:39, eq. (2). doi:10.2202/1544-6115.1585

    Examples
    --------
    >>> emd_rank_test(np.array([9.0, 5.0]), np.array([[0.0, 1.0], [1.0, 2.0], [0.0, 2.0]])).p_value
    0.25
    """
    if not len(distances_mm):
        return EmdTest(None, None, None, "no lesions")
    sets = np.sort(np.vstack([distances_mm, null_sets]), axis=1)
    return _emd_of_sorted(sets)


def global_envelope(curves: Float[np.ndarray, "k t"], *, coverage: float = 0.95) -> Envelope:
    """Rank a measured curve (the first) among random ones as a whole, by extreme rank length.

    Null hypothesis: the first curve is one more random curve. Two-sided at every point; the p-value
    holds for all points together.

    Parameters
    ----------
    curves
        One row a curve, all at the same points; the first is the measured one.
    coverage
        Of the envelope.

    References
    ----------
    Myllymäki et al. 2017, J. R. Stat. Soc. B 79:381-404, section 4 and appendix (extreme rank length).
    doi:10.1111/rssb.12172
    """
    n_curves = len(curves)
    order = np.argsort(curves, axis=0, kind="stable")
    below = np.empty(curves.shape, dtype=np.int32)
    above = np.empty(curves.shape, dtype=np.int32)
    for point in range(curves.shape[1]):
        ascending = curves[order[:, point], point]
        below[:, point] = np.searchsorted(ascending, curves[:, point], side="right")
        above[:, point] = n_curves - np.searchsorted(ascending, curves[:, point], side="left")
    lengths = np.sort(np.minimum(below, above), axis=1)
    _, position = np.unique(lengths, axis=0, return_inverse=True)
    position = position.ravel()
    p_value = float((position <= position[0]).mean())
    share = np.searchsorted(np.sort(position), position, side="right") / n_curves
    kept = curves[share > 1 - coverage]
    return Envelope(kept.min(axis=0).astype(np.float64), kept.max(axis=0).astype(np.float64), p_value)


def _analyse(
    distances: np.ndarray, chance: Chance, patients: np.ndarray, rng: np.random.Generator, n_sets: int
) -> tuple[dict[str, object], pd.DataFrame]:
    n_patients = len(set(patients))
    row: dict[str, object] = {"n_lesions": len(distances), "n_patients": n_patients}
    if not len(distances):
        return row | {"reason": "no lesion has a distance"}, pd.DataFrame()
    mean, expected = float(distances.mean()), chance.mean()
    row |= {"mean_distance_mm": mean, "expected_distance_mm": expected, "mean_difference_mm": mean - expected}
    steps = _steps(chance)
    independent = _Ranks.of(distances, draw_sets(chance, patients, INDEPENDENT, n_sets, rng), steps)
    row |= {"emd_mm": independent.emd.emd_mm} | independent.p_values("independent_")
    if n_patients == 1 and len(distances) > 1:
        reason = "one patient only: the patient's habit and a preference cannot be told apart"
        return row | {"reason": reason}, pd.DataFrame()
    likeness = estimate_likeness(distances, chance, patients)
    sets = draw_sets(chance, patients, likeness, n_sets, rng)
    together = _Ranks.of(distances, sets, steps)
    low, high = np.quantile(sets.mean(axis=1, dtype=np.float64) - expected, [0.025, 0.975])
    row |= {
        "icc": likeness.icc,
        "mean_difference_low_mm": mean - expected - float(high),
        "mean_difference_high_mm": mean - expected - float(low),
        "emd_mm": together.emd.emd_mm,
        "emd_chance_mm": together.emd.emd_chance_mm,
    }
    return row | together.p_values(""), together.curve(steps)


@dataclass(frozen=True, slots=True)
class _Ranks:
    """The three comparisons of one kind of chance."""

    emd: EmdTest
    mean_p_value: float
    envelope: Envelope
    measured: np.ndarray
    expected: np.ndarray

    @classmethod
    def of(cls, distances: np.ndarray, sets: np.ndarray, steps: np.ndarray) -> "_Ranks":
        together = np.sort(np.vstack([distances.astype(np.float32), sets]), axis=1)
        counted = [np.searchsorted(each, steps, side="right") for each in together]
        curves = np.array(counted) / together.shape[1]
        means = together.mean(axis=1, dtype=np.float64)
        return cls(
            _emd_of_sorted(together),
            two_sided_rank_p_value(means[0], means[1:]),
            global_envelope(curves),
            curves[0],
            curves[1:].mean(axis=0),
        )

    def p_values(self, prefix: str) -> dict[str, object]:
        return {
            f"{prefix}emd_p_value": self.emd.p_value,
            f"{prefix}mean_p_value": self.mean_p_value,
            f"{prefix}curve_p_value": self.envelope.p_value,
        }

    def curve(self, steps: np.ndarray) -> pd.DataFrame:
        return pd.DataFrame(
            {
                "distance_mm": steps.astype(np.float64),
                "lesions_fraction": self.measured,
                "null_fraction": self.expected,
                "envelope_low": self.envelope.low,
                "envelope_high": self.envelope.high,
            }
        )


def two_sided_rank_p_value(measured: float, random: Float64[np.ndarray, " k"]) -> float:
    """Double the smaller share of values, the measured one included, that lie at or beyond it.

    Examples
    --------
    >>> two_sided_rank_p_value(9.0, np.array([1.0, 2.0, 3.0]))
    0.5
    """
    tolerance = 1e-9 * max(1.0, abs(measured))
    beyond = min((random >= measured - tolerance).sum(), (random <= measured + tolerance).sum())
    return min(1.0, 2 * (1 + int(beyond)) / (1 + len(random)))


def _emd_of_sorted(sets: Float[np.ndarray, "k n"]) -> EmdTest:
    """Mean earth mover's distance of each set to all others; the first is the measured one.

    Sets of equal size, each in ascending order: the distance of two is the mean absolute difference. Its
    sum over all other sets needs one sort a position instead of all pairs.
    """
    n_sets, n_lesions = sets.shape
    total = np.zeros(n_sets)
    weight = 2.0 * np.arange(n_sets) + 1 - n_sets
    size = max(1, 4_000_000 // n_sets)
    for start in range(0, n_lesions, size):
        block = np.ascontiguousarray(sets[:, start : start + size].T, dtype=np.float64)
        order = np.argsort(block, axis=1)
        ascending = np.take_along_axis(block, order, axis=1)
        sums = np.cumsum(ascending, axis=1)
        gaps = ascending * (weight + 1) - 2 * sums + sums[:, -1:]
        found = np.empty_like(gaps)
        np.put_along_axis(found, order, gaps, axis=1)
        total += found.sum(axis=0)
    mean = total / (n_lesions * max(n_sets - 1, 1))
    among = _mean_among_random(sets, mean)
    p_value = float((mean >= mean[0] - 1e-6 * max(mean[0], 1e-6)).mean())
    return EmdTest(p_value, float(mean[0]), among)


def _mean_among_random(sets: np.ndarray, mean: np.ndarray) -> float:
    """Mean distance between random sets: the measured set taken out of each mean."""
    to_measured = np.array([np.abs(each - sets[0]).mean(dtype=np.float64) for each in sets[1:]])
    if len(sets) < 3:
        return float("nan")
    return float(((mean[1:] * (len(sets) - 1) - to_measured) / (len(sets) - 2)).mean())


def _steps(chance: Chance) -> Float64[np.ndarray, " t"]:
    """Spread the points of comparison over what chance gives, equally probable steps apart."""
    used = np.unique(chance.strata)
    pooled = np.concatenate([chance.pools[stratum] for stratum in used])
    return np.unique(np.quantile(pooled, (np.arange(N_STEPS) + 0.5) / N_STEPS))
