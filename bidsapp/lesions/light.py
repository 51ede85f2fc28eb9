"""What is too bright to be healthy, and what is tissue although no label says so."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64
from scipy.ndimage import (
    find_objects,
    gaussian_filter,
    label,
)

from bidsapp.atlas.seganat import structures
from bidsapp.geometry.space import Space
from bidsapp.images.neighbours import all_along_axes, any_in_box
from bidsapp.images.regrid import on_grid
from bidsapp.images.volume import Volume

BRIGHT, FAINT = 3.5, 2.2
"""Standard deviations above white matter: a lesion has a voxel above the first and reaches to the second."""
LEAST_SPREAD = 0.07
"""A standard deviation is at least this share of the way from the darkest tissue to white matter."""
SOLID = 0.6
"""Share of that way from which on a voxel without a label, inside the brain, is tissue and no fluid."""
SPECK_MM, SPECK_MM3 = 6.0, 6.0
"""A bright body that is longer than the first in no direction may be as small as the second: no vessel is."""
_BLUR_MM, _SPECK_BLUR_MM = 0.7, 0.4
_USUAL_PERCENT = 75
_BIAS_ROUNDS, _FEWEST_POINTS, _MOST_POINTS = 4, 1_000, 20_000
_NEXT = (1, 1, 1)
_WHITE = tuple(at for at, each in enumerate(structures()) if each.region == "Cerebral White Matter")
_LOWER_WHITE = tuple(at for at, each in enumerate(structures()) if each.region == "Cerebellum White Matter")
_GREY = tuple(at for at, each in enumerate(structures()) if each.region == "Cerebral Cortex")


class Light(NamedTuple):
    """What the scan's brightness tells.

    Parameters
    ----------
    bright
        Brighter than white matter.
    specks
        The same, small and alone.
    solid
        Tissue without a label.
    """

    bright: Bool[np.ndarray, "i j k"]
    specks: Bool[np.ndarray, "i j k"]
    solid: Bool[np.ndarray, "i j k"]


def find_light(part: Volume, t1w: Volume, inside: Bool[np.ndarray, "i j k"]) -> Light:
    """Flag what is brighter than white matter, and tissue without a label.

    Nothing is flagged where white matter is not brighter than cortex: that is another contrast.

    Parameters
    ----------
    part
        SegAnat indices.
    t1w
        The scan, on any grid of the same world.
    inside
        Where lesions are looked for, on the grid of `part`.
    """
    none = np.zeros(part.space.shape, dtype=np.bool_)
    sizes = np.array(part.space.voxel_sizes_mm)
    sharp = on_grid(Volume(t1w.data.astype(np.float32), t1w.space), part.space, "linear").data
    image = gaussian_filter(sharp, _BLUR_MM / sizes)
    is_white = all_along_axes(np.isin(part.data, _WHITE), _NEXT)
    white, grey = image[is_white], image[np.isin(part.data, _GREY)]
    if not len(white) or not len(grey) or np.median(grey) >= np.median(white):
        return Light(none, none, none)
    gain = _find_gain(image, is_white | all_along_axes(np.isin(part.data, _LOWER_WHITE), _NEXT))
    image *= gain
    white = image[is_white]
    middle, darkest = float(np.median(white)), float(np.percentile(image[part.data > 0], 1))
    spread = max(1.4826 * float(np.median(np.abs(white - middle))), LEAST_SPREAD * (middle - darkest))
    usual = np.where(inside, _own_level(image, part.data, middle, spread)[part.data], np.inf)
    excess = (image - usual) / spread
    sharp = (gaussian_filter(sharp, _SPECK_BLUR_MM / sizes) * gain - usual) / spread
    bright = _lit(excess, np.maximum(excess, sharp))
    solid = inside & (part.data == 0) & (image > darkest + SOLID * (middle - darkest))
    return Light(bright, _specks(_lit(sharp, sharp), part.space), solid)


def _lit(peaks: np.ndarray, excess: np.ndarray) -> Bool[np.ndarray, "i j k"]:
    """Flag the bodies that reach to FAINT and have a peak above BRIGHT."""
    pieces, n_pieces = label(excess > FAINT)
    is_lit = np.zeros(n_pieces + 1, dtype=np.bool_)
    is_lit[pieces[peaks > BRIGHT]] = True
    is_lit[0] = False
    return is_lit[pieces]


def _specks(lit: Bool[np.ndarray, "i j k"], space: Space) -> Bool[np.ndarray, "i j k"]:
    """Keep the bodies that are short in every direction and alone: the beads of a vessel are not."""
    pieces, n_pieces = label(any_in_box(lit, _NEXT))
    is_speck = np.bincount(pieces[lit], minlength=n_pieces + 1) * space.voxel_volume_mm3 >= SPECK_MM3
    for number, found in enumerate(find_objects(pieces), start=1):
        sizes = [at.stop - at.start - 2 for at in found]
        is_speck[number] &= max(np.multiply(sizes, space.voxel_sizes_mm)) <= SPECK_MM
    return lit & is_speck[pieces]


def _own_level(
    image: np.ndarray, labels: np.ndarray, middle: float, spread: float
) -> Float64[np.ndarray, "35"]:
    """Give what is usual for each structure: white matter's brightness, or that of its own brighter quarter.

    Brain stem and cerebellum are often a little brighter. What is far above is a lesion.
    """
    level = np.full(len(structures()), middle)
    for at in np.unique(labels[labels > 0]):
        level[at] = np.clip(np.percentile(image[labels == at], _USUAL_PERCENT), middle, middle + 2 * spread)
    return level


def _find_gain(image: np.ndarray, is_white: Bool[np.ndarray, "i j k"]) -> np.ndarray:
    """Give what makes white matter equally bright everywhere, as far as a cubic polynomial in i, j, k can.

    That of the cerebellum holds the polynomial where the cerebrum has none.
    What strays from the polynomial by more than 2.5 standard deviations, as lesions do, has no say in it.
    """
    at = np.argwhere(is_white)
    if len(at) < _FEWEST_POINTS:
        return np.ones_like(image)
    at = at[:: len(at) // _MOST_POINTS + 1]
    values = image[tuple(at.T)].astype(np.float64)
    axes = [np.stack([np.linspace(-1.0, 1.0, size) ** power for power in range(4)]) for size in image.shape]
    powers = [(a, b, c) for a in range(4) for b in range(4 - a) for c in range(4 - a - b)]
    i, j, k = (axis[:, along] for axis, along in zip(axes, at.T, strict=True))
    design = np.stack([i[a] * j[b] * k[c] for a, b, c in powers], axis=1)
    weights = np.linalg.lstsq(design, values, rcond=None)[0]
    for _ in range(_BIAS_ROUNDS):
        away = np.abs(values - design @ weights)
        is_used = away <= 2.5 * 1.4826 * np.median(away)
        weights = np.linalg.lstsq(design[is_used], values[is_used], rcond=None)[0]
    along_k = np.zeros((*image.shape[:2], 4))
    for (a, b, c), weight in zip(powers, weights, strict=True):
        along_k[..., c] += weight * np.multiply.outer(axes[0][a], axes[1][b])
    middle = float(np.median(values))
    level = np.clip(along_k @ axes[2], middle / 2, middle * 2)
    return (middle / level).astype(image.dtype)
