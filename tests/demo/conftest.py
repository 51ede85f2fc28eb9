"""A small brain to implant into: a ball of cortex around white matter, with a putamen on either side."""

import numpy as np
import pytest

from bidsapp.geometry.space import Space
from bidsapp.images.volume import Volume


def phantom(space: Space, centre_mm: np.ndarray, radius_mm: float) -> tuple[Volume, Volume]:
    """T1w and SegAnat labels of a ball-shaped brain, left side negative x of `centre_mm`."""
    away = space.voxel_centres_mm() - centre_mm
    distance = np.linalg.norm(away, axis=1)
    right = (away[:, 0] > 0).astype(np.uint8)
    labels = np.zeros(len(away), np.uint8)
    labels[distance < radius_mm] = 3 + right[distance < radius_mm]
    white = distance < radius_mm - 5
    labels[white] = 1 + right[white]
    putamen = np.abs(np.linalg.norm(away * [0, 1, 1], axis=1)) < 5
    putamen &= (np.abs(away[:, 0]) > 8) & (np.abs(away[:, 0]) < 16)
    labels[putamen] = 17 + right[putamen]
    grey_values = np.array([0.0, 100, 100, 70, 70, *[0.0] * 12, 80, 80, *[0.0] * 16])
    intensities = grey_values[labels].astype(np.float32)
    return Volume(intensities.reshape(space.shape), space), Volume(labels.reshape(space.shape), space)


@pytest.fixture
def isotropic() -> tuple[Volume, Volume]:
    """A brain of radius 26 mm on 1.5 mm voxels."""
    return phantom(Space((40, 41, 42), np.diag([1.5, 1.5, 1.5, 1.0])), np.array([29.0, 30.0, 31.0]), 26.0)


@pytest.fixture
def oblique() -> tuple[Volume, Volume]:
    """The same brain on 0.8 x 1 x 3 mm voxels, oblique, left-handed and far from the world's origin."""
    angle = np.deg2rad(25.0)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1.0]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-0.8, 1.0, 3.0])
    shape = (76, 62, 22)
    middle = np.array([310.0, -150.0, 90.0])
    affine[:3, 3] = middle - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return phantom(Space(shape, affine), middle, 26.0)
