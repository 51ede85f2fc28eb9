"""What is to be implanted: sizes, kinds and places of the tumours of one scan."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np

from bidsapp.atlas.seganat import structures
from bidsapp.errors import UsageError

JUNCTION = "Grey-White Junction"
SMALLEST_MM, LARGEST_MM = 3.0, 30.0
MEDIAN_DIAMETER_MM, DIAMETER_SPREAD = 8.5, 0.5
SMALLEST_RING_MM = 8.0

# How much likelier a metastasis is per cubic millimetre; other regions: 1, fluid and vessels: 0.
PREFERENCE: Mapping[str, float] = MappingProxyType(
    {"Cerebral Cortex": 1.6, "Cerebral White Matter": 0.6, "Putamen": 4.0}
)

Kind = Literal["solid", "ring"]
Inside = Literal["background", "wrong", "keep"]
Contrast = Literal["enhancing", "plain"]


@dataclass(frozen=True, slots=True)
class Tumour:
    """One tumour to implant.

    Parameters
    ----------
    diameter_mm
        Of the sphere of equal volume, 3 to 30.
    structure
        Region of the group statistics ("Putamen", either side) or "Grey-White Junction" that its centre
        is drawn from.
    kind
        "solid", or "ring" for a bright rim around a dark core.
    mass_effect_mm
        Push of the surrounding tissue at the tumour's surface; 0 for none.
    centre_mm
        World RAS+ millimetres; given, it is used instead of a place drawn from `structure`.

    Raises
    ------
    UsageError
        If the diameter is out of range or the structure unknown.
    """

    diameter_mm: float
    structure: str
    kind: Kind = "solid"
    mass_effect_mm: float = 0.0
    centre_mm: tuple[float, float, float] | None = None

    def __post_init__(self) -> None:
        if not SMALLEST_MM <= self.diameter_mm <= LARGEST_MM:
            raise UsageError(
                f"tumour diameters go from {SMALLEST_MM:g} to {LARGEST_MM:g} mm, got {self.diameter_mm:g}"
            )
        known = place_names()
        if self.structure not in known:
            raise UsageError(f"unknown structure {self.structure!r}: use one of {', '.join(known)}")


@dataclass(frozen=True, slots=True)
class Lesions:
    """The tumours of one scan and how they show.

    Parameters
    ----------
    tumours
        In the order of the truth table.
    inside
        What a segmentation tool that knows no tumours writes inside them: "background", a "wrong"
        structure (bright tissue taken for white matter or cortex, dark cores for ventricle), or "keep".
    contrast
        "enhancing" (after gadolinium: brighter than white matter) or "plain" (darker).
    """

    tumours: tuple[Tumour, ...]
    inside: Inside = "background"
    contrast: Contrast = "enhancing"


def place_names() -> tuple[str, ...]:
    """Names a tumour may be placed in: the 19 regions and the junction of cortex and white matter."""
    regions = dict.fromkeys(structure.region for structure in structures()[1:])
    return (*regions, JUNCTION)


def default_rates() -> Mapping[str, float]:
    """List the preference of every region.

    Examples
    --------
    >>> rates = default_rates()
    >>> rates["Putamen"], rates["Thalamus"], rates["Lateral Ventricle"]
    (4.0, 1.0, 0.0)
    """
    return {
        structure.region: PREFERENCE.get(structure.region, 0.0 if structure.tissue == "csf" else 1.0)
        for structure in structures()[1:]
    }


def draw_diameters_mm(n: int, rng: np.random.Generator) -> np.ndarray:
    """Draw diameters like those of brain metastases: log-normal, median 8.5 mm, kept within 3 to 30 mm."""
    drawn = np.exp(rng.normal(np.log(MEDIAN_DIAMETER_MM), DIAMETER_SPREAD, n))
    return np.clip(drawn, SMALLEST_MM, LARGEST_MM)


def draw_kind(diameter_mm: float, rng: np.random.Generator) -> Kind:
    """Draw "ring" for two of three tumours that are large enough for a dead core."""
    return "ring" if diameter_mm >= SMALLEST_RING_MM and rng.random() < 2 / 3 else "solid"


def draw_tumours(
    structures_wanted: Sequence[str],
    rng: np.random.Generator,
    *,
    diameters_mm: Sequence[float] = (),
    mass_effect_mm: float = 0.0,
) -> tuple[Tumour, ...]:
    """Plan one tumour for each structure named.

    Parameters
    ----------
    structures_wanted
        Where the tumours go, one name a tumour.
    rng
        Source of chance.
    diameters_mm
        Used in turn; empty means drawn like those of metastases.
    mass_effect_mm
        Push at the surface of each tumour, cut to half its radius for small ones.
    """
    drawn = draw_diameters_mm(len(structures_wanted), rng)
    tumours = []
    for number, name in enumerate(structures_wanted):
        diameter = float(diameters_mm[number % len(diameters_mm)] if diameters_mm else drawn[number])
        effect = min(mass_effect_mm, diameter / 4)
        tumours.append(Tumour(diameter, name, draw_kind(diameter, rng), effect))
    return tuple(tumours)


def draw_places(
    n: int, rates: Mapping[str, float], volumes_mm3: Mapping[str, float], rng: np.random.Generator
) -> tuple[str, ...]:
    """Draw `n` structures with probability proportional to rate times volume.

    Raises
    ------
    UsageError
        If no structure has both a rate and a volume.
    """
    names = [name for name in rates if rates[name] * volumes_mm3.get(name, 0) > 0]
    if not names:
        raise UsageError(f"none of the structures {', '.join(rates)} is in this label map: name others")
    weights = np.array([rates[name] * volumes_mm3[name] for name in names])
    return tuple(str(name) for name in rng.choice(names, n, p=weights / weights.sum()))
