"""Alignment = affine + deformation, both directions: where every point of the atlas lies in the patient."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float32, Float64

from bidsapp.errors import ShapeError
from bidsapp.geometry import kernels
from bidsapp.geometry.displacement import jacobian_determinant
from bidsapp.geometry.resample import Interpolation, sample_at
from bidsapp.geometry.space import Space
from bidsapp.images.volume import Volume

_CHUNK = 1_000_000


@dataclass(frozen=True)
class Alignment:
    """The map between the fixed (atlas) and the moving (patient) world.

    A fixed point x is sent to ``affine(x + displacement(x))``.

    Parameters
    ----------
    affine
        Fixed world to moving world, millimetres, 4 x 4.
    space
        Grid of both displacements, in the fixed world. May be coarser than the fixed image: between grid
        points the displacement is interpolated trilinearly, beyond the border the nearest value holds.
    displacement
        World millimetres (RAS+) to add to a fixed point.
    inverse_displacement
        World millimetres (RAS+) to add to ``affine^-1(moving point)`` to come back to the fixed point.

    Raises
    ------
    ShapeError
        If a displacement does not lie on `space`.
    """

    affine: Float64[np.ndarray, "4 4"]
    space: Space
    displacement: Float32[np.ndarray, "3 i j k"]
    inverse_displacement: Float32[np.ndarray, "3 i j k"]

    def __post_init__(self) -> None:
        for field in (self.displacement, self.inverse_displacement):
            if field.shape != (3, *self.space.shape):
                raise ShapeError(
                    f"a displacement must have the sizes {(3, *self.space.shape)}, got {field.shape}"
                )

    def affine_only(self) -> "Alignment":
        """Give the same alignment without its deformation: eight points hold a displacement of 0."""
        still = np.zeros((3, 2, 2, 2), dtype=np.float32)
        space = Space((2, 2, 2), self.space.affine)
        return replace(self, space=space, displacement=still, inverse_displacement=still)

    def fixed_to_moving(self, points_mm: Float64[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n 3"]:
        """Send points of the fixed world to the moving world, world millimetres."""
        warped = points_mm + kernels.sample_vectors(self.displacement, self.space.world_to_voxel(points_mm))
        moved: np.ndarray = warped @ self.affine[:3, :3].T + self.affine[:3, 3]
        return moved

    def moving_to_fixed(self, points_mm: Float64[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n 3"]:
        """Send points of the moving world to the fixed world: the exact inverse of `fixed_to_moving`.

        The inverse displacement is the start; Newton steps on the displacement itself finish.
        """
        back = np.linalg.inv(self.affine)
        target = self.space.world_to_voxel(points_mm @ back[:3, :3].T + back[:3, 3])
        to_voxels = self.space.inverse_affine[:3, :3]
        start = target + kernels.sample_vectors(self.inverse_displacement, target) @ to_voxels.T
        return self.space.voxel_to_world(kernels.invert_at(self._displacement_voxels, target, start))

    def round_trip_mm(self, points_mm: Float64[np.ndarray, "n 3"]) -> Float64[np.ndarray, " n"]:
        """Distance by which points of the moving world are missed on the way to the atlas and back.

        There by the inverse displacement as it is kept, which other programs read; back by the displacement.
        """
        back = np.linalg.inv(self.affine)
        start = points_mm @ back[:3, :3].T + back[:3, 3]
        there = start + kernels.sample_vectors(self.inverse_displacement, self.space.world_to_voxel(start))
        return np.asarray(np.linalg.norm(self.fixed_to_moving(there) - points_mm, axis=1))

    @cached_property
    def _displacement_voxels(self) -> Float32[np.ndarray, "3 i j k"]:
        in_voxels: np.ndarray = np.einsum(
            "ab,bijk->aijk", self.space.inverse_affine[:3, :3], self.displacement
        )
        return in_voxels.astype(np.float32)

    @cached_property
    def _determinant(self) -> Float32[np.ndarray, "i j k"]:
        return jacobian_determinant(self.displacement, self.space)

    def resample(self, volume: Volume, *, onto: Space, interpolation: Interpolation) -> Volume:
        """Pull a moving volume onto a grid of the fixed world, sampling it once; 0 outside its grid."""
        return self.resample_all([(volume, interpolation)], onto=onto)[0]

    def resample_all(
        self, volumes: Sequence[tuple[Volume, Interpolation]], *, onto: Space
    ) -> tuple[Volume, ...]:
        """Pull several moving volumes onto a grid of the fixed world; its points are mapped once for all.

        Parameters
        ----------
        volumes
            Each with its interpolation.
        onto
            The grid to fill; 0 outside a volume's own grid.
        """
        _, nj, nk = onto.shape
        rows = max(1, _CHUNK // (nj * nk))
        slabs: list[list[np.ndarray]] = [[] for _ in volumes]
        maps = {volume.space: self._maps(onto, volume.space) for volume, _ in volumes}
        for first in range(0, onto.shape[0], rows):
            slab = min(rows, onto.shape[0] - first), nj, nk
            voxels = {space: kernels.land(self.displacement, way, first, slab) for space, way in maps.items()}
            for (volume, interpolation), done in zip(volumes, slabs, strict=True):
                done.append(sample_at(volume.data, voxels[volume.space], interpolation))
        return tuple(Volume(np.concatenate(done).reshape(onto.shape), onto) for done in slabs)

    def _maps(self, onto: Space, moving: Space) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Give what `kernels.land` needs to go from one grid to the other."""
        to_field, to_moving = self.space.inverse_affine @ onto.affine, moving.inverse_affine @ self.affine
        return to_field[:3], (to_moving @ onto.affine)[:3], np.ascontiguousarray(to_moving[:3, :3])

    def jacobian_determinant(self) -> Volume:
        """Local volume ratio of the deformation at each grid point, affine excluded.

        Above 1 the patient is larger there than the atlas, so tissue shrinks on its way to the atlas.
        """
        return Volume(self._determinant, self.space)

    def growth_at(self, points_mm: Float64[np.ndarray, "n 3"]) -> Float64[np.ndarray, " n"]:
        """Local volume ratio of the way from patient to atlas at points of the moving world, affine excluded.

        Below 1: tissue shrinks on its way to the atlas.
        """
        voxels = self.space.world_to_voxel(self.moving_to_fixed(points_mm))
        inside = np.clip(voxels, 0, np.array(self.space.shape) - 1.0)
        determinant = sample_at(self._determinant, inside, "linear").astype(np.float64)
        return 1.0 / np.maximum(determinant, 1e-6)
