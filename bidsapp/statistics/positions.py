"""Positions of lesions in three dimensions against chance: the earth mover's distance between point sets."""

from dataclasses import dataclass

import numpy as np
import ot
from jaxtyping import Float64
from scipy.spatial.distance import cdist

ONE_PATIENT = "one patient only: a preference needs several patients"


@dataclass(frozen=True, slots=True)
class PositionTest:
    """Earth mover's distance of lesions to random points.

    Parameters
    ----------
    p_value
        Share of all sets, the measured one included, that lie at least as far from the others. None when
        nothing could be tested.
    emd_mm
        Mean distance of the lesions to the random sets.
    emd_chance_mm
        Mean distance between random sets.
    n_points
        Lesions used, one a patient.
    n_sets
        Random sets.
    reason
        Why there is no test.
    """

    p_value: float | None
    emd_mm: float | None
    emd_chance_mm: float | None
    n_points: int
    n_sets: int
    reason: str = ""


def position_test(
    points_mm: Float64[np.ndarray, "n 3"],
    pool_mm: Float64[np.ndarray, "m 3"],
    patients: np.ndarray,
    rng: np.random.Generator,
    *,
    n_sets: int = 99,
    max_points: int = 150,
) -> PositionTest:
    """Rank the lesions among random sets by their mean earth mover's distance to all other sets.

    One lesion of each patient, drawn at random, takes part. Lesions of different patients are independent,
    so random points need no structure and the rank is exact, however alike the lesions of a patient are.
    Null hypothesis: a lesion lies anywhere in the atlas. One-sided by nature; see
    `bidsapp.statistics.distances.emd_rank_test` for why ranks.

    Parameters
    ----------
    points_mm
        Centres of gravity, atlas world RAS+.
    pool_mm
        Points spread evenly over the atlas.
    patients
        Whose lesion each is.
    rng
        Source of chance.
    n_sets
        Random sets; every pair of sets is solved, so time grows with the square.
    max_points
        Of more patients, this many are drawn: time grows with the cube.

    References
    ----------
    Bonneel et al. 2011, ACM Trans. Graph. 30:158 (the solver). doi:10.1145/2070781.2024192
    Flamary et al. 2021, J. Mach. Learn. Res. 22:1-8 (POT).
    """
    n_patients = len(set(patients))
    if n_patients < 2:
        return PositionTest(None, None, None, n_patients, 0, ONE_PATIENT if n_patients else "no lesions")
    shuffled = rng.permutation(len(points_mm))
    _, first = np.unique(np.asarray(patients)[shuffled], return_index=True)
    chosen = rng.permutation(shuffled[first])[:max_points]
    random = pool_mm[rng.integers(len(pool_mm), size=(n_sets, len(chosen)))]
    sets = np.concatenate([points_mm[chosen][None], random])
    apart = np.zeros((n_sets + 1, n_sets + 1))
    for one in range(n_sets + 1):
        for other in range(one):
            apart[one, other] = apart[other, one] = emd_3d_mm(sets[one], sets[other])
    mean = apart.sum(axis=1) / n_sets
    p_value = float((mean >= mean[0] * (1 - 1e-9)).mean())
    among = float(apart[1:, 1:].sum() / (n_sets * (n_sets - 1)))
    return PositionTest(p_value, float(mean[0]), among, len(chosen), n_sets)


def emd_3d_mm(one_mm: Float64[np.ndarray, "n 3"], other_mm: Float64[np.ndarray, "m 3"]) -> float:
    """Least mean distance over which one set of points can be moved onto another.

    Parameters
    ----------
    one_mm, other_mm
        Every point of a set weighs the same; sets may differ in size, neither is empty.

    Examples
    --------
    >>> round(emd_3d_mm(np.zeros((2, 3)), np.array([[3.0, 4.0, 0.0]])), 6)
    5.0
    """
    return float(ot.emd2([], [], cdist(one_mm, other_mm)))
