"""Lesions counted by arterial territory instead of region, and the share of each territory per patient."""

import json

import pandas as pd

from bidsapp.atlas.territories import unit_of
from bidsapp.lesions.mapping import OUTSIDE


def territory_lesions(lesions: pd.DataFrame, level: str) -> pd.DataFrame:
    """Replace the region of every lesion by the territory of its centre of gravity.

    The same tests then run on territories as on regions.

    Parameters
    ----------
    lesions
        Columns of `bidsapp.lesions.table.LESION_COLUMNS`.
    level
        One of `bidsapp.atlas.territories.LEVELS`.

    Returns
    -------
    lesions
        A copy whose ``region``, ``region_centroid`` and ``hemisphere`` are those of the territory; missing
        in ventricles, outside the map and where the name belongs to no artery.
    """
    units = [unit_of(name, level) if isinstance(name, str) else None for name in lesions["territory"]]
    names = pd.Series([unit[0] if unit else None for unit in units], index=lesions.index, dtype=object)
    sides = pd.Series([unit[1] if unit else None for unit in units], index=lesions.index, dtype=object)
    return lesions.assign(region=names, region_centroid=names, hemisphere=sides)


def patient_territory_fractions(lesions: pd.DataFrame, level: str = "group") -> pd.DataFrame:
    """Share of each territory in the lesion volume of each patient.

    Lesions weigh by their volume in the atlas; ventricles and what lies beyond the map are "outside".

    Parameters
    ----------
    lesions
        Columns of `bidsapp.lesions.table.LESION_COLUMNS`.
    level
        One of `bidsapp.atlas.territories.LEVELS`.

    Returns
    -------
    fractions
        One row a patient (index ``subject``), one column a territory and "outside"; rows add up to 1.
        Patients none of whose lesions arrived in the atlas have no row.
    """
    rows = []
    for subject, volume, text in lesions[["subject", "atlas_volume_mm3", "territory_overlap"]].itertuples(
        index=False
    ):
        if isinstance(text, str) and volume > 0:
            shares = json.loads(text)
            total = sum(shares.values())
            for name, share in shares.items():
                unit = unit_of(name, level) if name != OUTSIDE else None
                rows.append((subject, unit[0] if unit else OUTSIDE, volume * share / total))
    table = pd.DataFrame(rows, columns=["subject", "unit", "volume_mm3"])
    if table.empty:
        return pd.DataFrame(index=pd.Index([], name="subject"))
    volumes = table.pivot_table(
        index="subject", columns="unit", values="volume_mm3", aggfunc="sum", fill_value=0.0
    )
    return volumes.div(volumes.sum(axis=1), axis=0).rename_axis(columns=None)
