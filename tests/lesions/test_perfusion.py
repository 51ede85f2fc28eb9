import numpy as np
import pytest

from bidsapp.images.volume import Volume
from bidsapp.lesions.perfusion import ball_perfusion, lesion_perfusion, perfusion_at, placed_balls
from tests.lesions.conftest import centred_space, oblique_space

SPACE = oblique_space((30, 31, 32), (1.0, 1.2, 1.5))


def ramp() -> Volume:
    """Flow rises by 1 a millimetre towards the right, from 50 in the middle."""
    x = SPACE.voxel_centres_mm()[:, 0].reshape(SPACE.shape)
    return Volume((50 + x).astype(np.float32), SPACE)


def test_the_flow_is_that_of_the_voxel_around_a_point() -> None:
    point = SPACE.voxel_to_world(np.array([[7.3, 9.4, 11.6]]))
    assert perfusion_at(point, ramp())[0] == ramp().data[7, 9, 12]


def test_nothing_is_known_beyond_the_map_and_where_it_is_nan_or_zero() -> None:
    flow = ramp()
    flow.data[3, 3, 3], flow.data[4, 4, 4] = np.nan, 0
    points = SPACE.voxel_to_world(np.array([[3.0, 3, 3], [4, 4, 4], [-2, 0, 0]]))
    assert np.isnan(perfusion_at(points, flow)).all()


def test_a_lesion_half_outside_is_summarised_by_its_known_half() -> None:
    points = np.array([[0.0, 0, 0], [4.0, 0, 0], [900.0, 0, 0], [901.0, 0, 0]])
    row = lesion_perfusion(points, ramp())
    assert row["perfusion_fraction"] == 0.5
    assert row["perfusion_max"] - row["perfusion_min"] == pytest.approx(4, abs=1)


@pytest.mark.parametrize("perfusion", [None, ramp()])
def test_a_lesion_that_the_map_does_not_know_has_no_number(perfusion: Volume | None) -> None:
    row = lesion_perfusion(np.full((5, 3), 900.0), perfusion)
    assert np.isnan([row[f"perfusion_{name}"] for name in ("median", "min", "max")]).all()
    assert np.isnan(row["perfusion_fraction"]) == (perfusion is None)


def test_a_ball_on_a_ramp_spans_its_diameter() -> None:
    low_to_high = ball_perfusion(np.zeros((1, 3)), 6.0, ramp())[:, 0]
    assert low_to_high == pytest.approx([50, 44, 56], abs=0.8)


def test_a_ball_mostly_outside_is_not_known() -> None:
    edge = SPACE.voxel_to_world(np.array([[-4.0, 15, 15]]))
    assert np.isnan(ball_perfusion(edge, 5.0, ramp())).all()


def test_balls_keep_to_places_with_room_for_them() -> None:
    space = centred_space((41, 41, 41))
    depth = 20 - np.abs(space.voxel_centres_mm()).max(axis=1)
    flow = Volume((1 + depth).reshape(space.shape), space)
    chosen = np.random.default_rng(0).permutation(len(depth))[:3000]
    table = placed_balls(
        space.voxel_centres_mm()[chosen], depth[chosen], np.array([0.6, 8.0, 22.0]), flow, n_places=200
    )
    assert table.groupby("size_bin").size().to_dict() == {0: 200, 1: 200, 2: 20}
    assert table.loc[table["size_bin"] == 1, "min"].min() >= 1
    assert table.loc[table["size_bin"] == 1, "median"].min() > 5
    assert table.loc[table["size_bin"] == 0, "median"].min() < 4
