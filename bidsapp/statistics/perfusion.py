"""Blood flow where lesions lie, against balls of the same size at random places, and between centres."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import pandas as pd

from bidsapp.errors import DataError
from bidsapp.statistics.distances import two_sided_rank_p_value
from bidsapp.statistics.placement import INDEPENDENT, Chance, draw_sets, estimate_likeness, group_chance
from bidsapp.statistics.ranks import RankTest, kruskal_between_patients

QUANTITIES = ("median", "min", "max")

WITHOUT_PERFUSION = (
    "Perfusion: not analysed, because the atlas has no map of blood flow. Put one into an atlas folder "
    "(docs/atlas.md says which) and give it with --atlas, at both levels."
)

PERFUSION_COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "quantity": "What is read of the flow within a lesion: median, min, max.",
        "n_lesions": "Lesions whose flow is known.",
        "n_missing": "Lesions outside the map.",
        "n_patients": "Patients of the lesions whose flow is known.",
        "mean": "Mean over the lesions, in the unit of the map.",
        "expected": "Mean by chance: balls of the same sizes at random places of the brain.",
        "difference": "mean - expected.",
        "difference_low": "Lower end of its 95 % interval, patients kept together.",
        "difference_high": "Upper end of its 95 % interval, patients kept together.",
        "icc": "How alike the lesions of one patient are: intraclass correlation.",
        "independent_p_value": "Two-sided rank p-value of the mean, every lesion independent.",
        "p_value": "Two-sided rank p-value of the mean, patients kept together.",
        "centres_p_value": "Kruskal-Wallis between centres, patients moved between them at random.",
        "centres_reason": "Why there is no p-value between centres; n/a if there is.",
        "reason": "Why something else is missing; n/a if nothing is.",
    }
)

SITE_COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "site": "Centre.",
        "n_lesions": "Lesions whose flow is known.",
        "mean_median": "Mean over the lesions of their median flow.",
        "mean_min": "Mean over the lesions of their least flow.",
        "mean_max": "Mean over the lesions of their largest flow.",
    }
)


def perfusion_table(
    lesions: pd.DataFrame,
    balls: pd.DataFrame,
    size_bins: np.ndarray,
    rng: np.random.Generator,
    *,
    n_sets: int = 999,
) -> pd.DataFrame:
    """Compare the flow within lesions with the flow that chance gives lesions of their size.

    Null hypothesis of each row: a lesion lies at a random place with room for its size, lesions of one
    patient being as alike as measured; of ``centres_p_value``: patients are exchangeable between centres.
    Minimum and maximum spread with size, hence the sizes. Nothing is corrected for the three rows.

    Parameters
    ----------
    lesions
        ``subject``, ``perfusion_median``, ``_min``, ``_max`` (NaN outside the map) and ``site`` (missing
        where not known).
    balls
        ``median``, ``min``, ``max`` of balls at random places, and their ``size_bin``.
    size_bins
        Size bin of each lesion.
    rng
        Source of chance.
    n_sets
        Random cohorts; the smallest possible p-value is ``2 / (n_sets + 1)``.

    Returns
    -------
    table
        One row a quantity: columns of `PERFUSION_COLUMNS`.

    Raises
    ------
    DataError
        If there is no ball, or not one size bin for each lesion.

    References
    ----------
    Wielenberg et al. 2026, section 3.8.2 (median, minimum and maximum of the flow within each lesion).
    """
    if not len(balls) or len(size_bins) != len(lesions):
        raise DataError(
            f"perfusion needs balls and a size bin for each lesion, got {len(balls)} balls, {len(size_bins)} "
            f"bins and {len(lesions)} lesions"
        )
    rows = []
    for quantity in QUANTITIES:
        values = lesions[f"perfusion_{quantity}"].to_numpy(np.float64)
        known = np.isfinite(values)
        pools = balls[quantity].to_numpy(np.float64)
        chance = group_chance(pools, balls["size_bin"].to_numpy(), size_bins[known])
        patients = lesions["subject"].to_numpy(object)[known]
        row = {"quantity": quantity, "n_missing": int((~known).sum())}
        row |= _against_chance(values[known], chance, patients, rng, n_sets)
        centres = compare_sites(lesions, quantity, rng)
        row |= {"centres_p_value": _number(centres.permutation_p_value), "centres_reason": centres.reason}
        rows.append(row)
    return pd.DataFrame(rows).reindex(columns=list(PERFUSION_COLUMNS))


def compare_sites(lesions: pd.DataFrame, quantity: str, rng: np.random.Generator) -> RankTest:
    """Compare centres by the flow within their lesions; see `kruskal_between_patients`.

    Parameters
    ----------
    lesions
        As for `perfusion_table`.
    quantity
        median, min or max.
    rng
        Source of chance.
    """
    return kruskal_between_patients(
        lesions[f"perfusion_{quantity}"].to_numpy(np.float64),
        lesions["site"].to_numpy(object),
        lesions["subject"].to_numpy(object),
        rng,
    )


def perfusion_by_site(lesions: pd.DataFrame) -> pd.DataFrame:
    """Give each centre's mean flow; lesions without a centre or a flow are left out.

    Parameters
    ----------
    lesions
        As for `perfusion_table`.
    """
    known = lesions[lesions["perfusion_median"].notna() & lesions["site"].notna()]
    by_site = known.groupby("site")
    table = pd.DataFrame({"n_lesions": by_site.size()})
    for quantity in QUANTITIES:
        table[f"mean_{quantity}"] = by_site[f"perfusion_{quantity}"].mean()
    return table.rename_axis("site").reset_index()[list(SITE_COLUMNS)]


def _against_chance(
    values: np.ndarray, chance: Chance, patients: np.ndarray, rng: np.random.Generator, n_sets: int
) -> dict[str, object]:
    row: dict[str, object] = {"n_lesions": len(values), "n_patients": len(set(patients))}
    if not len(values):
        return row | {"reason": "no lesion lies in the map"}
    mean, expected = float(values.mean()), chance.mean()
    alone = draw_sets(chance, patients, INDEPENDENT, n_sets, rng).mean(axis=1, dtype=np.float64)
    row |= {"mean": mean, "expected": expected, "difference": mean - expected}
    row |= {"independent_p_value": two_sided_rank_p_value(mean, alone)}
    if row["n_patients"] == 1 and len(values) > 1:
        return row | {"reason": "one patient only: habit and preference cannot be told apart"}
    likeness = estimate_likeness(values, chance, patients)
    means = draw_sets(chance, patients, likeness, n_sets, rng).mean(axis=1, dtype=np.float64)
    low, high = np.quantile(means - expected, [0.025, 0.975])
    return row | {
        "difference_low": mean - expected - float(high),
        "difference_high": mean - expected - float(low),
        "icc": likeness.icc,
        "p_value": two_sided_rank_p_value(mean, means),
    }


def _number(value: float | None) -> float:
    return np.nan if value is None else value
