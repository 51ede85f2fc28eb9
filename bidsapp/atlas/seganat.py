"""SegAnat: the 34 structures and the background that every label map is translated to."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

N_CLASSES = 35


@dataclass(frozen=True, slots=True)
class Structure:
    """One anatomical structure.

    Parameters
    ----------
    index
        Its number in a SegAnat label map, 0 (background) to 34.
    name
        With its side, as in "Left Putamen".
    abbreviation
        A few letters for plots.
    hemisphere
        "left", "right" or "none".
    region
        Name without the side; the 19 regions of the group statistics.
    tissue
        "grey", "white", "csf" or "none".
    freesurfer
        The code that stands for it in FreeSurfer's colour table.
    color
        Hexadecimal RGB.
    """

    index: int
    name: str
    abbreviation: str
    hemisphere: str
    region: str
    tissue: str
    freesurfer: int
    color: str


@cache
def other_side() -> tuple[int, ...]:
    """Give for every class its counterpart in a mirrored brain; a structure without a side is its own.

    Examples
    --------
    >>> other_side()[:5]
    (0, 2, 1, 4, 3)
    """
    swapped = {"left": "right", "right": "left", "none": "none"}
    index_of = {(each.region, each.hemisphere): each.index for each in structures()}
    return tuple(index_of[each.region, swapped[each.hemisphere]] for each in structures())


@cache
def structures() -> tuple[Structure, ...]:
    """Return the 35 classes in the order of their index.

    References
    ----------
    Wielenberg et al. 2026, table 2. doi:10.48550/arXiv.2602.12933

    Examples
    --------
    >>> [structure.name for structure in structures()][:3]
    ['Background', 'Left Cerebral White Matter', 'Right Cerebral White Matter']
    """
    text = files("bidsapp.data").joinpath("seganat.tsv").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in text.splitlines()[1:]]
    return tuple(
        Structure(int(index), name, short, side, region, tissue, int(code), color)
        for index, name, short, side, region, tissue, code, color in rows
    )
