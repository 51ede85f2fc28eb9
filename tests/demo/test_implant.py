import numpy as np
import pytest
from scipy.ndimage import generate_binary_structure, label

from bidsapp.demo.implant import Implanted, implant, white_matter_intensity
from bidsapp.demo.placement import inside_fraction, region_volumes_mm3, structure_voxels
from bidsapp.demo.plan import JUNCTION, Lesions, Tumour, draw_places, draw_tumours
from bidsapp.errors import DataError, ShapeError, UsageError
from bidsapp.geometry.space import Space
from bidsapp.images.volume import Volume

Scan = tuple[Volume, Volume]


@pytest.fixture(params=["isotropic", "oblique"])
def scan(request: pytest.FixtureRequest) -> Scan:
    return request.getfixturevalue(request.param)


def implanted(scan: Scan, *tumours: Tumour, seed: int = 3, **options: str) -> Implanted:
    return implant(*scan, Lesions(tumours, **options), np.random.default_rng(seed))


def world_centre(volume: Volume, value: int) -> np.ndarray:
    return volume.space.voxel_to_world(np.argwhere(volume.data == value).astype(float)).mean(axis=0)


def test_the_mask_lies_where_the_truth_says_and_has_its_volume(scan: Scan) -> None:
    done = implanted(scan, Tumour(10.0, "Cerebral White Matter"), Tumour(6.0, "Putamen"))
    half_voxel = max(scan[0].space.voxel_sizes_mm) / 2
    for row in done.truth.itertuples():
        voxels = world_centre(done.instances, row.lesion)
        np.testing.assert_allclose(voxels, [row.x_mm, row.y_mm, row.z_mm], atol=1e-9)
        planned = [row.planned_x_mm, row.planned_y_mm, row.planned_z_mm]
        np.testing.assert_allclose(voxels, planned, atol=half_voxel)
        assert row.volume_mm3 == pytest.approx(np.pi / 6 * row.diameter_mm**3, rel=0.12)


def test_a_given_centre_is_kept_and_the_tumour_is_round_in_millimetres(oblique: Scan) -> None:
    done = implanted(oblique, Tumour(14.0, "Putamen", centre_mm=(308.0, -149.0, 92.0)))
    np.testing.assert_allclose(world_centre(done.instances, 1), [308.0, -149.0, 92.0], atol=0.3)
    points = oblique[0].space.voxel_to_world(np.argwhere(done.mask.data).astype(float))
    spread = np.sqrt(np.linalg.eigvalsh(np.cov(points.T)))
    np.testing.assert_allclose(spread, 7.0 / np.sqrt(5), rtol=0.15)


def test_a_tumour_smaller_than_a_voxel_is_not_lost() -> None:
    space = Space((12, 13, 14), np.diag([5.0, 5.0, 5.0, 1.0]))
    labels = np.full(space.shape, 1, np.uint8)
    scan = Volume(np.ones(space.shape, np.float32), space), Volume(labels, space)
    done = implanted(scan, Tumour(3.0, "Cerebral White Matter", centre_mm=(22.4, 22.4, 22.4)))
    assert done.mask.data.sum() == 1


@pytest.mark.parametrize("structure", ["Cerebral Cortex", "Cerebral White Matter", "Putamen", JUNCTION])
def test_the_centre_lies_in_the_structure_asked_for(isotropic: Scan, structure: str) -> None:
    done = implanted(isotropic, Tumour(4.0, structure))
    planned = done.truth[["planned_x_mm", "planned_y_mm", "planned_z_mm"]].to_numpy()
    voxel = np.rint(isotropic[1].space.world_to_voxel(planned))[0]
    assert (structure_voxels(isotropic[1], structure) == voxel).all(axis=1).any()


def test_tumours_stay_apart_so_that_each_is_found_again(scan: Scan) -> None:
    tumours = [Tumour(diameter, "Cerebral White Matter") for diameter in (9.0, 3.0, 5.0, 4.0, 7.0)]
    done = implanted(scan, *tumours)
    assert label(done.mask.data, generate_binary_structure(3, 3))[1] == 5
    assert done.truth["diameter_mm"].tolist() == [9.0, 3.0, 5.0, 4.0, 7.0]


