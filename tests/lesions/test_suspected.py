"""Lesions that no mask tells of, on a small brain whose every point is known."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from bidsapp.aligning import find_start
from bidsapp.atlas.builtin import load_builtin
from bidsapp.demo.patient import draw_patient
from bidsapp.geometry.space import Space
from bidsapp.images.volume import Volume
from bidsapp.lesions.handling import guide
from bidsapp.lesions.suspected import find_suspected
from tests.registration.conftest import rotation

WHITE, GREY, FLUID, SKULL = 110.0, 80.0, 40.0, 15.0
TISSUE = {0: SKULL, 1: WHITE, 2: WHITE, 3: GREY, 4: GREY, 5: FLUID, 6: FLUID, 17: 85.0, 18: 85.0, 33: 105.0}
PLACE = np.array([22.0, -9.0, 3.0])
"""Deep in white matter, 15 mm and more from all ventricles."""
SURFACE = np.array([38.0, 6.0, 2.0])

Inside = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Change:
    """What is other than in the healthy brain: where, its label and its brightness; None for as it was."""

    inside: Inside
    label: int | None
    brightness: float | None


def ball(centre: np.ndarray, radius: float) -> Inside:
    return lambda points: np.linalg.norm(points - centre, axis=1) < radius


def both(first: Inside, second: Inside) -> Inside:
    return lambda points: first(points) & second(points)


def ellipsoid(points: np.ndarray, centre: tuple[float, ...], axes: tuple[float, ...]) -> np.ndarray:
    return (((points - np.array(centre)) / np.array(axes)) ** 2).sum(axis=1) < 1


def is_brain(points: np.ndarray) -> np.ndarray:
    return ellipsoid(points, (0, 0, 0), (44, 52, 40))


def anatomy(points: np.ndarray) -> np.ndarray:
    """SegAnat indices at points of the atlas's world: a few structures, one of them in the middle."""
    is_right = points[:, 0] > 0
    labels = np.where(is_brain(points), 3 + is_right, 0).astype(np.uint8)
    white = ellipsoid(points, (0, 0, 0), (38, 46, 34))
    labels[white] = 1 + is_right[white]
    for side, sign in enumerate((-1, 1)):
        labels[ellipsoid(points, (5 * sign, 12, 8), (4, 14, 6))] = 5 + side
        labels[ellipsoid(points, (16 * sign, 14, -8), (5, 9, 7))] = 17 + side
    labels[ellipsoid(points, (0, -12, -26), (8, 8, 12))] = 33
    return labels


def grid(middle: np.ndarray, axes: np.ndarray, sizes: tuple[float, float, float]) -> Space:
    """A grid around the whole brain, with room to spare."""
    shape = np.ceil(np.array([128.0, 136.0, 124.0]) / sizes).astype(int)
    affine = np.eye(4)
    affine[:3, :3] = axes @ np.diag(sizes)
    affine[:3, 3] = middle - affine[:3, :3] @ ((shape - 1) / 2)
    return Space((int(shape[0]), int(shape[1]), int(shape[2])), affine)


ATLAS = grid(np.array([1.0, -2.0, 0.5]), np.eye(3), (1.2, 1.0, 1.4))
TO_PATIENT = np.eye(4)
TO_PATIENT[:3, :3] = rotation((12.0, -8.0, 20.0)) @ np.diag([1.06, 0.97, 1.03])
TO_PATIENT[:3, 3] = (31.0, -48.0, 17.0)
NATIVE = grid(TO_PATIENT[:3, 3], rotation((15.0, -10.0, 17.0)) @ np.diag([-1.0, 1.0, 1.0]), (1.0, 1.3, 1.5))
SCANNED = grid(TO_PATIENT[:3, 3] + 2.0, rotation((8.0, -4.0, 24.0)), (1.1, 0.9, 1.2))


def in_atlas(space: Space) -> np.ndarray:
    back = np.linalg.inv(TO_PATIENT)
    return space.voxel_centres_mm() @ back[:3, :3].T + back[:3, 3]


POINTS, SCANNED_POINTS = in_atlas(NATIVE), in_atlas(SCANNED)
HEALTHY, SCANNED_HEALTHY = anatomy(POINTS), anatomy(SCANNED_POINTS)


@pytest.fixture(scope="module")
def atlas() -> Volume:
    return Volume(anatomy(ATLAS.voxel_centres_mm()).reshape(ATLAS.shape), ATLAS)


