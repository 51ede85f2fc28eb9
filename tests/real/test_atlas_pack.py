"""A user's atlas made of the embedded one, published territories and a published perfusion map."""

from pathlib import Path

import numpy as np
import pytest

from bidsapp.atlas.builtin import load_builtin
from bidsapp.atlas.pack import load_pack
from bidsapp.images.nifti import write_volume
from bidsapp.images.regrid import on_grid

MAPS = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "maps"


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    """Write and load the atlas."""
    if not MAPS.is_dir():
        pytest.skip("needs maps/ of the shared data")
    folder = tmp_path_factory.mktemp("atlas")
    embedded = load_builtin()
    write_volume(embedded.template, folder / "tpl-MNI152NLin2009aSym_T1w.nii.gz")
    write_volume(embedded.labels, folder / "tpl-MNI152NLin2009aSym_seg-SegAnat_dseg.nii.gz")
    for path in MAPS.glob("tpl-*"):
        (folder / path.name).symlink_to(path)
    return load_pack(folder)


def test_the_embedded_atlas_survives_the_way_through_a_folder(pack):
    np.testing.assert_array_equal(pack.labels.data, load_builtin().labels.data)
    assert pack.name == load_builtin().name


def test_all_territories_have_a_name_with_a_side(pack):
    assert len(pack.territory_names) == 32
    assert all(name.startswith(("Left ", "Right ")) for name in pack.territory_names.values())


def test_left_territories_lie_left(pack):
    for code, name in pack.territory_names.items():
        voxels = np.argwhere(pack.territories.data == code).astype(float)
        x = pack.territories.space.voxel_to_world(voxels)[:, 0].mean()
        assert (x < 0) == name.startswith("Left")


def test_territories_cover_the_labelled_brain(pack):
    on_template = on_grid(pack.territories, pack.template.space)
    brain = pack.labels.data > 0
    assert (on_template.data[brain] > 0).mean() > 0.85


def test_perfusion_is_higher_in_grey_than_in_white_matter(pack):
    space = pack.perfusion.space
    labels = on_grid(pack.labels, space).data
    grey, white = (np.nanmean(pack.perfusion.data[np.isin(labels, pair)]) for pair in ((3, 4), (1, 2)))
    assert grey > 1.3 * white