def test_only_voxels_in_reach_change(scan: Scan) -> None:
    done = implanted(scan, Tumour(8.0, "Putamen", "ring", mass_effect_mm=2.0))
    (effect,) = done.mass_effects
    space = scan[0].space
    far = np.linalg.norm(space.voxel_centres_mm() - effect.centre_mm, axis=1).reshape(space.shape) > 12.0
    np.testing.assert_array_equal(done.t1w.data[far], scan[0].data[far])
    np.testing.assert_array_equal(done.labels.data[far], scan[1].data[far])


def test_mass_effect_moves_scan_and_labels_alike(isotropic: Scan) -> None:
    centre = (29.0 - 12.0, 30.0, 31.0)
    done = implanted(isotropic, Tumour(10.0, "Putamen", mass_effect_mm=2.5, centre_mm=centre))
    point = np.array([[29.0 - 12.0, 30.0 + 6.5, 31.0]])
    voxel = tuple(np.rint(isotropic[1].space.world_to_voxel(point))[0].astype(int))
    assert isotropic[1].data[voxel] == 1
    assert done.labels.data[voxel] == 17
    assert done.t1w.data[voxel] == pytest.approx(80.0, abs=8)


def test_a_solid_tumour_is_brighter_than_white_matter_and_a_ring_has_a_dark_core(isotropic: Scan) -> None:
    middle = (29.0, 30.0, 31.0)
    solid = implanted(isotropic, Tumour(16.0, "Putamen", "solid", centre_mm=middle))
    ring = implanted(isotropic, Tumour(16.0, "Putamen", "ring", centre_mm=middle))
    heart = tuple(np.rint(isotropic[0].space.world_to_voxel(np.array([middle])))[0].astype(int))
    assert solid.t1w.data[heart] > 115
    assert ring.t1w.data[heart] < 75
    assert ring.t1w.data[ring.mask.data].max() > 115


def test_without_contrast_agent_a_tumour_is_darker_than_white_matter(isotropic: Scan) -> None:
    tumour = Tumour(10.0, "Putamen", centre_mm=(29.0, 30.0, 31.0))
    done = implanted(isotropic, tumour, contrast="plain")
    assert np.median(done.t1w.data[done.mask.data]) < 90


def test_labels_inside_are_overwritten_as_told(isotropic: Scan) -> None:
    tumour = Tumour(14.0, "Cerebral White Matter", "ring", centre_mm=(20.0, 30.0, 45.0))
    inside = {how: implanted(isotropic, tumour, inside=how) for how in ("background", "wrong", "keep")}
    mask = inside["keep"].mask.data
    assert set(inside["background"].labels.data[mask]) == {0}
    assert set(inside["wrong"].labels.data[mask]) == {3, 5}
    np.testing.assert_array_equal(inside["keep"].labels.data, isotropic[1].data)
    for done in inside.values():
        np.testing.assert_array_equal(done.labels.data[~mask], isotropic[1].data[~mask])


def test_the_same_seed_gives_the_same_scan_and_another_seed_another(isotropic: Scan) -> None:
    tumours = draw_tumours(["Putamen", "Cerebral Cortex"], np.random.default_rng(5))
    first, again = (implanted(isotropic, *tumours, seed=8) for _ in range(2))
    np.testing.assert_array_equal(first.t1w.data, again.t1w.data)
    assert first.truth.equals(again.truth)
    assert not first.truth.equals(implanted(isotropic, *tumours, seed=9).truth)


def test_the_scan_given_is_left_as_it_was(isotropic: Scan) -> None:
    before = isotropic[0].data.copy(), isotropic[1].data.copy()
    implanted(isotropic, Tumour(10.0, "Cerebral White Matter", mass_effect_mm=2.0))
    np.testing.assert_array_equal(isotropic[0].data, before[0])
    np.testing.assert_array_equal(isotropic[1].data, before[1])


def test_places_follow_rate_times_volume() -> None:
    places = draw_places(
        4000, {"Putamen": 4.0, "Thalamus": 1.0}, {"Putamen": 10.0, "Thalamus": 20.0}, np.random.default_rng(0)
    )
    assert places.count("Putamen") / 4000 == pytest.approx(2 / 3, abs=0.03)


