"""What the calibration study asks of simulated cohorts: false findings, power, intervals, distances."""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from types import MappingProxyType

import numpy as np
from jaxtyping import Bool, Float64, Int64
from scipy.stats import chi2

from benchmark.simulation import Scenario, brain, draw_counts, draw_points, draw_sizes
from bidsapp.atlas.builtin import load_builtin
from bidsapp.lesions.junction import junction_distances_mm
from bidsapp.statistics.clustered import estimate_design_effects, ratio_intervals, region_p_values
from bidsapp.statistics.distances import emd_rank_test
from bidsapp.statistics.placement import INDEPENDENT, draw_sets, estimate_likeness, uniform_chance
from bidsapp.statistics.regions import PAPER

CHUNK = 100
N_SETS = 199
N_PLACES = 20_000
EFFECTS: Mapping[str, float] = MappingProxyType(
    {"Cerebral White Matter": 0.675, "Cerebral Cortex": 1.38, "Putamen": 4.0, "Cerebellum Cortex": 0.8}
)
"""Ratios of the paper's table 4."""

ENRICHED: Mapping[str, float] = MappingProxyType({"Cerebral Cortex": 1.38, "Putamen": 4.0})
"""What the enriched regions gain is taken from the cerebral white matter; all others stay as they are."""

