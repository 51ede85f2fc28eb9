"""Where the voxels of a grid land, and which voxel is nearest: compiled, in plain numpy, point by point."""

import importlib

import numpy as np
import pytest

from bidsapp.geometry import kernels
from bidsapp.geometry.kernels import reference_points
from bidsapp.geometry.space import Space
from bidsapp.images.alignment import Alignment

OBLIQUE = Space(
    (4, 5, 6), np.array([[1.4, 0.2, 0, -3], [-0.2, 1.1, 0.3, 2], [0.1, -0.3, 1.7, 5], [0, 0, 0, 1]])
)
TURNED = Space(
    (6, 4, 5), np.array([[0, 1.5, 0.1, -4], [-1.3, 0, 0.2, 9], [0.1, 0.2, 1.9, 3], [0, 0, 0, 1.0]])
)
ONTO = Space((5, 6, 4), np.array([[1.9, 0.1, 0, -6], [0, 1.7, 0.2, -1], [0.2, 0, 2.3, 2], [0, 0, 0, 1.0]]))
AFFINE = np.array([[1.05, 0.1, 0, 3], [-0.1, 0.95, 0.05, -2], [0, 0.1, 1.1, 4], [0, 0, 0, 1.0]])


def alignment() -> Alignment:
    field = np.random.default_rng(8).normal(scale=1.5, size=(3, *OBLIQUE.shape)).astype(np.float32)
    return Alignment(AFFINE, OBLIQUE, field, -field)


def maps() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    to_moving = TURNED.inverse_affine @ AFFINE
    return (OBLIQUE.inverse_affine @ ONTO.affine)[:3], (to_moving @ ONTO.affine)[:3], to_moving[:3, :3].copy()


@pytest.mark.parametrize("module", ["compiled.sampling", "reference_points"])
@pytest.mark.parametrize(("first", "planes"), [(0, 5), (1, 1), (2, 3)])
def test_voxels_of_a_grid_land_where_their_points_are_sent(module: str, first: int, planes: int) -> None:
    """Field, moving grid and filled grid are all oblique; part of the filled grid lies beyond the field."""
    operations = importlib.import_module(f"bidsapp.geometry.kernels.{module}")
    sent = TURNED.world_to_voxel(alignment().fixed_to_moving(ONTO.voxel_centres_mm())).reshape(*ONTO.shape, 3)
    landed = operations.land(alignment().displacement, *maps(), first, (planes, 6, 4))
    np.testing.assert_allclose(landed, sent[first : first + planes].reshape(-1, 3), atol=1e-5)


@pytest.mark.parametrize("module", ["compiled.sampling", "reference_points"])
def test_the_nearest_voxel_reaches_half_a_voxel_beyond_the_grid(module: str) -> None:
    operations = importlib.import_module(f"bidsapp.geometry.kernels.{module}")
    points = np.array(
        [[0, 0, 0], [3.4, 4.4, 5.4], [-0.4, 2.6, 1.2], [-0.6, 0, 0], [0, 4.6, 0], [0, 0, 5.6], [1e12, 0, 0]]
    )
    assert operations.nearest(points, (4, 5, 6)).tolist() == [0, 119, 19, -1, -1, -1, -1]
    cloud = np.random.default_rng(2).uniform(-2, 8, (500, 3))
    np.testing.assert_array_equal(
        operations.nearest(cloud, (4, 5, 6)), reference_points.nearest(cloud, (4, 5, 6))
    )


@pytest.mark.parametrize("module", ["compiled.sampling", "reference_points"])
def test_the_first_step_to_a_label_counts_whatever_lies_beyond(module: str) -> None:
    operations = importlib.import_module(f"bidsapp.geometry.kernels.{module}")
    there = np.array([3, 1, 2, 1, 5, 2, 3], dtype=np.uint8)
    labels = np.array([2, 3, 5, 1], dtype=np.uint8)
    at, steps = np.array([3, 3, 3, 3]), np.array([0, -1, 1, -2, 2, -3, 3])
    assert operations.first_alike(labels, at, there, steps).tolist() == [1, 5, 2, 0]
    assert operations.first_alike(labels, at, there, steps[:2]).tolist() == [1, -1, -1, 0]
    assert operations.first_alike(labels[:0], at[:0], there, steps).tolist() == []


def test_kernels_go_the_same_way() -> None:
    wanted = reference_points.land(alignment().displacement, *maps(), 1, (2, 6, 4))
    np.testing.assert_allclose(
        kernels.land(alignment().displacement, maps(), 1, (2, 6, 4)), wanted, atol=1e-5
    )
    assert kernels.nearest(np.array([[0.2, 0.9, 2.0]]), (2, 3, 4)).tolist() == [6]
