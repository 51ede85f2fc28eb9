"""Space = grid shape + voxel-to-world affine: where the voxels of an array sit in the patient."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float64

from bidsapp.errors import ShapeError


@dataclass(frozen=True)
class Space:
    """A regular grid in world space.

    Parameters
    ----------
    shape
        Number of voxels along i, j, k.
    affine
        Maps a voxel index (i, j, k, 1) to world RAS+ millimetres (x, y, z, 1). May be oblique, anisotropic
        and left-handed; must be invertible.

    Raises
    ------
    ShapeError
        If `shape` is not three positive sizes or `affine` is not an invertible, finite 4 x 4 matrix.

    Examples
    --------
    >>> space = Space((4, 5, 6), np.diag([2.0, 1.0, 1.0, 1.0]))
    >>> space.voxel_to_world(np.array([[1.0, 1.0, 1.0]])).tolist()
    [[2.0, 1.0, 1.0]]
    """

    shape: tuple[int, int, int]
    affine: Float64[np.ndarray, "4 4"]

    def __post_init__(self) -> None:
        shape = tuple(int(size) for size in self.shape)
        affine = np.array(self.affine, dtype=np.float64)
        if len(shape) != 3 or min(shape) < 1:
            raise ShapeError(f"a space needs three positive sizes, got {self.shape}")
        if affine.shape != (4, 4) or not np.isfinite(affine).all() or abs(np.linalg.det(affine)) < 1e-9:
            raise ShapeError(f"a space needs an invertible, finite 4 x 4 affine, got {affine.tolist()}")
        affine.flags.writeable = False
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "affine", affine)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Space) and self.matches(other, tolerance_mm=0.0)

    def __hash__(self) -> int:
        return hash((self.shape, self.affine.tobytes()))

    @cached_property
    def inverse_affine(self) -> Float64[np.ndarray, "4 4"]:
        """World RAS+ millimetres to voxel index."""
        return np.linalg.inv(self.affine)

    @property
    def voxel_sizes_mm(self) -> tuple[float, float, float]:
        """Edge lengths of one voxel along i, j, k."""
        i, j, k = np.sqrt((self.affine[:3, :3] ** 2).sum(axis=0))
        return float(i), float(j), float(k)

    @property
    def voxel_volume_mm3(self) -> float:
        """Volume of one voxel."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))

    def voxel_to_world(self, points: Float64[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n 3"]:
        """Send voxel indices to world RAS+ millimetres."""
        world: np.ndarray = points @ self.affine[:3, :3].T + self.affine[:3, 3]
        return world

    def world_to_voxel(self, points_mm: Float64[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n 3"]:
        """Send world RAS+ millimetres to (fractional) voxel indices."""
        index: np.ndarray = points_mm @ self.inverse_affine[:3, :3].T + self.inverse_affine[:3, 3]
        return index

    def voxel_centres_mm(self) -> Float64[np.ndarray, "n 3"]:
        """World position of every voxel centre, in C order (k fastest)."""
        index = np.indices(self.shape, dtype=np.float64).reshape(3, -1).T
        return self.voxel_to_world(index)

    def matches(self, other: "Space", *, tolerance_mm: float = 0.05) -> bool:
        """Tell whether both grids have the same shape and put each corner within `tolerance_mm`."""
        if self.shape != other.shape:
            return False
        corners = np.array(np.meshgrid(*[(0.0, size - 1.0) for size in self.shape])).reshape(3, -1).T
        apart = np.abs(self.voxel_to_world(corners) - other.voxel_to_world(corners))
        return bool(apart.max() <= tolerance_mm)

    def with_spacing(self, spacing_mm: float) -> "Space":
        """Cover the same box with cubic voxels of `spacing_mm`, centred on the same point, axes kept.

        Examples
        --------
        >>> Space((4, 5, 6), np.eye(4)).with_spacing(2.0).shape
        (2, 3, 3)
        """
        sizes = np.array(self.voxel_sizes_mm)
        shape = np.maximum(1, np.ceil(np.array(self.shape) * sizes / spacing_mm - 1e-6)).astype(int)
        affine = np.eye(4)
        affine[:3, :3] = self.affine[:3, :3] / sizes * spacing_mm
        centre = self.voxel_to_world((np.array([self.shape]) - 1.0) / 2)[0]
        affine[:3, 3] = centre - affine[:3, :3] @ ((shape - 1.0) / 2)
        return Space((int(shape[0]), int(shape[1]), int(shape[2])), affine)