def test_drawn_diameters_are_those_of_metastases_and_small_tumours_have_no_ring() -> None:
    tumours = draw_tumours(["Putamen"] * 500, np.random.default_rng(0), mass_effect_mm=3.0)
    diameters = np.array([tumour.diameter_mm for tumour in tumours])
    assert np.median(diameters) == pytest.approx(8.5, abs=0.6)
    assert diameters.min() >= 3
    assert diameters.max() <= 30
    assert {tumour.kind for tumour in tumours if tumour.diameter_mm < 8} == {"solid"}
    assert all(tumour.mass_effect_mm <= tumour.diameter_mm / 4 for tumour in tumours)


def test_given_diameters_are_used_in_turn() -> None:
    tumours = draw_tumours(["Putamen"] * 3, np.random.default_rng(0), diameters_mm=[5.0, 9.0])
    assert [tumour.diameter_mm for tumour in tumours] == [5, 9, 5]


def test_region_volumes_join_both_sides(isotropic: Scan) -> None:
    volume = region_volumes_mm3(isotropic[1])["Putamen"]
    assert volume == pytest.approx(2 * np.pi * 25 * 8, rel=0.15)


def test_half_of_a_ball_on_the_border_lies_inside() -> None:
    space = Space((30, 31, 32), np.eye(4))
    brain = Volume(np.indices(space.shape)[0] < 15, space)
    halves = inside_fraction(np.array([[14.5, 15.0, 16.0], [5.0, 15.0, 16.0]]), 4.0, brain)
    np.testing.assert_allclose(halves, [0.5, 1.0], atol=0.04)


def test_a_tumour_that_fits_nowhere_is_refused(isotropic: Scan) -> None:
    tumours = [Tumour(30.0, "Cerebral White Matter")] * 3
    with pytest.raises(DataError, match=r"no place for a tumour of 30.0 mm in Cerebral White Matter"):
        implanted(isotropic, *tumours)


def test_a_drawn_place_holds_most_of_the_tumour_and_a_given_one_part_of_it(isotropic: Scan) -> None:
    brain = Volume(isotropic[1].data > 0, isotropic[1].space)
    for seed in range(8):
        truth = implanted(isotropic, Tumour(16.0, "Cerebral Cortex"), seed=seed).truth
        planned = truth[["planned_x_mm", "planned_y_mm", "planned_z_mm"]].to_numpy(float)
        assert inside_fraction(planned, 8.0, brain) >= 0.6
    on_the_border = (29.0, 30.0 + 27.0, 31.0)
    implanted(isotropic, Tumour(16.0, "Cerebral Cortex", centre_mm=on_the_border))
    with pytest.raises(DataError, match=r"no place for a tumour of 16.0 mm in Cerebral Cortex"):
        implanted(isotropic, Tumour(16.0, "Cerebral Cortex", centre_mm=(500.0, 30.0, 31.0)))


def test_a_structure_the_label_map_lacks_is_refused(isotropic: Scan) -> None:
    with pytest.raises(DataError, match="no voxel of Thalamus"):
        implanted(isotropic, Tumour(5.0, "Thalamus"))
    with pytest.raises(UsageError, match="none of the structures Thalamus"):
        draw_places(1, {"Thalamus": 1.0}, region_volumes_mm3(isotropic[1]), np.random.default_rng(0))


def test_a_label_map_on_another_grid_is_refused(isotropic: Scan, oblique: Scan) -> None:
    with pytest.raises(ShapeError, match="must share one grid"):
        implant(isotropic[0], oblique[1], Lesions(()), np.random.default_rng(0))


def test_a_label_map_without_white_matter_is_refused(isotropic: Scan) -> None:
    with pytest.raises(DataError, match="no cerebral white matter"):
        white_matter_intensity(isotropic[0], Volume(isotropic[1].data * 0, isotropic[1].space))


@pytest.mark.parametrize(
    ("diameter", "structure", "complaint"),
    [(2.0, "Putamen", "from 3 to 30 mm, got 2"), (5.0, "Putamens", "unknown structure 'Putamens': use")],
)
def test_impossible_tumours_are_refused(diameter: float, structure: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        Tumour(diameter, structure)
