"""What the network sees lies on the velocity's grid, whatever the scanner's."""

import numpy as np
import pytest
import torch

from bidsapp.atlas.seganat import other_side, structures
from bidsapp.errors import DataError
from bidsapp.geometry.space import Space
from bidsapp.images.volume import Volume
from bidsapp.registration.network.view import N_CHANNELS, even_out, halved, see, shares
from tests.registration.conftest import FIXED, phantom, rotation, scanner

AFFINE = np.array([[1.02, 0.05, 0, 210], [-0.04, 0.97, 0.02, -120], [0, 0.03, 1.0, 40], [0, 0, 0, 1]])


def smooth_image(space: Space, to_fixed: np.ndarray) -> Volume:
    points = space.voxel_centres_mm() @ to_fixed[:3, :3].T + to_fixed[:3, 3]
    values = (np.sin(points[:, 0] / 20) + 0.02 * points[:, 1]) * (phantom(points) >= 0)
    return Volume(values.reshape(space.shape).astype(np.float32), space)


def test_both_images_show_the_same_where_the_affine_is_the_only_difference() -> None:
    oblique = scanner(AFFINE, rotation((12, -20, 8)) @ np.diag([1.1, 1.3, 2.0]), extent_mm=160.0)
    fixed, moving = smooth_image(FIXED, np.eye(4)), smooth_image(oblique, np.linalg.inv(AFFINE))
    seen = see("images", (fixed, moving), AFFINE, FIXED.with_spacing(6.0), "cpu")
    assert seen.shape == (2, *FIXED.with_spacing(6.0).shape)
    inner = seen[:, 2:-2, 2:-2, 2:-2]
    assert (inner[0] - inner[1]).abs().mean() < 0.02


def test_brightness_and_contrast_of_a_scanner_do_not_matter() -> None:
    image = np.random.default_rng(0).normal(size=(4, 5, 6)).astype(np.float32)
    np.testing.assert_allclose(even_out(image), even_out(7 + 300 * image), atol=1e-5)


def test_an_image_without_contrast_is_refused() -> None:
    with pytest.raises(DataError, match="the image must vary over the brain"):
        even_out(np.full((4, 5, 6), 3.0, dtype=np.float32))


def test_labels_look_the_same_where_the_affine_is_the_only_difference(fixed: Volume) -> None:
    oblique = scanner(AFFINE, rotation((12, -20, 8)) @ np.diag([1.1, 1.3, 2.0]), extent_mm=160.0)
    back = np.linalg.inv(AFFINE)
    points = oblique.voxel_centres_mm() @ back[:3, :3].T + back[:3, 3]
    moving = Volume(phantom(points).reshape(oblique.shape), oblique)
    seen = see("labels", (fixed, moving), AFFINE, FIXED.with_spacing(6.0), "cpu")
    assert seen.shape == (N_CHANNELS["labels"], *FIXED.with_spacing(6.0).shape)
    atlas, patient = seen.chunk(2)
    assert atlas.max() == 1
    assert (atlas - patient).abs().sum(dim=0).mean() < 0.1 * atlas.sum(dim=0).mean()


def test_shares_count_the_eighths_of_a_voxel() -> None:
    labels = torch.zeros((4, 4, 6), dtype=torch.uint8)
    one, other = structures()[1], structures()[2]
    assert (one.region, one.hemisphere, other.hemisphere) == (other.region, "left", "right")
    labels[0, 0, 0] = labels[1, 1, 0] = labels[0, 1, 1] = one.index
    labels[1, 0, 0] = other.index
    seen = shares(labels)
    assert seen.shape == (N_CHANNELS["labels"] // 2, 2, 2, 3)
    assert sorted(seen[:, 0, 0, 0].tolist())[-2:] == [3 / 8, 4 / 8]
    assert seen[-1, 0, 0, 0] == 3 / 8
    assert seen.sum() == 7 / 8
    mirrored = shares(torch.tensor(other_side(), dtype=torch.uint8)[labels.long()])
    assert torch.equal(mirrored[:-1], seen[:-1])
    assert mirrored[-1, 0, 0, 0] == 1 / 8


def test_a_halved_grid_has_its_voxels_centres_about_those_of_the_grid() -> None:
    space = Space((4, 5, 6), scanner(AFFINE, rotation((12, -20, 8)), extent_mm=160.0).affine)
    centres = halved(space).voxel_centres_mm().reshape(4, 2, 5, 2, 6, 2, 3).mean(axis=(1, 3, 5))
    np.testing.assert_allclose(centres.reshape(-1, 3), space.voxel_centres_mm(), atol=1e-9)