SCENARIOS: tuple[Scenario, ...] = (
    Scenario(name="independent", words="independent lesions"),
    Scenario(name="icc05", words="ICC 0.05", icc=0.05),
    Scenario(name="icc10", words="ICC 0.1", icc=0.1),
    Scenario(name="icc20", words="ICC 0.2", icc=0.2),
    Scenario(name="icc40", words="ICC 0.4", icc=0.4),
    Scenario(name="near10", words="half of the later lesions 10 mm from an earlier one",
             satellite_mm=10, satellite_share=0.5),
    Scenario(name="near20", words="half of the later lesions 20 mm from an earlier one",
             satellite_mm=20, satellite_share=0.5),
    Scenario(name="all20", words="all later lesions 20 mm from an earlier one",
             satellite_mm=20, satellite_share=1),
    Scenario(name="miliary_independent", words="very uneven patients, independent", tail=0.15),
    Scenario(name="miliary_icc20", words="very uneven patients, ICC 0.2", tail=0.15, icc=0.2),
    Scenario(name="miliary_icc40", words="very uneven patients, ICC 0.4", tail=0.15, icc=0.4),
    Scenario(name="miliary_all10", words="very uneven patients, all later ones 10 mm away",
             tail=0.15, satellite_mm=10, satellite_share=1),
    Scenario(name="miliary_all20", words="very uneven patients, all later ones 20 mm away",
             tail=0.15, satellite_mm=20, satellite_share=1),
    Scenario(name="small_icc20", words="19 patients with 44 lesions, ICC 0.2",
             icc=0.2, n_patients=19, n_lesions=44),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of the study: its own seed, its own result.

    Parameters
    ----------
    name
        Of the result.
    scale
        Cohorts for each 1,000 asked for.
    measure
        From source of chance and number of cohorts to the numbers.
    """

    name: str
    scale: float
    measure: Callable[[np.random.Generator, int], dict[str, object]]

    def run(self, n_asked: int, seed: int) -> dict[str, object]:
        """Measure; the same seed gives the same numbers whatever ran before."""
        n_cohorts = max(2, round(n_asked * self.scale))
        rng = np.random.default_rng([seed, zlib.crc32(self.name.encode())])
        return {"n_cohorts": n_cohorts, **self.measure(rng, n_cohorts)}


def paper_findings(
    observed: Int64[np.ndarray, "c r"], shares: Float64[np.ndarray, " r"]
) -> Bool[np.ndarray, "c r"]:
    """Find what the paper preset calls significant, for many cohorts at once."""
    expected = observed.sum(axis=1, keepdims=True) * shares
    p_values = chi2.sf((observed - expected) ** 2 / (expected * (1 - shares)), 1)
    tested = observed >= PAPER.minimum_count
    return tested & (p_values * tested.sum(axis=1, keepdims=True) < PAPER.alpha)


def our_findings(
    counts: Int64[np.ndarray, "c n r"], shares: Float64[np.ndarray, " r"]
) -> Bool[np.ndarray, "c r"]:
    """Find what the clustered analysis calls significant: Bonferroni over every region."""
    p_values = np.array([region_p_values(cohort, shares) for cohort in counts])
    return p_values * len(shares) < PAPER.alpha


def false_findings(scenario: Scenario, rng: np.random.Generator, n_cohorts: int) -> dict[str, object]:
    """Count null cohorts with any finding, by either preset."""
    shares, ours, paper, totals = brain().shares, [], [], []
    for n in _chunks(n_cohorts):
        counts = draw_counts(rng, scenario, n)
        totals.append(counts.sum(axis=1))
        ours.append(our_findings(counts, shares))
        paper.append(paper_findings(totals[-1], shares))
    observed = np.concatenate(totals)
    binomial = scenario.n_lesions * shares * (1 - shares)
    usual = scenario.n_lesions * shares >= 5
    effects = ((observed - scenario.n_lesions * shares) ** 2).mean(axis=0)[usual] / binomial[usual]
    return {
        "words": scenario.words,
        "ours": float(np.concatenate(ours).any(axis=1).mean()),
        "paper": float(np.concatenate(paper).any(axis=1).mean()),
        "design_effect_min": float(effects.min()),
        "design_effect_max": float(effects.max()),
    }


def power(icc: float, rng: np.random.Generator, n_cohorts: int) -> dict[str, object]:
    """Count cohorts in which a region of the paper's effect size is found, one region at a time."""
    scenario, places = replace(SCENARIOS[0], icc=icc), brain()
    found: dict[str, object] = {}
    for region, ratio in EFFECTS.items():
        place = places.names.index(region)
        shares = places.shares * (1 - ratio * places.shares[place]) / (1 - places.shares[place])
        shares[place] = ratio * places.shares[place]
        counts = draw_counts(rng, scenario, n_cohorts, shares)
        found[region] = {
            "ratio": ratio,
            "ours": float(our_findings(counts, places.shares)[:, place].mean()),
            "paper": float(paper_findings(counts.sum(axis=1), places.shares)[:, place].mean()),
        }
    return {"regions": found}


def enriched_shares() -> Float64[np.ndarray, " r"]:
    """Give the true shares of the cohorts with known enrichment."""
    places = brain()
    shares = places.shares.copy()
    for region, ratio in ENRICHED.items():
        shares[places.names.index(region)] *= ratio
    shares[places.names.index("Cerebral White Matter")] -= shares.sum() - 1
    return shares


def coverage(icc: float, rng: np.random.Generator, n_cohorts: int) -> dict[str, object]:
    """See whether intervals hold the true ratios, and whether only what is enriched is found."""
    places, truth = brain(), enriched_shares()
    ratios = truth / places.shares
    changed = ~np.isclose(ratios, 1)
    held, found = [], []
    for n in _chunks(n_cohorts):
        counts = draw_counts(rng, replace(SCENARIOS[0], icc=icc), n, truth)
        found.append(our_findings(counts, places.shares))
        for cohort in counts:
            effects = estimate_design_effects(cohort, places.shares)
            low, high = ratio_intervals(cohort.sum(axis=0), places.shares, effects, int(cohort.sum()))
            held.append((low <= ratios) & (ratios <= high))
    by_region, findings = np.mean(held, axis=0), np.concatenate(found)
    expected = truth * SCENARIOS[0].n_lesions
    usual = np.flatnonzero(expected >= 5)
    return {
        "coverage": {places.names[place]: float(by_region[place]) for place in usual},
        "coverage_all_regions": float(by_region.mean()),
        "found": {places.names[place]: float(findings[:, place].mean()) for place in np.flatnonzero(changed)},
        "any_other_found": float(findings[:, ~changed].any(axis=1).mean()),
    }


def distances(scenario: Scenario, rng: np.random.Generator, n_cohorts: int) -> dict[str, object]:
    """Count null cohorts in which the rank test of the junction's earth mover's distance rejects at .05."""
    together: list[bool] = []
    apart: list[bool] = []
    for n in _chunks(n_cohorts):
        sizes = draw_sizes(rng, n, scenario.n_patients, scenario.n_lesions, scenario.tail)
        points, owners = draw_points(rng, sizes, scenario)
        measured = _junction_mm(points).reshape(n, scenario.n_lesions)
        for values, patients in zip(measured, owners.reshape(n, -1), strict=True):
            chance = uniform_chance(_pool(), len(values))
            likeness = estimate_likeness(values, chance, patients)
            for level, rejections in ((likeness, together), (INDEPENDENT, apart)):
                test = emd_rank_test(values, draw_sets(chance, patients, level, N_SETS, rng))
                rejections.append(test.p_value is not None and test.p_value <= 0.05)
    return {
        "words": scenario.words,
        "n_sets": N_SETS,
        "kept_together": float(np.mean(together)),
        "independent": float(np.mean(apart)),
    }


@cache
def _pool() -> Float64[np.ndarray, " m"]:
    """Distances of places spread evenly over the brain; the seed is the pool's own."""
    rng = np.random.default_rng(0)
    chosen = brain().inside[rng.integers(len(brain().inside), size=N_PLACES)]
    return np.sort(_junction_mm(chosen + rng.uniform(-0.5, 0.5, size=chosen.shape)))


def _junction_mm(points: np.ndarray) -> Float64[np.ndarray, " n"]:
    labels = load_builtin().labels
    return junction_distances_mm(labels.space.voxel_to_world(points.astype(np.float64)), labels)


def _chunks(n_cohorts: int) -> list[int]:
    full, rest = divmod(n_cohorts, CHUNK)
    return [CHUNK] * full + [rest] * bool(rest)


PARTS: tuple[Part, ...] = (
    *(Part(name=f"null_{each.name}", scale=1.0, measure=partial(false_findings, each)) for each in SCENARIOS),
    Part(name="power_independent", scale=0.4, measure=partial(power, 0.0)),
    Part(name="power_icc10", scale=0.4, measure=partial(power, 0.1)),
    Part(name="coverage_independent", scale=1.0, measure=partial(coverage, 0.0)),
    Part(name="coverage_icc10", scale=1.0, measure=partial(coverage, 0.1)),
    Part(name="distances_independent", scale=1.0, measure=partial(distances, SCENARIOS[0])),
    Part(name="distances_near20", scale=0.4, measure=partial(distances, SCENARIOS[6])),
)
