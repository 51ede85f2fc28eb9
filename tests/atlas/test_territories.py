from pathlib import Path

import numpy as np
import pytest

from bidsapp.atlas.pack import read_label_names
from bidsapp.atlas.territories import (
    LEVELS,
    has_known_territories,
    territories,
    territory_volumes,
    unit_of,
)
from bidsapp.errors import DataError, UsageError
from bidsapp.geometry.space import Space
from bidsapp.images.nifti import read_labels
from bidsapp.images.volume import Volume
from tests.lesions.conftest import BareAtlas

MAPS = Path(__file__).parents[2] / "../shared/data/maps"
SPACE = Space((4, 5, 6), np.diag([2.0, 1.0, 1.5, 1.0]))
NAMES = {each.index: each.name for each in territories()}


def atlas_of(codes: list[int], names: dict[int, str] = NAMES) -> BareAtlas:
    data = np.zeros(SPACE.shape, dtype=np.int16)
    data.ravel()[: len(codes)] = codes
    return BareAtlas(name="Toy", territories=Volume(data, SPACE), territory_names=names)


def test_there_are_thirty_territories_and_two_ventricles_each_named_once() -> None:
    table = territories()
    assert [each.index for each in table] == list(range(1, 33))
    assert len({each.name for each in table}) == 32
    assert [each.hemisphere for each in table] == ["left", "right"] * 16
    assert [each.abbreviation for each in table if each.group == "LV"] == ["LV", "LV"]
    groups = [each.group for each in table if each.hemisphere == "left"]
    assert {name: groups.count(name) for name in groups} == {"ACA": 2, "MCA": 6, "PCA": 4, "VB": 3, "LV": 1}


def test_the_anterior_choroidal_territory_counts_as_posterior() -> None:
    (found,) = {each.circulation for each in territories() if each.abbreviation == "ACTP"}
    assert found == "posterior"


def test_volumes_are_added_up_by_artery_and_side_without_the_ventricles() -> None:
    atlas = atlas_of([1, 2, 3, 4, 7, 8, 25, 26, 31, 32])
    groups = territory_volumes(atlas, "group")
    found = groups.loc[["ACA", "MCA", "VB"]].to_numpy()
    assert found == pytest.approx(np.array([[6, 6, 0], [3, 3, 0], [3, 3, 0]]))
    circulations = territory_volumes(atlas, "circulation")
    assert circulations.sum(axis=1).round(6).to_dict() == {"anterior": 18, "posterior": 6}
    assert territory_volumes(atlas, "territory")["none"].round(6).tolist() == [3.0] * 8


def test_sides_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(DataError, match="Basilar must be of about one size, got 1 voxels on the left and 2"):
        territory_volumes(atlas_of([25, 26, 26]), "territory")


def test_territories_of_another_atlas_are_counted_under_their_own_names() -> None:
    atlas = atlas_of([1, 1, 2], {1: "North", 2: "Ventricles"})
    assert not has_known_territories(atlas)
    assert territory_volumes(atlas, "territory")["none"].round(6).to_dict() == {"North": 6.0}
    assert len(territory_volumes(atlas, "group")) == 0


def test_an_unknown_level_and_an_atlas_without_a_map_are_refused() -> None:
    with pytest.raises(UsageError, match="territory, group, circulation, got 'lobe'"):
        unit_of("Left Basilar", "lobe")
    with pytest.raises(DataError, match="Toy must hold arterial territories"):
        territory_volumes(BareAtlas(name="Toy", territories=None), LEVELS[0])


def test_the_published_map_has_sides_of_one_size() -> None:
    path = MAPS / "tpl-MNI152NLin6Asym_res-01_atlas-ArterialLiu2023_dseg.nii.gz"
    if not path.is_file():
        pytest.skip("the map of Liu et al. is not at hand")
    names = read_label_names(path.with_name("tpl-MNI152NLin6Asym_atlas-ArterialLiu2023_dseg.tsv"))
    atlas = BareAtlas(name="Liu", territories=read_labels(path), territory_names=names)
    assert has_known_territories(atlas)
    volumes = territory_volumes(atlas, "group").sum(axis=1)
    assert volumes.idxmax() == "MCA"
    assert territory_volumes(atlas, "territory").to_numpy().sum() == pytest.approx(volumes.sum())
