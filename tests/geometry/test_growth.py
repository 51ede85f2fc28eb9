"""Central differences and ten tetrahedra a voxel: by hand, and compiled as in plain numpy."""

import numpy as np
import pytest

from bidsapp.geometry import kernels
from bidsapp.geometry.kernels import reference_points

SIZES = [(4, 5, 6), (2, 2, 2), (2, 4, 257), (4, 3, 256), (3, 4, 600)]
"""Rows within a stretch of 256 voxels, as long as one, a voxel longer, and of three."""
EDGES = np.array([[0.9, -0.2, 0.1], [0.1, 1.1, 0.3], [0.0, 0.2, -0.8]], np.float32)


def bent(sizes: tuple[int, int, int], amplitude: float) -> np.ndarray:
    """Draw a displacement."""
    return (np.random.default_rng(3).normal(size=(3, *sizes)) * amplitude).astype(np.float32)


@pytest.mark.parametrize("amplitude", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("sizes", SIZES)
def test_compiled_tetrahedra_agree_with_plain_numpy(sizes: tuple[int, int, int], amplitude: float) -> None:
    field = bent(sizes, amplitude)
    for found, wanted in zip(kernels.tetrahedra(field), reference_points.tetrahedra(field), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("sizes", SIZES)
def test_compiled_determinants_agree_with_plain_numpy(sizes: tuple[int, int, int]) -> None:
    field = bent(sizes, 0.5)
    found, wanted = kernels.determinants(field, EDGES), reference_points.determinants(field, EDGES)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("sizes", SIZES)
def test_a_linear_map_has_its_determinant_at_every_voxel_border_included(sizes: tuple[int, int, int]) -> None:
    stretch = np.array([[0.2, -0.1, 0.0], [0.3, 0.1, 0.2], [0.0, 0.4, -0.3]])
    field = np.einsum("ab,bijk->aijk", stretch, np.indices(sizes)).astype(np.float32)
    wanted = np.linalg.det(np.eye(3) + stretch)
    assert kernels.determinants(field, np.eye(3, dtype=np.float32)) == pytest.approx(wanted, rel=1e-3)


def test_nothing_moved_leaves_corners_of_one_and_nothing_negative() -> None:
    smallest, negative = kernels.tetrahedra(np.zeros((3, 4, 5, 6), np.float32))
    assert (smallest == 1).all()
    assert not negative.any()


def test_a_plane_pushed_past_its_neighbour_is_negative_on_both_sides() -> None:
    field = np.zeros((3, 4, 5, 6), np.float32)
    field[0, 1] = 1.5
    smallest, negative = kernels.tetrahedra(field)
    assert smallest[1, :-1, :-1] == pytest.approx(-1.0)  # the middle tetrahedra, twice the corner's -0.5
    assert smallest[2] == pytest.approx(-0.5)
    assert (smallest[3] > 0).all()
    assert not negative[3].any()
