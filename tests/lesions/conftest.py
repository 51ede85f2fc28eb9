from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest

from bidsapp.atlas.pack import AtlasPack
from bidsapp.geometry.space import Space
from bidsapp.images.alignment import Alignment
from bidsapp.images.volume import Volume


@dataclass
class ScalingAlignment:
    """Atlas to patient: scale about a centre by `scale`, then `affine`; inverse and growth are exact."""

    affine: np.ndarray = field(default_factory=lambda: np.eye(4))
    scale: float = 1.0
    centre_mm: np.ndarray = field(default_factory=lambda: np.zeros(3))

    @property
    def __class__(self) -> type[Alignment]:  # it stands in for one where types are checked
        return Alignment

    def fixed_to_moving(self, points_mm: np.ndarray) -> np.ndarray:
        warped = self.centre_mm + self.scale * (points_mm - self.centre_mm)
        return warped @ self.affine[:3, :3].T + self.affine[:3, 3]

    def moving_to_fixed(self, points_mm: np.ndarray) -> np.ndarray:
        back = (points_mm - self.affine[:3, 3]) @ np.linalg.inv(self.affine[:3, :3]).T
        return self.centre_mm + (back - self.centre_mm) / self.scale

    def round_trip_mm(self, points_mm: np.ndarray) -> np.ndarray:
        return np.zeros(len(points_mm))

    def growth_at(self, points_mm: np.ndarray) -> np.ndarray:
        return np.full(len(points_mm), self.scale**-3.0)


class LosingAlignment(ScalingAlignment):
    """Every atlas point looks for its value far outside the patient: nothing arrives."""

    def fixed_to_moving(self, points_mm: np.ndarray) -> np.ndarray:
        return np.full_like(points_mm, 1e4)


class SwallowingAlignment(ScalingAlignment):
    """Tissue within 5 mm of the origin shrinks to half on its way to the atlas, the rest is left alone."""

    def growth_at(self, points_mm: np.ndarray) -> np.ndarray:
        return np.where(np.linalg.norm(points_mm, axis=1) < 5 + 1e-9, 0.5, 1.0)


class BareAtlas(SimpleNamespace):
    """What the lesion table asks of an atlas, and nothing else."""

    @property
    def __class__(self) -> type[AtlasPack]:  # it stands in for one where types are checked
        return AtlasPack


def rotation(degrees: float) -> np.ndarray:
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    about_z = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1.0]])
    about_x = np.array([[1.0, 0, 0], [0, cos, -sin], [0, sin, cos]])
    return about_z @ about_x


def oblique_space(shape: tuple[int, int, int], sizes_mm: tuple[float, float, float]) -> Space:
    """A rotated, left-handed, anisotropic grid around the world's origin."""
    affine = np.eye(4)
    affine[:3, :3] = rotation(25) @ np.diag([-sizes_mm[0], sizes_mm[1], sizes_mm[2]])
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Space(shape, affine)


def ball(space: Space, centre_mm: tuple[float, float, float], radius_mm: float) -> Volume:
    distance = np.linalg.norm(space.voxel_centres_mm() - np.array(centre_mm), axis=1)
    return Volume((distance <= radius_mm).reshape(space.shape), space)


def centred_space(shape: tuple[int, int, int], spacing_mm: float = 1.0) -> Space:
    affine = np.diag([spacing_mm] * 3 + [1.0])
    affine[:3, 3] = -spacing_mm * (np.array(shape) - 1) / 2
    return Space(shape, affine)


@pytest.fixture(scope="session")
def atlas_labels() -> Volume:
    """Left white matter where x < 0, right cortex where 0 < x < 10, a thin sheet of putamen, then nothing."""
    space = centred_space((40, 41, 42))
    x = space.voxel_centres_mm()[:, 0].reshape(space.shape)
    data = np.zeros(space.shape, dtype=np.uint8)
    data[x < 0] = 1
    data[(x > 0) & (x < 10)] = 4
    return Volume(data, space)
