import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bidsapp.errors import UsageError
from bidsapp.images.volume import Volume
from bidsapp.lesions.junction import (
    SURFACES,
    junction_distances_mm,
    surface_distances_mm,
    surface_faces,
)
from tests.lesions.conftest import centred_space, oblique_space


@given(st.floats(-8, 8), st.floats(-3, 3))
def test_beside_a_flat_junction_the_distance_is_exact_and_signed(x: float, y: float) -> None:
    space = oblique_space((24, 15, 16), (1.0, 1.2, 1.5))
    data = np.full(space.shape, 4, dtype=np.uint8)
    data[:12] = 1
    across, along = space.affine[:3, 0], space.affine[:3, 1] / 1.2
    point = space.voxel_to_world(np.array([[11.5, 7.0, 8.0]]))[0] + x * across + y * along
    (distance,) = junction_distances_mm(point[None], Volume(data, space))
    assert distance == pytest.approx(x, abs=1e-6)


def test_the_distance_from_beyond_an_edge_is_to_the_edge() -> None:
    data = np.zeros((9, 9, 9), dtype=np.uint8)
    data[4, 4, 4], data[5, 4, 4] = 1, 4
    labels = Volume(data, centred_space((9, 9, 9)))
    (distance,) = junction_distances_mm(np.array([[0.5, 3.5, 4.5]]), labels)
    assert distance == pytest.approx(5.0)


def test_each_face_between_white_and_grey_is_found() -> None:
    space = oblique_space((4, 5, 6), (1.0, 1.2, 2.0))
    data = np.zeros(space.shape, dtype=np.uint8)
    data[1, 2, 3], data[2, 2, 3], data[1, 3, 3] = 2, 3, 10
    faces = surface_faces(Volume(data, space))
    assert faces.midpoints.tolist() == [[1.5, 2.0, 3.0]]
    assert faces.axes.tolist() == [0]


def test_an_atlas_without_a_junction_has_no_distance() -> None:
    labels = Volume(np.ones((4, 5, 6), dtype=np.uint8), centred_space((4, 5, 6)))
    assert np.isnan(junction_distances_mm(np.zeros((2, 3)), labels)).all()
    assert junction_distances_mm(np.zeros((0, 3)), labels).shape == (0,)


def test_grey_matter_of_the_cerebellum_is_no_junction() -> None:
    data = np.zeros((4, 5, 6), dtype=np.uint8)
    data[:2], data[2:] = 9, 11
    assert len(surface_faces(Volume(data, centred_space((4, 5, 6))))) == 0


CODES = {"junction": (1, 4), "pial": (4, 0), "ventricle": (5, 2)}
"""SegAnat indices on the negative and on the positive side of each surface."""


@given(st.sampled_from(sorted(SURFACES)), st.floats(-8, 8), st.floats(-3, 3))
def test_every_surface_is_measured_without_half_a_voxel_of_bias(surface: str, x: float, z: float) -> None:
    space = oblique_space((24, 15, 16), (0.9, 1.2, 1.5))
    below, above = CODES[surface]
    data = np.full(space.shape, above, dtype=np.uint8)
    data[:12] = below
    across, along = space.affine[:3, 0] / 0.9, space.affine[:3, 2] / 1.5
    point = space.voxel_to_world(np.array([[11.5, 7.0, 8.0]]))[0] + x * across + z * along
    (distance,) = surface_distances_mm(point[None], Volume(data, space), surface)
    assert distance == pytest.approx(x, abs=1e-6)


def test_the_pial_surface_is_between_cortex_and_background_only() -> None:
    data = np.zeros((4, 5, 6), dtype=np.uint8)
    data[1], data[2], data[3] = 1, 3, 7
    assert len(surface_faces(Volume(data, centred_space((4, 5, 6))), "pial")) == 0
    data[3] = 0
    faces = surface_faces(Volume(data, centred_space((4, 5, 6))), "pial")
    assert set(faces.midpoints[:, 0]) == {2.5}
    assert set(faces.axes) == {0}


def test_an_unknown_surface_is_refused() -> None:
    labels = Volume(np.ones((4, 5, 6), dtype=np.uint8), centred_space((4, 5, 6)))
    with pytest.raises(UsageError, match="one of junction, pial, ventricle, got 'skull'"):
        surface_distances_mm(np.zeros((1, 3)), labels, "skull")
