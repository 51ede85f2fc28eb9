"""The true correspondence between a virtual patient and the atlas, exact in one direction by definition."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, Float64
from scipy.ndimage import gaussian_filter, map_coordinates

from bidsapp.bids.save import atomic_write
from bidsapp.demo.mass_effect import MassEffect, undo_all
from bidsapp.errors import DataError
from bidsapp.geometry.space import Space

GRID_SPACING_MM = 4.0
GRID_MARGIN_MM = 24.0
N_STEPS = 10
LEAST_JACOBIAN = 0.2
TOLERANCE_MM = 0.005
MOST_ITERATIONS = 400


@dataclass(frozen=True)
class TrueMap:
    """Where each point of a virtual patient comes from.

    A native point p shows what the atlas holds at ``y + inverse_displacement(y)`` with
    ``y = inverse(affine) m(p)``, where m takes back the mass effects of the patient's tumours.

    Parameters
    ----------
    affine
        Atlas world to native world, millimetres.
    space
        Grid of the displacement, in atlas world.
    inverse_displacement
        World millimetres, trilinear between grid points, constant beyond the border.
    mass_effects
        In native world, in the order they are taken back.

    Examples
    --------
    >>> shift = np.eye(4)
    >>> shift[:3, 3] = [10.0, 0.0, 0.0]
    >>> still = TrueMap(shift, Space((2, 2, 2), np.eye(4)), np.zeros((3, 2, 2, 2), np.float32))
    >>> still.moving_to_fixed(np.array([[11.0, 2.0, 3.0]])).tolist()
    [[1.0, 2.0, 3.0]]
    """

    affine: Float64[np.ndarray, "4 4"]
    space: Space
    inverse_displacement: Float32[np.ndarray, "3 i j k"]
    mass_effects: tuple[MassEffect, ...] = ()

    def moving_to_fixed(self, points_mm: Float64[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n 3"]:
        """Send native points to the atlas: exact."""
        inverse = np.linalg.inv(self.affine)
        start = undo_all(self.mass_effects, points_mm) @ inverse[:3, :3].T + inverse[:3, 3]
        voxels = self.space.world_to_voxel(start).T
        moved = [
            map_coordinates(part, voxels, order=1, mode="nearest", output=np.float64)
            for part in self.inverse_displacement
        ]
        return np.asarray(start + np.stack(moved, axis=1))

    def fixed_to_moving(self, points_mm: Float64[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n 3"]:
        """Send atlas points to the patient: the numerical inverse, to 0.005 mm in the atlas.

        Damped fixed-point iteration.

        Raises
        ------
        DataError
            If a point does not come that close, which means that the map folds.
        """
        linear = self.affine[:3, :3]
        found = points_mm @ linear.T + self.affine[:3, 3]
        for _ in range(MOST_ITERATIONS):
            apart = points_mm - self.moving_to_fixed(found)
            if not len(apart) or np.abs(apart).max() < TOLERANCE_MM:
                return np.asarray(found)
            found = found + 0.6 * apart @ linear.T
        raise DataError(
            f"the true map could not be inverted to {TOLERANCE_MM} mm after {MOST_ITERATIONS} steps: it folds"
        )

    def with_mass_effects(self, effects: Sequence[MassEffect]) -> "TrueMap":
        """Add the tumours' pushes."""
        return replace(self, mass_effects=tuple(effects))

    def repositioned(self, rigid: Float64[np.ndarray, "4 4"]) -> "TrueMap":
        """Put the same head, without its tumours, elsewhere: `rigid` maps old to new native world."""
        return replace(self, affine=rigid @ self.affine, mass_effects=())


def draw_true_map(
    fixed: Space, rng: np.random.Generator, *, peak_mm: float, smoothness_mm: float, far_mm: float
) -> TrueMap:
    """Draw the head shape and position of one virtual patient.

    Parameters
    ----------
    fixed
        Grid of the atlas.
    rng
        Source of chance.
    peak_mm
        Largest displacement of the smooth random velocity per unit time.
    smoothness_mm
        Standard deviation of the Gaussian that smooths it.
    far_mm
        How far from the world's origin the head lies, besides up to 40 mm along each axis.
    """
    grid = _padded(fixed).with_spacing(GRID_SPACING_MM)
    noise = rng.standard_normal((3, *grid.shape))
    width = smoothness_mm / GRID_SPACING_MM
    velocity = np.stack([gaussian_filter(part, width, mode="wrap") for part in noise])
    velocity *= peak_mm / np.sqrt((velocity**2).sum(axis=0)).max()
    displacement = _follow(velocity, grid)
    while jacobian_determinant(displacement, grid).min() < LEAST_JACOBIAN:
        velocity *= 0.9
        displacement = _follow(velocity, grid)
    centre = fixed.voxel_to_world((np.array([fixed.shape]) - 1.0) / 2)[0]
    return TrueMap(draw_affine(centre, rng, far_mm=far_mm), grid, displacement.astype(np.float32))


