"""Jitter: how counts move when every centre of gravity is shifted a little, as the paper does it.

This is a sensitivity, not an interval for the count. The measured centres already hold their error; shifting
them adds it a second time, so thin regions lose lesions to thick ones and the range may not even contain
the measured count.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pandas as pd
from jaxtyping import Float64
from scipy.stats import truncnorm

from bidsapp.errors import UsageError

OUTSIDE = "outside"

JITTER_COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "region": "Region; outside for lesions in none.",
        "n_observed": "Lesions whose measured centre lies in the region.",
        "jitter_mean": "Sensitivity: mean count after random shifts of every centre.",
        "jitter_low": "Sensitivity: 2.5th percentile of the count after random shifts; no interval for "
        "n_observed.",
        "jitter_high": "Sensitivity: 97.5th percentile of the count after random shifts; no interval for "
        "n_observed.",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class JitterSettings:
    """How centres are shifted.

    Parameters
    ----------
    n_replicates
        Times that all centres are shifted.
    mean_mm, sd_mm
        Of the normal distribution that the length of a shift comes from, cut off below 0.

    Raises
    ------
    UsageError
        If there is no replicate or a length is below 0.
    """

    n_replicates: int = 100
    mean_mm: float = 1.0
    sd_mm: float = 0.5

    def __post_init__(self) -> None:
        if self.n_replicates < 1 or self.mean_mm < 0 or self.sd_mm < 0:
            raise UsageError(
                f"jitter needs at least one replicate and lengths of at least 0, got {self.n_replicates}, "
                f"{self.mean_mm} mm and {self.sd_mm} mm"
            )


PAPER_JITTER = JitterSettings()


def shifts_mm(
    n_points: int, rng: np.random.Generator, settings: JitterSettings = PAPER_JITTER
) -> Float64[np.ndarray, "n 3"]:
    """Draw shifts of any direction, all alike, and of random length.

    Parameters
    ----------
    n_points
        How many.
    rng
        Source of chance.
    settings
        Lengths.
    """
    directions = rng.standard_normal((n_points, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    if settings.sd_mm == 0:
        return directions * settings.mean_mm
    lowest = -settings.mean_mm / settings.sd_mm
    lengths = truncnorm.rvs(
        lowest, np.inf, loc=settings.mean_mm, scale=settings.sd_mm, size=(n_points, 1), random_state=rng
    )
    return np.asarray(directions * lengths, dtype=np.float64)


def jitter_table(
    points_mm: Float64[np.ndarray, "n 3"],
    region_of: Callable[[np.ndarray], np.ndarray],
    regions: Sequence[str],
    rng: np.random.Generator,
    settings: JitterSettings = PAPER_JITTER,
) -> pd.DataFrame:
    """Count lesions by region after shifting every centre at random, again and again.

    Parameters
    ----------
    points_mm
        Centres of gravity, atlas world RAS+.
    region_of
        Region of each of some points; missing outside all.
    regions
        Rows of the table, in their order; "outside" comes last.
    rng
        Source of chance.
    settings
        Number and length of shifts.

    Returns
    -------
    table
        Columns of `JITTER_COLUMNS`.

    References
    ----------
    Wielenberg et al. 2026, section 3.8.2 (100 shifts of 1.0 ± 0.5 mm).
    """
    rows = pd.Index([*regions, OUTSIDE])

    def counts_of(points: np.ndarray) -> np.ndarray:
        codes = rows.get_indexer(pd.Index(region_of(points)))
        return np.bincount(np.where(codes < 0, len(regions), codes), minlength=len(rows))

    shifted = np.array(
        [
            counts_of(points_mm + shifts_mm(len(points_mm), rng, settings))
            for _ in range(settings.n_replicates)
        ]
    )
    low, high = np.quantile(shifted, [0.025, 0.975], axis=0)
    return pd.DataFrame(
        {
            "region": rows,
            "n_observed": counts_of(points_mm),
            "jitter_mean": shifted.mean(axis=0),
            "jitter_low": low,
            "jitter_high": high,
        }
    )
