"""What a finding hangs on: the results without one centre, and without the patient who weighs most."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import pandas as pd

from bidsapp.statistics.clustered import clustered_table
from bidsapp.statistics.left_out import least_significant_without
from bidsapp.statistics.regions import PAPER, RegionSettings

WITHOUT_CENTRE_COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "left_out": "Centre whose patients are left out.",
        "region": "Region, left and right merged.",
        "n_observed": "Lesions in the region without this centre.",
        "n_expected": "Lesions it would hold by its share of the volume.",
        "ratio": "n_observed / n_expected.",
        "clustered_bonferroni_p_value": "p-value with the lesions of a patient kept together, Bonferroni.",
        "clustered_significant": "Whether it is below alpha.",
        "clustered_reason": "Why there is no p-value; n/a if there is one.",
    }
)

INFLUENCE_COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "region": "Region, left and right merged.",
        "patient": "If the region is significant, the patient without whom the p-value is largest; if not, "
        "the one without whom its lesions deviate least from the expected number.",
        "n_patient_inside": "Lesions of this patient in the region.",
        "n_patient": "Lesions of this patient in all regions.",
        "ratio": "Measured / expected with all patients.",
        "ratio_without": "The same without this patient.",
        "clustered_bonferroni_p_value": "p-value with all patients, lesions of a patient kept together.",
        "p_value_without": "The same without this patient.",
        "hangs_on_patient": "Whether the region is significant only with this patient.",
        "every_patient_tried": "Whether p_value_without is the largest of all patients; no: of those without "
        "whom a normal approximation is least significant, or the region is not significant.",
        "reason": "Why there are no numbers; n/a if there are.",
    }
)


def without_each_centre(
    counts: pd.DataFrame, centres: pd.Series, fractions: pd.Series, settings: RegionSettings = PAPER
) -> pd.DataFrame:
    """Repeat the clustered analysis without each centre in turn.

    Null hypothesis and correction as in `bidsapp.statistics.clustered.clustered_table`.

    Parameters
    ----------
    counts
        Lesions of each patient (rows) in each region (columns).
    centres
        Centre of each patient; patients without one stay in.
    fractions
        Share of each region under the null hypothesis.
    settings
        Alpha.

    Returns
    -------
    table
        One row a centre and region: columns of `WITHOUT_CENTRE_COLUMNS`; none with fewer than two centres.
    """
    of_patient = centres.reindex(counts.index)
    names = sorted(of_patient.dropna().unique())
    parts = []
    for name in names if len(names) > 1 else []:
        kept = counts[(of_patient != name).to_numpy()]
        expected = fractions.loc[counts.columns] * kept.to_numpy().sum()
        table = clustered_table(kept, fractions, settings)
        table["left_out"] = name
        table["n_observed"] = kept.sum(axis=0).to_numpy()
        table["n_expected"] = expected.to_numpy()
        table["ratio"] = _ratio(table["n_observed"], table["n_expected"])
        parts.append(table[list(WITHOUT_CENTRE_COLUMNS)])
    return (
        pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(WITHOUT_CENTRE_COLUMNS))
    )


def most_influential_patients(
    counts: pd.DataFrame, fractions: pd.Series, settings: RegionSettings = PAPER
) -> pd.DataFrame:
    """Find for each region the patient on whom it hangs most, and test without that patient.

    For a significant region that is the patient without whom its p-value is largest
    (`bidsapp.statistics.left_out`); for another, the one without whom it deviates least, which is quicker.
    Null hypothesis and correction as in `bidsapp.statistics.clustered.clustered_table`.

    Parameters
    ----------
    counts
        Lesions of each patient (rows) in each region (columns).
    fractions
        Share of each region under the null hypothesis.
    settings
        Alpha.

    Returns
    -------
    table
        One row a region: columns of `INFLUENCE_COLUMNS`.
    """
    whole = clustered_table(counts, fractions, settings).set_index("region")
    values = counts.to_numpy(np.int64)
    shares = fractions.loc[counts.columns].to_numpy(np.float64)
    sizes = values.sum(axis=1)
    tables: dict[int, pd.DataFrame] = {}
    rows = []
    for column, region in enumerate(counts.columns):
        row: dict[str, object] = dict.fromkeys(INFLUENCE_COLUMNS, np.nan)
        reason = str(whole.loc[region, "clustered_reason"]) or ("" if len(counts) > 1 else "one patient")
        row |= {"region": region, "patient": None, "reason": reason}
        row |= {"hangs_on_patient": False, "every_patient_tried": False}
        if not reason:
            fraction, inside = float(shares[column]), values[:, column]
            if whole.loc[region, "clustered_significant"]:
                place, row["every_patient_tried"] = least_significant_without(values, shares, column)
            else:
                place = _heaviest(inside, sizes, fraction)
            if place not in tables:
                kept = counts.drop(index=counts.index[place])
                tables[place] = clustered_table(kept, fractions, settings).set_index("region")
            row |= {"patient": counts.index[place]} | _influence_row(inside, sizes, fraction, place)
            row |= _verdicts(whole.loc[[region]].iloc[0], tables[place].loc[[region]].iloc[0])
        rows.append(row)
    return pd.DataFrame(rows, columns=list(INFLUENCE_COLUMNS))


def _heaviest(inside: np.ndarray, sizes: np.ndarray, fraction: float) -> int:
    """Pick the patient without whom the standardised difference comes nearest to zero, or crosses it."""
    n_inside, n_lesions = inside.sum() - inside, sizes.sum() - sizes
    towards = 1.0 if inside.sum() >= fraction * sizes.sum() else -1.0
    deviation = np.sqrt(np.maximum(n_lesions, 1) * fraction * (1 - fraction))
    return int((towards * (n_inside - fraction * n_lesions) / deviation).argmin())


def _influence_row(inside: np.ndarray, sizes: np.ndarray, fraction: float, place: int) -> dict[str, object]:
    rest = int(sizes.sum() - sizes[place])
    return {
        "n_patient_inside": int(inside[place]),
        "n_patient": int(sizes[place]),
        "ratio": int(inside.sum()) / (fraction * int(sizes.sum())),
        "ratio_without": int(inside.sum() - inside[place]) / (fraction * rest) if rest else np.nan,
    }


def _verdicts(with_patient: pd.Series, without: pd.Series) -> dict[str, object]:
    return {
        "clustered_bonferroni_p_value": with_patient["clustered_bonferroni_p_value"],
        "p_value_without": without["clustered_bonferroni_p_value"],
        "hangs_on_patient": bool(
            with_patient["clustered_significant"] and not without["clustered_significant"]
        ),
        "reason": without["clustered_reason"],
    }


def _ratio(observed: pd.Series, expected: pd.Series) -> pd.Series:
    return (observed / expected.where(expected > 0)).astype(np.float64)