def patient(*changes: Change) -> tuple[Volume, Volume]:
    """Give label map and scan, each on a grid of its own."""
    labels = HEALTHY.copy()
    lookup = np.zeros(35)
    lookup[list(TISSUE)] = list(TISSUE.values())
    image = lookup[SCANNED_HEALTHY]
    for change in changes:
        if change.label is not None:
            labels[change.inside(POINTS)] = change.label
        if change.brightness is not None:
            image[change.inside(SCANNED_POINTS)] = change.brightness
    image += np.random.default_rng(1).normal(0, 2, len(image))
    return (
        Volume(labels.reshape(NATIVE.shape), NATIVE),
        Volume(image.astype(np.float32).reshape(SCANNED.shape), SCANNED),
    )


def suspected(atlas: Volume, *changes: Change) -> Volume | None:
    return find_suspected(*patient(*changes), atlas, TO_PATIENT)


def found_share(found: Volume | None, inside: Inside, reach_mm: float = 3.0) -> float:
    """Give the share of a body that was found, after seeing that nothing was found beyond its reach."""
    assert found is not None
    assert found.space == NATIVE
    truth = inside(POINTS).reshape(NATIVE.shape)
    away = distance_transform_edt(~truth, sampling=NATIVE.voxel_sizes_mm)
    assert away[found.data > 0].max() <= reach_mm
    return float((found.data[truth] > 0).mean())


def test_a_healthy_brain_is_not_suspected(atlas):
    assert suspected(atlas) is None


@pytest.mark.parametrize("label", [None, 3, 17], ids=["white matter", "cortex", "putamen"])
@pytest.mark.parametrize("radius", [3.0, 8.0])
def test_what_is_brighter_than_white_matter_is_found_whatever_it_is_called(atlas, label, radius):
    body = ball(PLACE, radius)
    assert found_share(suspected(atlas, Change(body, label, 140.0)), body) > 0.9


def test_a_hole_with_labels_all_around_is_found_even_if_it_is_dark(atlas):
    for body in (ball(PLACE, 7.0), ball(np.array([-16.0, 14.0, -8.0]), 4.0)):
        assert found_share(suspected(atlas, Change(body, 0, 60.0)), body) > 0.9


def test_a_hole_at_the_surface_is_found_if_there_is_tissue_in_it(atlas):
    body = both(ball(SURFACE, 8.0), is_brain)
    assert found_share(suspected(atlas, Change(body, 0, 95.0)), body) > 0.8
    assert suspected(atlas, Change(body, 0, FLUID)) is None


def test_tissue_without_a_label_in_sulci_is_no_lesion(atlas):
    def sulci(points: np.ndarray) -> np.ndarray:
        is_deep = ellipsoid(points, (0, 0, 0), (32, 40, 28))
        return is_brain(points) & ~is_deep & (np.mod(points[:, 1] + 2.0, 32.0) < 4.5)

    assert suspected(atlas, Change(sulci, 0, 95.0)) is None


@pytest.mark.parametrize("rim", [0, 3])
@pytest.mark.parametrize("core", [1, 5])
def test_a_bright_ring_is_found_with_its_dark_core_whatever_that_is_called(atlas, rim, core):
    body = ball(PLACE, 9.0)
    ring = Change(body, rim, 150.0), Change(ball(PLACE, 6.5), core, 45.0)
    assert found_share(suspected(atlas, *ring), body) > 0.95


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_ring_with_a_gap_in_its_rim_is_found_with_its_core(atlas, axis):
    body = ball(PLACE, 11.0)

    def gap(points: np.ndarray) -> np.ndarray:
        across = np.delete(points - PLACE, axis, axis=1)
        return body(points) & (np.linalg.norm(across, axis=1) < 3.5) & (points[:, axis] > PLACE[axis])

    ring = Change(body, 1, 150.0), Change(ball(PLACE, 8.5), 1, 70.0), Change(gap, 1, 70.0)
    assert found_share(suspected(atlas, *ring), body) > 0.75


def test_a_thin_ring_that_the_brains_surface_cuts_is_found_with_its_core(atlas):
    body = both(ball(SURFACE, 11.0), is_brain)
    ring = Change(body, 0, 150.0), Change(both(ball(SURFACE, 8.8), is_brain), 0, FLUID)
    assert found_share(suspected(atlas, *ring), body) > 0.75


