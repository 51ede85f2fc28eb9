"""What the network sees lies on the velocity's grid, whatever the scanner's."""

import numpy as np
import pytest

from bidsapp.errors import DataError
from bidsapp.geometry.space import Space
from bidsapp.images.volume import Volume
from bidsapp.registration.network.view import even_out, see
from tests.registration.conftest import FIXED, phantom, rotation, scanner

AFFINE = np.array([[1.02, 0.05, 0, 210], [-0.04, 0.97, 0.02, -120], [0, 0.03, 1.0, 40], [0, 0, 0, 1]])


def smooth_image(space: Space, to_fixed: np.ndarray) -> Volume:
    points = space.voxel_centres_mm() @ to_fixed[:3, :3].T + to_fixed[:3, 3]
    values = (np.sin(points[:, 0] / 20) + 0.02 * points[:, 1]) * (phantom(points) >= 0)
    return Volume(values.reshape(space.shape).astype(np.float32), space)


def test_both_images_show_the_same_where_the_affine_is_the_only_difference() -> None:
    oblique = scanner(AFFINE, rotation((12, -20, 8)) @ np.diag([1.1, 1.3, 2.0]), extent_mm=160.0)
    fixed, moving = smooth_image(FIXED, np.eye(4)), smooth_image(oblique, np.linalg.inv(AFFINE))
    seen = see(fixed, moving, AFFINE, FIXED.with_spacing(6.0), "cpu")
    assert seen.shape == (2, *FIXED.with_spacing(6.0).shape)
    inner = seen[:, 2:-2, 2:-2, 2:-2]
    assert (inner[0] - inner[1]).abs().mean() < 0.02


def test_brightness_and_contrast_of_a_scanner_do_not_matter() -> None:
    image = np.random.default_rng(0).normal(size=(4, 5, 6)).astype(np.float32)
    np.testing.assert_allclose(even_out(image), even_out(7 + 300 * image), atol=1e-5)


def test_an_image_without_contrast_is_refused() -> None:
    with pytest.raises(DataError, match="the image must vary over the brain"):
        even_out(np.full((4, 5, 6), 3.0, dtype=np.float32))
