"""Which region a lesion counts for, above all if its centre of gravity lies in no structure."""

from types import MappingProxyType

import pandas as pd

from bidsapp.atlas.seganat import structures
from bidsapp.errors import UsageError

POLICIES = MappingProxyType(
    {
        "exclude": "structure_centroid",
        "nearest": "structure_nearest",
        "overlap": "structure_majority",
    }
)
"""Policy to the column of the lesion table that it follows.

exclude: lesions whose centre lies outside all structures take no part (the paper). nearest: they count for
the nearest structure within 3 mm. overlap: every lesion counts for the structure with its largest share.
"""


def assigned_regions(lesions: pd.DataFrame, policy: str) -> pd.DataFrame:
    """Settle the region and the side every lesion counts for.

    Parameters
    ----------
    lesions
        Columns of `bidsapp.lesions.table.LESION_COLUMNS`.
    policy
        One of `POLICIES`.

    Returns
    -------
    lesions
        A copy with ``region`` (left and right merged) and ``hemisphere`` (left, right, none), both missing
        where the policy finds no structure.

    Raises
    ------
    UsageError
        If there is no such policy.

    Examples
    --------
    >>> table = pd.DataFrame({"structure_centroid": [None], "structure_nearest": ["Left Putamen"]})
    >>> assigned_regions(table, "nearest")[["region", "hemisphere"]].iloc[0].tolist()
    ['Putamen', 'left']
    >>> assigned_regions(table, "exclude")["region"].isna().tolist()
    [True]
    """
    if policy not in POLICIES:
        raise UsageError(
            f"a lesion outside all structures is treated by {', '.join(POLICIES)}, got {policy!r}"
        )
    known = {each.name: (each.region, each.hemisphere) for each in structures()[1:]}
    found = [known.get(name, (None, None)) for name in lesions[POLICIES[policy]]]
    return lesions.assign(
        region=pd.Series([region for region, _ in found], index=lesions.index, dtype=object),
        hemisphere=pd.Series([side for _, side in found], index=lesions.index, dtype=object),
    )