def test_a_rim_as_thin_as_two_voxels_is_seen(atlas):
    body = ball(PLACE, 11.0)
    ring = Change(body, 1, 140.0), Change(ball(PLACE, 9.4), 1, 70.0)
    assert found_share(suspected(atlas, *ring), body) > 0.75


def test_a_lesion_called_white_matter_where_the_cerebrum_has_none_sets_no_level(atlas):
    def below(points: np.ndarray) -> np.ndarray:
        return is_brain(points) & (points[:, 2] < 2)

    body = ball(np.array([8.0, 8.0, -28.0]), 8.0)
    changes = Change(below, 11, 85.0), Change(both(below, lambda p: p[:, 1] < -5), 9, 110.0)
    assert found_share(suspected(atlas, *changes, Change(body, 1, 150.0)), body) > 0.9


def test_a_body_that_is_only_a_little_brighter_is_white_matter_and_a_bright_spot_makes_it_a_lesion(atlas):
    body = ball(PLACE, 7.0)
    faint, spot = Change(body, None, 123.0), Change(ball(PLACE, 3.0), None, 140.0)
    assert suspected(atlas, faint) is None
    assert found_share(suspected(atlas, faint, spot), body) > 0.8


@pytest.mark.parametrize("slope", [-0.3, 0.3])
def test_a_coil_that_lights_one_side_hides_no_lesion_and_makes_none(atlas, slope):
    field = 1 + slope * SCANNED_POINTS[:, 0].reshape(SCANNED.shape) / 44
    for body in (ball(PLACE, 5.0), ball(PLACE * (-1, 1, 1), 5.0)):
        labels, t1w = patient(Change(body, None, 140.0))
        lit = Volume((t1w.data * field).astype(np.float32), t1w.space)
        assert found_share(find_suspected(labels, lit, atlas, TO_PATIENT), body) > 0.9


def test_a_structure_that_is_a_little_brighter_than_white_matter_is_no_lesion(atlas):
    def stem(points: np.ndarray) -> np.ndarray:
        return anatomy(points) == 33

    assert suspected(atlas, Change(stem, None, 129.0)) is None


def test_two_parts_with_a_gap_of_three_millimetres_are_one_body(atlas):
    body = ball(PLACE, 7.0)

    def without_gap(points: np.ndarray) -> np.ndarray:
        return body(points) & (np.abs(points[:, 2] - PLACE[2]) > 1.7)

    assert found_share(suspected(atlas, Change(without_gap, None, 150.0)), body) > 0.9


def test_a_body_reaches_a_millimetre_beyond_its_signs(atlas):
    body = ball(PLACE, 6.0)
    assert found_share(suspected(atlas, Change(ball(PLACE, 5.2), 0, 60.0)), body) > 0.75


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("keeps_upper", [True, False])
def test_a_hole_that_the_edge_of_the_label_map_cuts_is_not_enclosed(atlas, axis, keeps_upper):
    labels, t1w = patient(Change(ball(PLACE, 6.0), 0, 60.0))
    at = round(float(NATIVE.world_to_voxel(TO_PATIENT[None, :3, :3] @ PLACE + TO_PATIENT[:3, 3])[0, axis]))
    kept = [slice(None)] * 3
    kept[axis] = slice(at, None) if keeps_upper else slice(None, at)
    affine = NATIVE.affine.copy()
    affine[:3, 3] += affine[:3, axis] * (at if keeps_upper else 0)
    data = np.ascontiguousarray(labels.data[tuple(kept)])
    cut = Volume(data, Space((data.shape[0], data.shape[1], data.shape[2]), affine))
    assert find_suspected(cut, t1w, atlas, TO_PATIENT) is None


def test_what_is_called_a_ventricle_outside_the_brain_is_no_lesion(atlas):
    assert suspected(atlas, Change(ball(np.array([54.0, 0.0, 0.0]), 5.0), 6, FLUID)) is None


def test_a_dark_core_called_a_ventricle_needs_no_ring_and_only_far_from_all_ventricles(atlas):
    far, near = ball(PLACE, 6.0), ball(np.array([13.0, 12.0, 9.0]), 6.0)
    assert found_share(suspected(atlas, Change(far, 6, FLUID)), far) > 0.9
    assert suspected(atlas, Change(near, 6, FLUID)) is None


def test_what_is_dark_and_called_by_another_tissues_name_is_not_seen(atlas):
    assert suspected(atlas, Change(ball(PLACE, 7.0), 3, GREY)) is None


