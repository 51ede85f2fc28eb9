"""Cohorts in atlas space, made at the level of lesions: no images, thousands of cohorts in seconds."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float64, Int64

from bidsapp.analysis.regions import region_volumes
from bidsapp.atlas.builtin import load_builtin
from bidsapp.atlas.seganat import structures

STEPS = 4
"""A satellite arrives in as many steps; one that would leave the brain is not taken."""


@dataclass(frozen=True, slots=True, eq=False)
class Brain:
    """The regions of the embedded atlas, voxel by voxel.

    Parameters
    ----------
    names, shares
        Regions and their shares of the volume.
    codes
        Position of each voxel's region in `names` plus 1; 0 outside.
    inside
        Voxels of all regions.
    """

    names: tuple[str, ...]
    shares: Float64[np.ndarray, " r"]
    codes: np.ndarray
    inside: np.ndarray

    def regions_at(self, points: np.ndarray) -> np.ndarray:
        """Look up points given in voxels (1 mm); 0 outside."""
        index = np.floor(points + 0.5).astype(np.int64)
        within = ((index >= 0) & (index < self.codes.shape)).all(axis=1)
        index[~within] = 0
        return np.where(within, self.codes[tuple(index.T)], 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """How the lesions of a patient resemble each other; none of them prefers any region.

    Parameters
    ----------
    name, words
        Of files, and for readers.
    tail
        Shape of the negative binomial of the lesions per patient: the smaller, the more patients with
        very many.
    icc
        Intraclass correlation of the patients' mixes of regions.
    satellite_mm, satellite_share
        Share of the later lesions that lie about this far from an earlier one of the patient.
    n_patients, n_lesions
        Of a cohort; those of the paper by default.
    """

    name: str
    words: str
    tail: float = 0.5
    icc: float = 0.0
    satellite_mm: float = 0.0
    satellite_share: float = 0.0
    n_patients: int = 209
    n_lesions: int = 521


@cache
def brain() -> Brain:
    """Prepare the embedded atlas; its voxels measure 1 mm."""
    labels = load_builtin().labels
    volumes = region_volumes(labels).sum(axis=1)
    names = [str(name) for name in volumes.index]
    codes = np.array([0, *(names.index(each.region) + 1 for each in structures()[1:])], dtype=np.uint8)
    found = codes[labels.data]
    shares = (volumes / volumes.sum()).to_numpy(np.float64)
    return Brain(tuple(names), shares, found, np.argwhere(found > 0).astype(np.int16))


def draw_sizes(
    rng: np.random.Generator, n_cohorts: int, n_patients: int, n_lesions: int, tail: float
) -> Int64[np.ndarray, "c n"]:
    """Draw the lesions of each patient: 1 + negative binomial, given their sum."""
    shares = rng.dirichlet(np.full(n_patients, tail), size=n_cohorts)
    return 1 + rng.multinomial(n_lesions - n_patients, shares)


def draw_counts(
    rng: np.random.Generator, scenario: Scenario, n_cohorts: int, shares: np.ndarray | None = None
) -> Int64[np.ndarray, "c n r"]:
    """Draw cohorts: lesions of each patient in each region.

    Parameters
    ----------
    rng
        Source of chance.
    scenario
        Whose cohorts.
    n_cohorts
        How many.
    shares
        True share of each region, by default that of its volume; not with satellites.
    """
    sizes = draw_sizes(rng, n_cohorts, scenario.n_patients, scenario.n_lesions, scenario.tail)
    if scenario.satellite_share:
        points, owners = draw_points(rng, sizes, scenario)
        found = brain().regions_at(points).astype(np.int64)
        counts = np.zeros((sizes.size, len(brain().names)), dtype=np.int64)
        np.add.at(counts, (owners[found > 0], found[found > 0] - 1), 1)
        return counts.reshape(*sizes.shape, -1)
    mean = brain().shares if shares is None else shares
    if not scenario.icc:
        return rng.multinomial(sizes, mean)
    mixes = rng.standard_gamma(mean * (1 - scenario.icc) / scenario.icc, size=(*sizes.shape, len(mean)))
    sums = mixes.sum(axis=-1, keepdims=True)
    mixes = np.where(sums > 0, mixes / np.maximum(sums, np.finfo(float).tiny), mean)
    return rng.multinomial(sizes, mixes / mixes.sum(axis=-1, keepdims=True))


def draw_points(
    rng: np.random.Generator, sizes: Int64[np.ndarray, "c n"], scenario: Scenario
) -> tuple[np.ndarray, Int64[np.ndarray, " m"]]:
    """Spread lesions over the brain; satellites walk away from an earlier lesion of their patient.

    Every single lesion is uniform over the brain: symmetric steps, not taken where they would leave it
    (Metropolis et al. 1953, J. Chem. Phys. 21:1087).

    Returns
    -------
    points, owners
        In voxels, and the patient of each, numbered over all cohorts.
    """
    flat, places = sizes.ravel(), brain()
    start = np.cumsum(flat) - flat
    chosen = places.inside[rng.integers(len(places.inside), size=int(flat.sum()))]
    points = (chosen + rng.uniform(-0.5, 0.5, size=chosen.shape)).astype(np.float32)
    step_mm = scenario.satellite_mm / np.sqrt(3 * STEPS)
    for number in range(1, int(flat.max()) if scenario.satellite_share else 1):
        patients = np.flatnonzero(flat > number)
        patients = patients[rng.random(len(patients)) < scenario.satellite_share]
        place = points[start[patients] + rng.integers(0, number, size=len(patients))]
        for _ in range(STEPS):
            moved = place + rng.normal(0, step_mm, size=place.shape).astype(np.float32)
            place = np.where(places.regions_at(moved)[:, None] > 0, moved, place)
        points[start[patients] + number] = place
    return points, np.repeat(np.arange(len(flat)), flat)
