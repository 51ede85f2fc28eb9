"""Which voxels of two images are compared, and what that adds to the labels."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from bidsapp.geometry.space import Space
from bidsapp.images.alignment import Alignment
from bidsapp.images.volume import Volume
from bidsapp.registration.deformable import Convergence, align_deformable
from bidsapp.registration.grids import crop_to_labels
from bidsapp.registration.intensities import ImageLevel, ImagePair, Intensities, thin_out
from bidsapp.settings import RegistrationSettings, Stage
from tests.registration.conftest import FIXED, phantom, scanner

AFFINE = np.array([[1.02, 0.05, 0, 210], [-0.04, 0.97, 0.02, -120], [0, 0.03, 1.0, 40], [0, 0, 0, 1]])
NATIVE = scanner(AFFINE, np.array([[0.0, 1.6, 0], [-1.6, 0, 0.2], [0, 0.2, 1.6]]))
BALLS = (5, 6, 13, 14, 17, 18, 21, 22, 31, 33)
BRIGHTNESS = np.concatenate([[0, 110, 108, 70, 72], np.linspace(20, 60, 30)]).astype(np.float32)


def to_fixed(points: np.ndarray) -> np.ndarray:
    back = np.linalg.inv(AFFINE)
    return points @ back[:3, :3].T + back[:3, 3]


def textured(points: np.ndarray) -> np.ndarray:
    """An image with something to see everywhere, as a function of the fixed world."""
    x, y, z = points.T
    return (np.sin(x / 5) + np.cos(y / 6) * np.sin(z / 7)).astype(np.float32)


def pair(
    images: Intensities, labels: Volume, affine: np.ndarray, moved_mm: tuple[float, ...] = (0, 0, 0)
) -> tuple[ImagePair, torch.Tensor, Volume]:
    """Prepare two images for a constant displacement on a grid of 4 mm."""
    box = crop_to_labels(labels, 6.0)
    grid = box.space.with_spacing(4.0)
    still = torch.tensor(moved_mm, dtype=torch.float32).reshape(3, 1, 1, 1) / 4.0 + torch.zeros(
        (3, *grid.shape)
    )
    level = ImageLevel(images, (box, box), affine, 2.0, "cpu")
    return level.from_atlas((still, grid)), still, box


def fixed_texture() -> Volume:
    return Volume(textured(FIXED.voxel_centres_mm()).reshape(FIXED.shape), FIXED)


def native_texture() -> Volume:
    return Volume(textured(to_fixed(NATIVE.voxel_centres_mm())).reshape(NATIVE.shape), NATIVE)


def native_ball(centre: tuple[float, float, float], radius_mm: float) -> Volume:
    """A lesion on the native grid, told by its place in the fixed world."""
    apart = np.linalg.norm(to_fixed(NATIVE.voxel_centres_mm()) - centre, axis=1)
    return Volume((apart < radius_mm).astype(np.uint8).reshape(NATIVE.shape), NATIVE)


def counted_by_distance(
    found: ImagePair, box: Volume, centre: tuple[float, ...]
) -> tuple[np.ndarray, np.ndarray]:
    apart = np.linalg.norm(box.space.voxel_centres_mm() - centre, axis=1).reshape(box.space.shape)
    return apart, found.counted.numpy()


def test_an_image_correlates_fully_with_itself(fixed: Volume) -> None:
    image = fixed_texture()
    images, still, _ = pair(Intensities(image, image), fixed, np.eye(4))
    assert images.correlation(still).item() > 0.98


def test_a_scan_correlates_with_the_template_where_it_belongs_and_less_beside_it(fixed: Volume) -> None:
    intensities = Intensities(fixed_texture(), native_texture())
    images, still, _ = pair(intensities, fixed, AFFINE)
    aligned, beside = images.correlation(still).item(), images.correlation(still + 0.75).item()
    assert aligned > 0.98
    assert beside < 0.9 * aligned


def test_brightness_and_contrast_of_the_scan_do_not_matter(fixed: Volume) -> None:
    bright = Volume(300 - 40 * native_texture().data, NATIVE)
    plain, still, _ = pair(Intensities(fixed_texture(), native_texture()), fixed, AFFINE)
    changed, _, _ = pair(Intensities(fixed_texture(), bright), fixed, AFFINE)
    assert changed.correlation(still).item() == pytest.approx(plain.correlation(still).item(), abs=0.02)


def test_lesions_and_three_millimetres_around_them_do_not_count(fixed: Volume) -> None:
    centre = (12.0, -10.0, 8.0)
    intensities = Intensities(fixed_texture(), native_texture(), native_ball(centre, 7.0))
    images, _, box = pair(intensities, fixed, AFFINE)
    apart, counted = counted_by_distance(images, box, centre)
    assert not counted[apart < 9.2].any()
    assert counted[(apart > 13) & (apart < 18)].all()


def test_lesions_are_looked_for_where_the_displacement_so_far_leads(fixed: Volume) -> None:
    lesion_at, seen_at = (12.0, -10.0, 8.0), (0.0, -10.0, 8.0)
    intensities = Intensities(fixed_texture(), native_texture(), native_ball(lesion_at, 7.0))
    images, _, box = pair(intensities, fixed, AFFINE, moved_mm=(12.0, 0.0, 0.0))
    apart, counted = counted_by_distance(images, box, seen_at)
    assert not counted[apart < 9.2].any()
    assert counted[(apart > 13) & (apart < 18)].all()


def test_what_a_lesion_looks_like_changes_nothing(fixed: Volume) -> None:
    lesion = native_ball((12.0, -10.0, 8.0), 6.0)
    noise = np.random.default_rng(0).uniform(-1, 1, NATIVE.shape).astype(np.float32)
    ill = Volume(np.where(lesion.data > 0, noise, native_texture().data), NATIVE)

    def correlation(scan: Volume, mask: Volume | None) -> float:
        images, still, _ = pair(Intensities(fixed_texture(), scan, mask), fixed, AFFINE)
        return images.correlation(still).item()

    healthy = correlation(native_texture(), lesion)
    assert correlation(ill, lesion) == pytest.approx(healthy, abs=1e-3)
    assert correlation(ill, None) < healthy - 2e-3


def test_holes_in_the_labelled_brain_count_and_the_air_around_it_does_not(fixed: Volume) -> None:
    centre = (12.0, -10.0, 8.0)
    apart = np.linalg.norm(FIXED.voxel_centres_mm() - centre, axis=1).reshape(FIXED.shape)
    holed = Volume(np.where(apart < 11, 0, fixed.data).astype(np.uint8), FIXED)
    images, _, box = pair(Intensities(fixed_texture(), native_texture()), holed, AFFINE)
    apart, counted = counted_by_distance(images, box, centre)
    assert counted[apart < 11].all()
    x, y, z = box.space.voxel_centres_mm().T
    far_out = ((x / 40) ** 2 + (y / 48) ** 2 + (z / 43) ** 2 > 1).reshape(box.space.shape)
    assert far_out.any()
    assert not counted[far_out].any()


def test_thinning_blurs_first_so_that_a_checkerboard_becomes_grey() -> None:
    board = (np.indices(FIXED.shape).sum(axis=0) % 2).astype(np.float32)
    thin, space = thin_out(Volume(board, FIXED), 6.0, "cpu")
    assert space.voxel_sizes_mm == pytest.approx((6.0, 6.0, 6.0))
    np.testing.assert_allclose(thin[1:-1, 1:-1, 1:-1], 0.5, atol=0.02)
    kept, _ = thin_out(Volume(board, FIXED), 2.0, "cpu")
    np.testing.assert_array_equal(kept, board)


def test_thinning_blurs_each_axis_by_what_is_skipped_along_it() -> None:
    space = Space((12, 13, 14), np.diag([1.0, 2.0, 4.0, 1.0]))
    noise = np.random.default_rng(1).normal(size=space.shape).astype(np.float32)
    thin, onto = thin_out(Volume(noise, space), 4.0, "cpu")
    blurred = gaussian_filter(noise.astype(np.float64), (1.5, 0.5, 0.0))
    np.testing.assert_allclose(thin, blurred[2::4, 1::2], atol=1e-5)
    np.testing.assert_allclose(onto.affine[:3, 3], [2.0, 2.0, 0.0])


def test_from_the_patient_the_laid_scan_is_seen_and_the_template_met(fixed: Volume) -> None:
    centre = (12.0, -10.0, 8.0)
    box = crop_to_labels(fixed, 6.0)
    images = Intensities(fixed_texture(), native_texture(), native_ball(centre, 7.0))
    grid = box.space.with_spacing(4.0)
    seen = ImageLevel(images, (box, box), AFFINE, 2.0, "cpu").from_patient(grid)
    still = torch.zeros((3, *grid.shape))
    assert seen.correlation(still).item() > 0.98
    assert seen.correlation(still + 0.75).item() < 0.9 * seen.correlation(still).item()
    apart, counted = counted_by_distance(seen, box, centre)
    assert not counted[apart < 9.2].any()
    assert counted[(apart > 13) & (apart < 18)].all()


def test_each_side_counts_where_its_own_brain_is(fixed: Volume) -> None:
    box = crop_to_labels(fixed, 6.0)
    lower = Volume(np.where(np.arange(box.space.shape[2]) < box.space.shape[2] // 2, box.data, 0), box.space)
    images = Intensities(fixed_texture(), fixed_texture())
    grid = box.space.with_spacing(4.0)
    level = ImageLevel(images, (box, lower), np.eye(4), 2.0, "cpu")
    from_atlas, from_patient = level.from_atlas((torch.zeros(3, *grid.shape), grid)), level.from_patient(grid)
    top = (slice(None), slice(None), slice(box.space.shape[2] // 2 + 3, None))
    assert from_atlas.counted[top].any()
    assert not from_patient.counted[top].any()
    assert from_patient.counted.any()


SETTINGS = RegistrationSettings(
    stages=(
        Stage(
            grid_mm=8, labels_mm=4, smoothing_mm=8, step_mm=1.0, iterations=15, image_weight=2.0, images_mm=4
        ),
        Stage(grid_mm=4, labels_mm=2, smoothing_mm=4, step_mm=0.5, iterations=25, image_weight=2.0),
    ),
    field_mm=2.0,
)


def without_balls(points: np.ndarray) -> np.ndarray:
    """Label the two rims and the two cores only, as if no structure lay in them."""
    labels = phantom(points)
    return np.where(np.isin(labels, BALLS), np.where(points[:, 0] < 0, 1, 2), labels).astype(np.uint8)


def test_images_align_structures_that_the_labels_do_not_know() -> None:
    x = to_fixed(NATIVE.voxel_centres_mm())
    bend = 4.0 * np.stack([np.sin(x[:, 1] / 14), np.sin(x[:, 2] / 16), np.cos(x[:, 0] / 15)], axis=1)
    places = FIXED.voxel_centres_mm(), x + bend
    fixed, moving = phantom(places[0]).reshape(FIXED.shape), phantom(places[1]).reshape(NATIVE.shape)
    images = Intensities(Volume(BRIGHTNESS[fixed], FIXED), Volume(2 * BRIGHTNESS[moving], NATIVE))
    history: list[Convergence] = []

    def dice(alignment: Alignment) -> float:
        warped = alignment.resample(Volume(moving, NATIVE), onto=FIXED, interpolation="nearest").data
        overlap = [
            2 * ((fixed == ball) & (warped == ball)).sum() / ((fixed == ball).sum() + (warped == ball).sum())
            for ball in BALLS
        ]
        return float(np.mean(overlap))

    known = (
        Volume(without_balls(places[0]).reshape(FIXED.shape), FIXED),
        Volume(without_balls(places[1]).reshape(NATIVE.shape), NATIVE),
    )
    by_labels = dice(align_deformable(*known, AFFINE, SETTINGS))
    with_images = dice(align_deformable(*known, AFFINE, SETTINGS, images=images, on_update=history.append))
    assert with_images > by_labels + 0.1
    terms = {"dissimilarity", "image_dissimilarity", "smoothness", "volume_preservation"}
    assert all(set(update.terms) == terms for update in history)
    assert history[-1].terms["image_dissimilarity"] < history[15].terms["image_dissimilarity"]