def test_thin_vessels_and_specks_are_no_lesions(atlas):
    def vessel(points: np.ndarray) -> np.ndarray:
        return (np.linalg.norm(points[:, :2] - PLACE[:2], axis=1) < 1.0) & (np.abs(points[:, 2]) < 20)

    assert suspected(atlas, Change(vessel, None, 140.0)) is None
    assert suspected(atlas, Change(ball(PLACE, 0.9), 0, 140.0)) is None


@pytest.mark.parametrize("label", [None, 0, 3])
def test_a_bright_speck_is_found_whatever_it_is_called_and_a_dim_one_is_not(atlas, label):
    body = ball(PLACE, 1.5)
    assert found_share(suspected(atlas, Change(body, label, 170.0)), body) == 1
    assert suspected(atlas, Change(body, label, 115.0)) is None


def test_a_structure_that_the_label_map_lacks_altogether_is_no_lesion(atlas):
    def stem(points: np.ndarray) -> np.ndarray:
        return anatomy(points) == 33

    assert suspected(atlas, Change(stem, 0, None)) is None

    def lower_stem(points: np.ndarray) -> np.ndarray:
        return stem(points) & (points[:, 2] < -24)

    assert found_share(suspected(atlas, Change(lower_stem, 0, None)), lower_stem) > 0.5


def test_more_than_a_tenth_of_the_brain_is_no_lesion(atlas):
    large, too_large = (ball(np.array([0.0, -22.0, 4.0]), radius) for radius in (17.0, 23.0))
    assert found_share(suspected(atlas, Change(large, 0, 90.0)), large) > 0.9
    assert suspected(atlas, Change(too_large, 0, 90.0)) is None


def test_where_white_matter_is_not_the_brightest_brightness_is_no_sign(atlas):
    labels, t1w = patient(Change(ball(PLACE, 8.0), None, 20.0))
    other = Volume(150 - t1w.data, t1w.space)
    assert find_suspected(labels, other, atlas, TO_PATIENT) is None
    labels, t1w = patient(Change(ball(PLACE, 8.0), 0, 20.0))
    other = Volume(150 - t1w.data, t1w.space)
    assert found_share(find_suspected(labels, other, atlas, TO_PATIENT), ball(PLACE, 8.0)) > 0.9


def test_an_image_that_tells_nothing_leaves_the_signs_of_the_labels(atlas):
    labels, t1w = patient(Change(ball(PLACE, 8.0), 0, None))
    flat = Volume(np.full_like(t1w.data, 7.0), t1w.space)
    assert found_share(find_suspected(labels, flat, atlas, TO_PATIENT), ball(PLACE, 8.0)) > 0.9
    healthy, _ = patient()
    assert find_suspected(healthy, flat, atlas, TO_PATIENT) is None


@pytest.mark.parametrize("gone", [(1, 2), (3, 4), (5, 6)])
def test_a_label_map_without_one_tissue_is_read_like_any_other(atlas, gone):
    labels, t1w = patient(Change(ball(np.array([14.0, 14.0, -8.0]), 2.5), 0, None))
    bare = Volume(np.where(np.isin(labels.data, gone), 0, labels.data).astype(np.uint8), labels.space)
    find_suspected(bare, t1w, atlas, TO_PATIENT)


def test_scan_and_labels_may_share_a_grid(atlas):
    body = ball(PLACE, 6.0)
    labels, _ = patient(Change(body, 3, None))
    image = np.array([TISSUE.get(each, 0.0) for each in range(35)])[HEALTHY]
    image[body(POINTS)] = 150
    t1w = Volume(image.astype(np.float32).reshape(NATIVE.shape), NATIVE)
    assert found_share(find_suspected(labels, t1w, atlas, TO_PATIENT), body) > 0.9


@pytest.mark.parametrize("number", [1, 4])
def test_in_a_virtual_scan_with_contrast_agent_little_but_the_metastases_is_suspected(number):
    atlas = load_builtin()
    (visit,) = draw_patient(atlas, number, ("Cerebral White Matter",) * 3, np.random.default_rng(number))
    guided, _ = find_start(atlas.labels, visit.t1w["enhancing"], guide(visit.labels, None, "auto"))
    assert guided.lesions is not None
    is_found, is_lesion = guided.lesions.data > 0, visit.mask.data > 0
    assert is_found[is_lesion].mean() > 0.6
    assert (is_found & ~is_lesion).sum() < 0.005 * (visit.labels.data > 0).sum()
