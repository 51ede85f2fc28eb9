"""A small brain of many structures, seen by scanners that sit and turn in their own way."""

import numpy as np
import pytest

from bidsapp.geometry.space import Space
from bidsapp.images.volume import Volume

FIXED = Space((40, 48, 44), np.array([[2.0, 0, 0, -39], [0, 2.0, 0, -47], [0, 0, 2.0, -43], [0, 0, 0, 1]]))


def phantom(points_mm: np.ndarray) -> np.ndarray:
    """SegAnat label at each world point: a brain without symmetry but with left and right pairs."""
    x, y, z = points_mm.T
    labels = np.zeros(len(points_mm), dtype=np.uint8)
    outer = (x / 34) ** 2 + (y / 42) ** 2 + (z / 37) ** 2 < 1
    inner = (x / 27) ** 2 + (y / 34) ** 2 + (z / 29) ** 2 < 1
    labels[outer] = np.where(x[outer] < 0, 3, 4)
    labels[inner] = np.where(x[inner] < 0, 1, 2)
    balls = {
        5: (-8, 4, 12, 7),
        6: (8, 5, 11, 6),
        13: (-11, -3, 0, 6),
        14: (11, -4, 1, 6.5),
        17: (-18, 8, -4, 5),
        18: (18, 9, -3, 5.5),
        21: (-17, -14, -12, 5),
        22: (17, -13, -13, 5),
        31: (0, -2, -6, 4),
        33: (0, -16, -22, 6),
    }
    for label, (a, b, c, radius) in balls.items():
        labels[(x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2 < radius**2] = label
    return labels


@pytest.fixture(scope="session")
def fixed() -> Volume:
    return Volume(phantom(FIXED.voxel_centres_mm()).reshape(FIXED.shape), FIXED)


def rotation(degrees: tuple[float, float, float]) -> np.ndarray:
    a, b, c = np.deg2rad(degrees)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return about_x @ about_y @ about_z


def seen_through(fixed_to_moving: np.ndarray, space: Space) -> Volume:
    """The phantom as a scanner records it whose world is reached through `fixed_to_moving`."""
    back = np.linalg.inv(fixed_to_moving)
    points = space.voxel_centres_mm() @ back[:3, :3].T + back[:3, 3]
    return Volume(phantom(points).reshape(space.shape), space)


def scanner(fixed_to_moving: np.ndarray, voxel_axes: np.ndarray, extent_mm: float = 110.0) -> Space:
    """A grid with the given voxel axes (columns, mm) around the moved brain's middle."""
    sizes = np.linalg.norm(voxel_axes, axis=0)
    shape = np.ceil(extent_mm / sizes).astype(int)
    affine = np.eye(4)
    affine[:3, :3] = voxel_axes
    affine[:3, 3] = fixed_to_moving[:3, 3] - voxel_axes @ ((shape - 1) / 2)
    return Space((int(shape[0]), int(shape[1]), int(shape[2])), affine)
