"""The lesion measures through the alignment the app computes, not a stand-in."""

import numpy as np
import pytest

from bidsapp.geometry.space import Space
from bidsapp.images.alignment import Alignment
from bidsapp.images.volume import Volume
from bidsapp.lesions.instances import find_lesions
from bidsapp.lesions.mapping import warp_lesion, warped_instances
from bidsapp.lesions.table import LesionScan, lesion_table
from tests.lesions.conftest import BareAtlas, ball, centred_space, oblique_space, rotation

FIXED = centred_space((44, 45, 46))
NATIVE = oblique_space((46, 42, 30), (0.9, 1.0, 1.4))


def scaling(scale: float, shift_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Alignment:
    """The patient is larger than the atlas by `scale` about the origin, then turned and shifted."""
    affine = np.eye(4)
    affine[:3, :3] = rotation(12) @ np.diag([1.1, 0.95, 1.0])
    affine[:3, 3] = shift_mm
    centres = FIXED.voxel_centres_mm().T.reshape(3, *FIXED.shape)
    grow, shrink = (scale - 1) * centres, (1 / scale - 1) * centres
    return Alignment(affine, FIXED, grow.astype(np.float32), shrink.astype(np.float32))


def test_volume_factor_and_jacobian_ratio_see_the_deformation_and_not_the_affine(
    atlas_labels: Volume,
) -> None:
    (lesion,) = lesions = find_lesions(ball(NATIVE, (2.0, 1.0, -1.0), 4.0), "binary")
    atlas = BareAtlas(labels=atlas_labels, territories=None, territory_names={}, perfusion=None)
    row = lesion_table(LesionScan("01", None, lesions, NATIVE), scaling(1.2), atlas).iloc[0]
    assert row["volume_factor"] == pytest.approx(1.2**-3, rel=0.01)
    assert row["affine_volume_mm3"] == pytest.approx(lesion.volume_mm3 / (1.1 * 0.95), rel=1e-6)
    assert row["jacobian_ratio"] == pytest.approx(1, abs=0.01)
    assert row["centroid_discrepancy_mm"] < 0.15


def test_the_centre_goes_the_right_way_through_an_asymmetric_shift() -> None:
    (lesion,) = find_lesions(ball(NATIVE, (6.0, 1.0, -4.0), 3.0), "binary")
    alignment = scaling(1.0, (6.0, -3.0, -5.0))
    warped = warp_lesion(lesion, NATIVE, alignment, FIXED)
    wanted = np.linalg.solve(alignment.affine[:3, :3], lesion.centre_mm - [6.0, -3.0, -5.0])
    np.testing.assert_allclose(warped.centre_mm, wanted, atol=0.1)
    np.testing.assert_allclose(warped.point_mm, wanted, atol=1e-4)


def test_the_drawn_lesions_are_where_the_image_would_put_them() -> None:
    mask = Volume(ball(NATIVE, (8, 0, 0), 4.0).data | ball(NATIVE, (-8, 0, 0), 2.5).data, NATIVE)
    lesions, alignment = find_lesions(mask, "binary"), scaling(1.05, (1.0, 2.0, 0.5))
    drawn = warped_instances(lesions, NATIVE, alignment, FIXED)
    pulled = alignment.resample(
        Volume(mask.data.astype(np.float32), NATIVE), onto=FIXED, interpolation="linear"
    )
    agreement = (
        2
        * ((drawn.data > 0) & (pulled.data >= 0.5)).sum()
        / ((drawn.data > 0).sum() + (pulled.data >= 0.5).sum())
    )
    assert agreement > 0.95
    assert np.unique(drawn.data).tolist() == [0, 1, 2]


@pytest.mark.parametrize("shift_mm", [(0.0, 0.0, 0.0), (0.25, 0.25, 0.25), (0.5, 0.3, 0.1)])
def test_a_lesion_of_one_voxel_is_drawn_wherever_it_falls(shift_mm: tuple[float, float, float]) -> None:
    space = Space((5, 6, 7), np.diag([0.9, 0.9, 0.9, 1.0]))
    data = np.zeros(space.shape, dtype=bool)
    data[2, 3, 3] = True
    (lesion,) = lesions = find_lesions(Volume(data, space), "binary")
    alignment = scaling(1.0, shift_mm)
    assert warp_lesion(lesion, space, alignment, FIXED).source == "mask"
    assert (warped_instances(lesions, space, alignment, FIXED).data == 1).any()
