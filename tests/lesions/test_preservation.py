import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bidsapp.images.volume import Volume
from bidsapp.lesions.instances import Lesion, find_lesions
from bidsapp.lesions.mapping import warp_lesion
from bidsapp.lesions.preservation import jacobian_ratio, ring_voxels, volume_factor
from tests.lesions.conftest import ScalingAlignment, SwallowingAlignment, ball, centred_space, oblique_space

SPACE = oblique_space((36, 34, 20), (1.0, 1.1, 2.0))
ATLAS = centred_space((40, 41, 42))


def one_lesion(mask: Volume) -> Lesion:
    (lesion,) = find_lesions(mask, "binary")
    return lesion


def factor_of(alignment: ScalingAlignment, lesion: Lesion) -> float:
    warped = warp_lesion(lesion, SPACE, alignment, ATLAS)
    return volume_factor(lesion.volume_mm3, warped.volume_mm3, alignment.affine)


def test_a_field_that_shrinks_lesions_gives_a_factor_below_one() -> None:
    lesion = one_lesion(ball(SPACE, (1.0, 2.0, -1.0), 5.0))
    patient_is_larger = ScalingAlignment(scale=1.25)
    assert factor_of(patient_is_larger, lesion) == pytest.approx(1.25**-3, rel=0.01)
    assert factor_of(ScalingAlignment(scale=0.8), lesion) == pytest.approx(0.8**-3, rel=0.01)


@settings(max_examples=10, deadline=None)
@given(st.floats(0.7, 1.4), st.floats(0.8, 1.2))
def test_the_affine_does_not_count_as_shrinkage(affine_scale: float, scale: float) -> None:
    lesion = one_lesion(ball(SPACE, (1.0, 2.0, -1.0), 4.0))
    alignment = ScalingAlignment(np.diag([-affine_scale, 1.0, 1.1, 1.0]), scale)
    assert factor_of(alignment, lesion) == pytest.approx(scale**-3, rel=0.02)


def test_a_lost_lesion_has_factor_zero() -> None:
    assert volume_factor(8.0, 0.0, np.eye(4)) == 0


def test_a_lesion_that_shrinks_alone_has_a_jacobian_ratio_below_one() -> None:
    lesion = one_lesion(ball(SPACE, (0.0, 0.0, 0.0), 5.0))
    assert jacobian_ratio(lesion, [lesion], SPACE, SwallowingAlignment()) == pytest.approx(0.5)


def test_an_even_shrinkage_has_jacobian_ratio_one() -> None:
    lesion = one_lesion(ball(SPACE, (0.0, 0.0, 0.0), 4.0))
    assert jacobian_ratio(lesion, [lesion], SPACE, ScalingAlignment(scale=1.3)) == pytest.approx(1)


def test_the_ring_reaches_ten_millimetres_in_every_direction() -> None:
    space = oblique_space((40, 36, 20), (0.9, 1.1, 1.9))
    data = np.zeros(space.shape, dtype=bool)
    data[20, 18, 10] = True
    lesion = one_lesion(Volume(data, space))
    ring = ring_voxels(lesion, [lesion], space)
    distance = np.linalg.norm(space.voxel_to_world(ring.astype(float)) - lesion.centre_mm, axis=1)
    everywhere = np.linalg.norm(space.voxel_centres_mm() - lesion.centre_mm, axis=1)
    assert len(ring) == ((everywhere > 1e-6) & (everywhere <= 10)).sum()
    assert 9.5 < distance.max() <= 10


def test_no_lesion_belongs_to_a_ring() -> None:
    mask = Volume(ball(SPACE, (0, 0, 0), 3.0).data | ball(SPACE, (0, 9.0, 0), 2.5).data, SPACE)
    lesions = find_lesions(mask, "binary")
    assert len(lesions) == 2
    for lesion in lesions:
        ring = ring_voxels(lesion, lesions, SPACE)
        assert len(ring)
        assert not mask.data[tuple(ring.T)].any()


def test_the_ring_keeps_to_the_brain() -> None:
    lesion = one_lesion(ball(SPACE, (0.0, 0.0, 0.0), 5.0))
    near = ball(SPACE.with_spacing(1.5), (0.0, 0.0, 0.0), 4.4)
    assert np.isnan(jacobian_ratio(lesion, [lesion], SPACE, SwallowingAlignment(), near))
    wide = ball(SPACE.with_spacing(1.5), (0.0, 0.0, 0.0), 8.0)
    assert jacobian_ratio(lesion, [lesion], SPACE, SwallowingAlignment(), wide) == pytest.approx(0.5)


def test_a_lesion_that_fills_the_picture_has_no_ratio() -> None:
    space = oblique_space((4, 5, 6), (1, 1, 2))
    lesion = one_lesion(Volume(np.ones(space.shape, dtype=bool), space))
    assert np.isnan(jacobian_ratio(lesion, [lesion], space, ScalingAlignment()))


def test_surroundings_that_collapse_give_no_ratio() -> None:
    lesion = one_lesion(ball(SPACE, (0.0, 0.0, 0.0), 4.0))

    class Collapsing(ScalingAlignment):
        def growth_at(self, points_mm: np.ndarray) -> np.ndarray:
            return np.zeros(len(points_mm))

    assert np.isnan(jacobian_ratio(lesion, [lesion], SPACE, Collapsing()))
