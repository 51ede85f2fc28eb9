import numpy as np
import pytest

from bidsapp.demo.scanner import PROTOCOLS, Protocol, expose
from bidsapp.geometry.space import Space
from bidsapp.images.volume import Volume


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_axes_of_every_protocol_are_perpendicular_unit_vectors(protocol: Protocol) -> None:
    np.testing.assert_allclose(protocol.axes.T @ protocol.axes, np.eye(3), atol=1e-12)


def test_letters_say_where_the_axes_point() -> None:
    axes = Protocol((1.0, 1.0, 1.0), "ASL").axes
    np.testing.assert_array_equal(axes, [[0, 0, -1], [1, 0, 0], [0, 1, 0]])


def test_left_handed_protocols_are_among_them() -> None:
    assert {np.sign(np.linalg.det(protocol.axes)) for protocol in PROTOCOLS} == {-1.0, 1.0}


def test_exposure_adds_noise_inside_and_none_outside() -> None:
    space = Space((20, 21, 22), np.eye(4))
    clean = np.zeros(space.shape, np.float32)
    clean[:10] = 200.0
    shown = expose(Volume(clean, space), 200.0, np.random.default_rng(0)).data
    assert shown.dtype == np.int16
    assert (shown[10:] == 0).all()
    differences = np.diff(shown[:10].astype(float), axis=0)
    assert np.std(differences) / shown[:10].mean() == pytest.approx(0.025 * np.sqrt(2), rel=0.2)