def draw_affine(
    centre_mm: Float64[np.ndarray, "3"], rng: np.random.Generator, *, far_mm: float
) -> Float64[np.ndarray, "4 4"]:
    """Draw rotations to 15 degrees, scales 0.92 to 1.08, shears to 0.04, shifts to 40 mm and a far origin."""
    stretch = np.diag(rng.uniform(0.92, 1.08, 3))
    stretch[np.triu_indices(3, 1)] = rng.uniform(-0.04, 0.04, 3)
    affine = np.eye(4)
    affine[:3, :3] = rotation(rng.uniform(-15, 15, 3)) @ stretch
    away = rng.standard_normal(3)
    shift = rng.uniform(-40, 40, 3) + far_mm * away / np.linalg.norm(away)
    affine[:3, 3] = centre_mm + shift - affine[:3, :3] @ centre_mm
    return affine


def rotation(degrees: Float64[np.ndarray, "3"]) -> Float64[np.ndarray, "3 3"]:
    """Turn about the x, then the y, then the z axis.

    Examples
    --------
    >>> (rotation(np.array([0.0, 0.0, 90.0])) @ [1.0, 0.0, 0.0]).round(12).tolist()
    [0.0, 1.0, 0.0]
    """
    turned = np.eye(3)
    for axis, angle in enumerate(np.deg2rad(degrees)):
        first, second = (axis + 1) % 3, (axis + 2) % 3
        turn = np.eye(3)
        turn[[first, first, second, second], [first, second, first, second]] = (
            np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle),
        )  # fmt: skip
        turned = turn @ turned
    return turned


def jacobian_determinant(
    displacement: Float[np.ndarray, "3 i j k"], space: Space
) -> Float64[np.ndarray, "i j k"]:
    """Local volume ratio of ``x -> x + displacement(x)`` by central differences."""
    slopes = np.stack([np.stack(np.gradient(part)) for part in displacement])
    jacobian = np.einsum("cvijk,vw->ijkcw", slopes, space.inverse_affine[:3, :3]) + np.eye(3)
    return np.asarray(np.linalg.det(jacobian))


def save_true_map(true_map: TrueMap, path: Path) -> None:
    """Write a map as ``.npz`` with numpy arrays that carry the names documented in `docs/demo.md`."""
    effects = [(*each.centre_mm, each.radius_mm, each.amplitude_mm) for each in true_map.mass_effects]
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            fixed_to_moving_affine=true_map.affine,
            displacement_grid_affine=true_map.space.affine,
            inverse_displacement_mm=true_map.inverse_displacement,
            mass_effects=np.array(effects, dtype=np.float64).reshape(-1, 5),
        )


def load_true_map(path: Path) -> TrueMap:
    """Read what `save_true_map` wrote."""
    with np.load(path) as arrays:
        displacement = arrays["inverse_displacement_mm"]
        _, i, j, k = displacement.shape
        effects = tuple(MassEffect(row[:3], float(row[3]), float(row[4])) for row in arrays["mass_effects"])
        space = Space((i, j, k), arrays["displacement_grid_affine"])
        return TrueMap(arrays["fixed_to_moving_affine"], space, displacement, effects)


def _follow(velocity: Float64[np.ndarray, "3 i j k"], space: Space) -> Float64[np.ndarray, "3 i j k"]:
    """Walk along a velocity for one unit of time in small steps.

    Deliberately not the app's own integration, so that a fault there cannot hide in the truth.
    """
    start = space.voxel_centres_mm()
    points = start.copy()
    for _ in range(N_STEPS):
        voxels = space.world_to_voxel(points).T
        step = [map_coordinates(part, voxels, order=1, mode="nearest") for part in velocity]
        points += np.stack(step, axis=1) / N_STEPS
    return np.asarray((points - start).T.reshape(velocity.shape))


def _padded(space: Space) -> Space:
    """Grow a grid by a margin on every side, so that what moves out of the atlas is still on it."""
    extra = np.ceil(GRID_MARGIN_MM / np.array(space.voxel_sizes_mm)).astype(int)
    affine = space.affine.copy()
    affine[:3, 3] = space.voxel_to_world(-extra[None].astype(np.float64))[0]
    i, j, k = (int(size) for size in np.array(space.shape) + 2 * extra)
    return Space((i, j, k), affine)
