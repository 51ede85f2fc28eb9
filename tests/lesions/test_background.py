import numpy as np
import pytest

from bidsapp.errors import DataError
from bidsapp.images.volume import Volume
from bidsapp.lesions.background import background_points, covariates_at, hull_depth_mm, sphere_radii_mm
from bidsapp.lesions.mapping import labels_at
from tests.lesions.conftest import BareAtlas, ball, centred_space, oblique_space


def test_points_are_spread_evenly_over_the_structures() -> None:
    space = oblique_space((12, 15, 16), (1.0, 1.2, 1.5))
    data = np.zeros(space.shape, dtype=np.uint8)
    data[:3], data[3:9] = 2, 4
    found = background_points(Volume(data, space), 30_000, np.random.default_rng(0))
    assert (found.regions == "Cerebral White Matter").mean() == pytest.approx(1 / 3, abs=0.01)
    assert (labels_at(found.points_mm, Volume(data, space)) == found.structures).all()
    index = space.world_to_voxel(found.points_mm)
    assert (index - np.rint(index)).std() == pytest.approx(np.sqrt(1 / 12), abs=0.01)


def test_points_keep_to_the_structures_asked_for() -> None:
    labels = Volume(np.arange(4 * 5 * 6, dtype=np.uint8).reshape(4, 5, 6) % 7, centred_space((4, 5, 6)))
    found = background_points(labels, 50, np.random.default_rng(1), among={3, 5})
    assert set(found.structures) == {3, 5}
    with pytest.raises(DataError, match=r"one of the structures \[30\], got none"):
        background_points(labels, 50, np.random.default_rng(1), among={30})


def test_the_depth_in_a_ball_is_the_way_to_its_border_and_a_sulcus_is_closed() -> None:
    space = oblique_space((50, 46, 40), (1.0, 1.1, 1.3))
    solid = ball(space, (0.0, 0.0, 0.0), 18.0)
    cut = solid.data.copy()
    cut[24:26, :23] = False
    depth = hull_depth_mm(Volume(cut.astype(np.uint8), space))
    distance = np.linalg.norm(space.voxel_centres_mm(), axis=1).reshape(space.shape)
    assert depth[solid.data] == pytest.approx(18 - distance[solid.data], abs=1.7)
    assert depth[distance > 20].max() == 0


def test_a_ball_and_its_radius() -> None:
    radii = np.array([0.5, 3.0])
    assert sphere_radii_mm(4 / 3 * np.pi * radii**3) == pytest.approx(radii)


def test_covariates_say_what_the_atlas_knows_of_a_place(atlas_labels: Volume) -> None:
    territories = Volume((atlas_labels.data == 1).astype(np.int16) * 7, atlas_labels.space)
    atlas = BareAtlas(
        labels=atlas_labels, territories=territories, territory_names={7: "North"}, perfusion=None
    )
    found = covariates_at(np.array([[-8.0, 0, 0], [3.0, 0, 0], [15.0, 0, 0]]), atlas)
    assert found["region"].fillna("-").tolist() == ["Cerebral White Matter", "Cerebral Cortex", "-"]
    assert found["tissue"].fillna("-").tolist() == ["white", "grey", "-"]
    assert found["territory"].fillna("-").tolist() == ["North", "-", "-"]
    assert found["junction_distance_mm"].tolist() == pytest.approx([-8, 3, 15], abs=0.51)
    assert found["pial_distance_mm"].tolist() == pytest.approx([-18, -7, 5], abs=0.51)
    assert found["perfusion"].isna().all()
