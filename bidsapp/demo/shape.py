"""The outline of one virtual tumour: nearly a sphere, with a smooth random boundary."""

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from jaxtyping import Float64

from bidsapp.errors import DataError
from bidsapp.geometry.space import Space

ROUGHNESS_FRACTION = 0.07
MOST_BUMPS = 2.5
LARGEST_BULGE = 1.3


@dataclass(frozen=True)
class TumourShape:
    """A star-shaped body with the volume and the centre of gravity of a given sphere.

    Parameters
    ----------
    centre_mm
        Centre of gravity, world RAS+ millimetres.
    diameter_mm
        Of the sphere of equal volume.
    waves
        Wave vectors whose cosines over the unit sphere make the bumps.
    phases
        One a wave, radians.

    Raises
    ------
    DataError
        If the diameter is not positive.
    """

    centre_mm: Float64[np.ndarray, "3"]
    diameter_mm: float
    waves: Float64[np.ndarray, "n 3"]
    phases: Float64[np.ndarray, " n"]

    def __post_init__(self) -> None:
        if not self.diameter_mm > 0:
            raise DataError(f"a tumour needs a positive diameter, got {self.diameter_mm} mm")

    @cached_property
    def anchor_mm(self) -> Float64[np.ndarray, "3"]:
        """Point the radii are measured from; placed so that the centre of gravity is `centre_mm`."""
        towards = sphere_directions(2000)
        radius = self._unscaled_radius(towards) * self._scale_mm
        offset = 0.75 * (radius[:, None] ** 4 * towards).mean(axis=0) / (radius**3).mean()
        return np.asarray(self.centre_mm - offset)

    def depth_mm(self, points_mm: Float64[np.ndarray, "n 3"]) -> Float64[np.ndarray, " n"]:
        """Tell how far inside the boundary each point lies, along its ray; negative outside."""
        away = points_mm - self.anchor_mm
        distance = np.sqrt((away**2).sum(axis=1))
        towards = away / np.maximum(distance, 1e-9)[:, None]
        return np.asarray(self._unscaled_radius(towards) * self._scale_mm - distance)

    @cached_property
    def _scale_mm(self) -> float:
        cubed = (self._unscaled_radius(sphere_directions(2000)) ** 3).mean()
        return float(self.diameter_mm / 2 / np.cbrt(cubed))

    def _unscaled_radius(self, towards: Float64[np.ndarray, "n 3"]) -> Float64[np.ndarray, " n"]:
        bumps = np.sqrt(2 / len(self.phases)) * np.cos(towards @ self.waves.T + self.phases).sum(axis=1)
        return np.asarray(1 + ROUGHNESS_FRACTION * np.clip(bumps, -MOST_BUMPS, MOST_BUMPS))


def draw_shape(
    centre_mm: Float64[np.ndarray, "3"], diameter_mm: float, rng: np.random.Generator
) -> TumourShape:
    """Draw the bumps of one tumour."""
    waves = 2.5 * rng.standard_normal((8, 3))
    return TumourShape(np.asarray(centre_mm, float), diameter_mm, waves, rng.uniform(0, 2 * np.pi, 8))


@cache
def sphere_directions(n: int) -> Float64[np.ndarray, "n 3"]:
    """Spread `n` unit vectors evenly over the sphere.

    References
    ----------
    Fibonacci lattice: González 2010, Mathematical Geosciences. doi:10.1007/s11004-009-9257-x

    Examples
    --------
    >>> bool(np.abs(sphere_directions(500).mean(axis=0)).max() < 0.01)
    True
    """
    step = np.arange(n) + 0.5
    height = 1 - 2 * step / n
    angle = np.pi * (1 + np.sqrt(5)) * step
    ring = np.sqrt(1 - height**2)
    directions = np.stack([ring * np.cos(angle), ring * np.sin(angle), height], axis=1)
    directions.flags.writeable = False
    return directions


def ball_box(centre_mm: Float64[np.ndarray, "3"], radius_mm: float, space: Space) -> tuple[slice, ...]:
    """Box of voxels of `space` that holds every voxel centre within `radius_mm`; empty outside the grid."""
    middle = space.world_to_voxel(centre_mm[None])[0]
    reach = radius_mm * np.sqrt((space.inverse_affine[:3, :3] ** 2).sum(axis=1))
    first = np.clip(np.floor(middle - reach), 0, space.shape).astype(int)
    last = np.clip(np.ceil(middle + reach) + 1, 0, space.shape).astype(int)
    return tuple(slice(int(low), int(high)) for low, high in zip(first, last, strict=True))


def box_index(box: tuple[slice, ...]) -> Float64[np.ndarray, "n 3"]:
    """Voxel indices of a box, in C order (k fastest)."""
    axes = [np.arange(part.start, part.stop, dtype=np.float64) for part in box]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)


def cover_fractions(
    shape: TumourShape, space: Space, *, insets_mm: tuple[float, ...]
) -> tuple[tuple[slice, ...], list[Float64[np.ndarray, "i j k"]]]:
    """Measure which part of each voxel a tumour, and smaller copies of it, fill.

    Every voxel is probed at points about half a millimetre apart, so edges are soft as in a scan whose
    voxels average over what they hold.

    Parameters
    ----------
    shape
        The outline.
    space
        Grid to draw on; may be oblique and anisotropic.
    insets_mm
        0 for the whole tumour, t for what lies deeper than t.

    Returns
    -------
    box, fractions
        The part of the grid concerned, and there one array of values from 0 to 1 for each inset.
    """
    box = ball_box(shape.centre_mm, LARGEST_BULGE * shape.diameter_mm / 2, space)
    centres = space.voxel_to_world(box_index(box))
    counts = [max(3, int(np.ceil(size / 0.5))) for size in space.voxel_sizes_mm]
    steps = [(np.arange(count) + 0.5) / count - 0.5 for count in counts]
    probes = np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1).reshape(-1, 3) @ space.affine[:3, :3].T
    sums = np.zeros((len(insets_mm), len(centres)))
    for probe in probes:
        depth = shape.depth_mm(centres + probe)
        sums += depth[None] > np.array(insets_mm)[:, None]
    sizes = [part.stop - part.start for part in box]
    return box, [row.reshape(sizes) / len(probes) for row in sums]
