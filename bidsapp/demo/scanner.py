"""The virtual scanner: native grids, contrast, bias field and noise."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64
from scipy.ndimage import gaussian_filter, map_coordinates

from bidsapp.atlas.pack import AtlasPack
from bidsapp.atlas.seganat import structures
from bidsapp.demo.plan import Contrast
from bidsapp.demo.true_map import TrueMap, rotation
from bidsapp.geometry.space import Space
from bidsapp.images.volume import Volume

MARGIN_MM = 8.0
NOISE_FRACTION = 0.025
BIAS_FRACTION = 0.15
ENHANCEMENT = {"Choroid Plexus": 1.5, "Vessel": 1.6}
SLAB_VOXELS = 1_000_000


@dataclass(frozen=True, slots=True)
class Protocol:
    """How a scanner lays out its voxels.

    Parameters
    ----------
    voxel_sizes_mm
        Along i, j, k.
    orientation
        Directions that i, j, k point to, as in "RAS" or "LAS" (left-handed).
    tilt_degrees
        Rotation of the whole grid about x, y, z.
    """

    voxel_sizes_mm: tuple[float, float, float]
    orientation: str
    tilt_degrees: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def axes(self) -> Float64[np.ndarray, "3 3"]:
        """Unit vectors of i, j, k in world, one a column."""
        towards = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}
        matrix = np.zeros((3, 3))
        for column, letter in enumerate(self.orientation):
            row, sign = towards[letter]
            matrix[row, column] = sign
        return np.asarray(rotation(np.array(self.tilt_degrees)) @ matrix)


PROTOCOLS = (
    Protocol((1.0, 1.0, 1.0), "RAS"),
    Protocol((0.9, 0.9, 1.2), "LPS"),
    Protocol((1.2, 1.0, 1.5), "LAS"),
    Protocol((0.6, 0.6, 2.0), "LPS", (14.0, 3.0, -4.0)),
    Protocol((1.0, 1.0, 1.0), "ASR", (0.0, 0.0, 6.0)),
    Protocol((1.1, 1.1, 1.1), "LAS", (-10.0, 8.0, 12.0)),
)


class Anatomy(NamedTuple):
    """A head without tumours, noise and bias on a native grid."""

    t1w: Volume
    labels: Volume


def native_space(true_map: TrueMap, atlas: AtlasPack, protocol: Protocol) -> Space:
    """Lay a grid around the patient's brain with a small margin."""
    brain = np.argwhere(atlas.template.data > 0)[::401].astype(np.float64)
    points = true_map.fixed_to_moving(atlas.template.space.voxel_to_world(brain))
    along = points @ protocol.axes
    low, high = along.min(axis=0) - MARGIN_MM, along.max(axis=0) + MARGIN_MM
    i, j, k = (int(size) for size in np.ceil((high - low) / protocol.voxel_sizes_mm))
    affine = np.eye(4)
    affine[:3, :3] = protocol.axes * protocol.voxel_sizes_mm
    affine[:3, 3] = protocol.axes @ low
    return Space((i, j, k), affine)


def draw_gains(rng: np.random.Generator) -> Float64[np.ndarray, "35"]:
    """Draw how bright each structure is compared with the template, about 5 % up or down, sides alike."""
    regions = sorted({structure.region for structure in structures()})
    drawn = dict(zip(regions, 1 + 0.05 * rng.standard_normal(len(regions)), strict=True))
    return np.array([drawn[structure.region] for structure in structures()])


def scan_anatomy(
    atlas: AtlasPack,
    true_map: TrueMap,
    space: Space,
    *,
    gains: Float64[np.ndarray, "35"],
    contrasts: Sequence[Contrast],
) -> dict[Contrast, Anatomy]:
    """See the atlas through a patient's true map on a native grid, in every contrast asked for.

    Intensities are the template's times the structure's gain, labels the nearest atlas voxel's. After
    contrast agent choroid plexus and vessels are brighter.
    """
    sources = {contrast: _tinted_template(atlas, gains, contrast) for contrast in contrasts}
    images = {contrast: np.zeros(space.shape, dtype=np.float32) for contrast in contrasts}
    labels = np.zeros(space.shape, dtype=np.uint8)
    rows = max(1, SLAB_VOXELS // (space.shape[1] * space.shape[2]))
    for first in range(0, space.shape[0], rows):
        last = min(first + rows, space.shape[0])
        slab = _slab(space, first, last)
        points = true_map.moving_to_fixed(slab.voxel_centres_mm())
        voxels = atlas.template.space.world_to_voxel(points).T
        for contrast, source in sources.items():
            values = map_coordinates(source, voxels, order=1, output=np.float32)
            images[contrast][first:last] = values.reshape(slab.shape)
        nearest = map_coordinates(atlas.labels.data, voxels, order=0)
        labels[first:last] = nearest.reshape(slab.shape)
    return {
        contrast: Anatomy(Volume(image, space), Volume(labels, space)) for contrast, image in images.items()
    }


def expose(t1w: Volume, white_matter: float, rng: np.random.Generator) -> Volume:
    """Add a bias field and Rician noise to a clean image, keep the background at zero, store as integers.

    Parameters
    ----------
    t1w
        Clean, skull-stripped.
    white_matter
        Its intensity in white matter: noise is 2.5 % of it.
    rng
        Source of chance.

    References
    ----------
    Gudbjartsson & Patz 1995, Magn Reson Med 34: magnitude of a complex signal with noise in both parts.
    doi:10.1002/mrm.1910340618
    """
    level = rng.uniform(600, 1500) / white_matter
    clean = t1w.data * _bias_field(t1w.space.shape, rng)
    noise = NOISE_FRACTION * white_matter * rng.standard_normal((2, *t1w.space.shape), dtype=np.float32)
    noisy = np.sqrt((clean + noise[0]) ** 2 + noise[1] ** 2)
    brain = t1w.data > 0.05 * white_matter
    return Volume(np.rint(level * noisy * brain).astype(np.int16), t1w.space)


def _tinted_template(atlas: AtlasPack, gains: Float64[np.ndarray, "35"], contrast: Contrast) -> np.ndarray:
    """Template with every structure's brightness changed, softly at the borders."""
    enhanced = [ENHANCEMENT.get(structure.region, 1.0) for structure in structures()]
    factors = gains * (enhanced if contrast == "enhancing" else 1.0)
    factors[0] = 1.0
    tint = gaussian_filter(factors.astype(np.float32)[atlas.labels.data], 0.8)
    return np.asarray(atlas.template.data.astype(np.float32) * tint)


def _slab(space: Space, first: int, last: int) -> Space:
    """Cut the slab ``first <= i < last`` out of a grid."""
    affine = space.affine.copy()
    affine[:3, 3] = space.voxel_to_world(np.array([[float(first), 0.0, 0.0]]))[0]
    return Space((last - first, space.shape[1], space.shape[2]), affine)


def _bias_field(shape: tuple[int, int, int], rng: np.random.Generator) -> np.ndarray:
    """Smooth brightness variation: the exponential of one slow cosine along each axis."""
    exponents = [
        rng.uniform(0.3, 1.0)
        * BIAS_FRACTION
        * np.cos(np.linspace(0, rng.uniform(0.6, 1.4) * np.pi, size) + rng.uniform(0, np.pi))
        for size in shape
    ]
    i, j, k = (np.exp(exponent).astype(np.float32) for exponent in exponents)
    return np.asarray(i[:, None, None] * j[None, :, None] * k[None, None, :])
