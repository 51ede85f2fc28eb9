"""Arterial territories: their names, the arteries they belong to, and how large they are on an atlas."""

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
import pandas as pd

from bidsapp.atlas.pack import AtlasPack
from bidsapp.errors import DataError, UsageError

LEVELS = ("territory", "group", "circulation")
"""30 territories, left and right apart; 4 arteries (ACA, MCA, PCA, VB); anterior and posterior."""

WITHOUT_TERRITORIES = (
    "Arterial territories: not analysed, because the atlas has no map of them. Put one into an atlas folder "
    "(docs/atlas.md names one that can be downloaded) and give it with --atlas, at both levels."
)
UNKNOWN_TERRITORIES = (
    "Arteries and circulations: not analysed, because the names of the territories are not those of the "
    "atlas of Liu et al. 2023 (bidsapp/data/territories.tsv)."
)

_SIDES = {"L": "left", "R": "right"}
_LARGEST_RATIO = 1.25


@dataclass(frozen=True, slots=True)
class Territory:
    """One arterial territory.

    Parameters
    ----------
    index
        Its number in the atlas of Liu et al.
    name
        With its side, as in "Left Anterior Cerebral Artery".
    abbreviation
        A few letters for plots.
    hemisphere
        "left" or "right".
    group
        ACA, MCA, PCA, VB (vertebrobasilar); LV for the lateral ventricles, which no artery feeds.
    circulation
        "anterior" or "posterior"; "n/a" for the ventricles.
    """

    index: int
    name: str
    abbreviation: str
    hemisphere: str
    group: str
    circulation: str


@cache
def territories() -> tuple[Territory, ...]:
    """Return the 30 territories and the two lateral ventricles in the order of their index.

    References
    ----------
    Liu et al. 2023, Sci. Data 10:74. doi:10.1038/s41597-022-01923-0

    Examples
    --------
    >>> territories()[4].name, territories()[4].group
    ('Left Lateral Lenticulostriate', 'MCA')
    """
    text = files("bidsapp.data").joinpath("territories.tsv").read_text(encoding="utf-8")
    return tuple(
        Territory(
            int(row["index"]),
            f"{_SIDES[row['hemisphere']].capitalize()} {row['name']}",
            row["abbreviation"],
            _SIDES[row["hemisphere"]],
            row["group"],
            row["circulation"],
        )
        for row in csv.DictReader(text.splitlines(), delimiter="\t")
    )


def has_known_territories(atlas: AtlasPack) -> bool:
    """Tell whether the territories of an atlas are those of Liu et al., by their names."""
    return bool(atlas.territory_names) and set(atlas.territory_names.values()) <= {
        each.name for each in territories()
    }


def unit_of(name: str, level: str) -> tuple[str, str] | None:
    """Name what a territory belongs to, and its side; None for ventricles and unknown names.

    Parameters
    ----------
    name
        Of the territory, with its side in front if it has one.
    level
        One of `LEVELS`. Territories keep their names, and the side is in them ("none" beside it).

    Raises
    ------
    UsageError
        If there is no such level.

    Examples
    --------
    >>> unit_of("Left Basilar", "group"), unit_of("Left Basilar", "territory")
    (('VB', 'left'), ('Left Basilar', 'none'))
    >>> unit_of("Right Lateral Ventricle", "circulation") is None
    True
    """
    if level not in LEVELS:
        raise UsageError(f"territories are counted by {', '.join(LEVELS)}, got {level!r}")
    if "ventricle" in name.lower():
        return None
    if level == "territory":
        return name, "none"
    found = {each.name: each for each in territories()}.get(name)
    if found is None:
        return None
    return (found.group if level == "group" else found.circulation), found.hemisphere


def territory_volumes(atlas: AtlasPack, level: str) -> pd.DataFrame:
    """Measure the arterial territories of an atlas in mm3; the ventricles are left out.

    Parameters
    ----------
    atlas
        With territories.
    level
        One of `LEVELS`.

    Returns
    -------
    volumes
        Columns ``left``, ``right`` and ``none``, one row a territory, artery or circulation: what
        `bidsapp.statistics.strata.analyse_stratum` takes for regions.

    Raises
    ------
    DataError
        If the atlas has no territories, or the two sides of one differ by more than a quarter.
    """
    if atlas.territories is None:
        raise DataError(f"the atlas {atlas.name} must hold arterial territories, got none: add a map of them")
    _check_sides(atlas)
    counts = np.bincount(atlas.territories.data.ravel())
    volumes: dict[str, dict[str, float]] = {}
    for code in np.flatnonzero(counts):
        unit = unit_of(atlas.territory_names[int(code)], level) if code else None
        if unit is not None:
            row = volumes.setdefault(unit[0], dict.fromkeys(("left", "right", "none"), 0.0))
            row[unit[1]] += float(counts[code]) * atlas.territories.space.voxel_volume_mm3
    table = pd.DataFrame.from_dict(volumes, orient="index", columns=["left", "right", "none"])
    return table.rename_axis("region")


def _check_sides(atlas: AtlasPack) -> None:
    """Refuse a map whose left and right do not belong together: its table names the wrong numbers."""
    if atlas.territories is None or not has_known_territories(atlas):
        return
    counts = np.bincount(atlas.territories.data.ravel())
    sizes = {atlas.territory_names[int(code)]: int(counts[code]) for code in np.flatnonzero(counts) if code}
    for name, left in sizes.items():
        right = sizes.get(name.replace("Left ", "Right ", 1), left)
        if name.startswith("Left ") and not 1 / _LARGEST_RATIO <= left / right <= _LARGEST_RATIO:
            raise DataError(
                f"both sides of the territory {name.removeprefix('Left ')} must be of about one size, got "
                f"{left} voxels on the left and {right} on the right: the numbers of the map are not in the "
                "order of its table, mend the _dseg.tsv"
            )
