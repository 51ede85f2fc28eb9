"""AtlasPack: an atlas that cannot be used is refused when it is made, in words."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from bidsapp.atlas.pack import AtlasPack, checksum, load_pack, read_label_names
from bidsapp.atlas.seganat import structures
from bidsapp.errors import DataError, MissingInputError
from bidsapp.geometry.space import Space
from bidsapp.images.nifti import write_volume
from bidsapp.images.volume import Volume

AFFINE = np.array([[1.9, 0.3, 0, -9], [-0.3, 1.9, 0, -4], [0, 0, 2.5, 7], [0, 0, 0, 1.0]])
SPACE = Space((7, 8, 9), AFFINE)


def seganat_labels():
    """Hold every structure, away from the border."""
    data = np.zeros(SPACE.shape, np.uint8)
    data[1:-1, 1:-1, 1:-1] = np.resize(np.arange(1, 35), (5, 6, 7))
    return Volume(data, SPACE)


def template():
    return Volume(np.random.default_rng(0).random(SPACE.shape).astype(np.float32), SPACE)


def pack():
    territories = Volume((seganat_labels().data % 3).astype(np.uint8), SPACE)
    return AtlasPack("Tiny", template(), seganat_labels(), territories, {1: "ACA", 2: "MCA"}, None, {})


def freesurfer(labels):
    codes = np.array([structure.freesurfer for structure in structures()], np.int16)
    return Volume(codes[labels.data], labels.space)


@pytest.fixture
def folder(tmp_path):
    """Hold the smallest atlas folder that can be loaded."""
    write_volume(template(), tmp_path / "tpl-Tiny_res-1_T1w.nii.gz")
    write_volume(freesurfer(seganat_labels()), tmp_path / "tpl-Tiny_res-1_desc-aseg_dseg.nii.gz")
    return tmp_path


def add_territories(folder, names="index\tname\themisphere\n1\tACA\tL\n2\tACA\tR\n"):
    write_volume(pack().territories, folder / "tpl-Tiny_res-1_atlas-ArterialX_dseg.nii.gz")
    (folder / "tpl-Tiny_atlas-ArterialX_dseg.tsv").write_text(names)


# Checked at birth


@pytest.mark.parametrize("name", ["", "MNI 152", "../escape", "a_b", "a-b"])
def test_a_name_that_cannot_stand_in_a_file_name_is_refused(name):
    with pytest.raises(DataError, match="must be letters and digits"):
        replace(pack(), name=name)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_template_that_is_not_finite_is_refused(value):
    broken = template()
    broken.data[1, 2, 3] = value
    with pytest.raises(DataError, match="finite and not constant"):
        replace(pack(), template=broken)


def test_a_constant_template_is_refused():
    with pytest.raises(DataError, match="finite and not constant"):
        replace(pack(), template=Volume(np.ones(SPACE.shape, np.float32), SPACE))


def test_labels_on_another_grid_are_refused():
    moved = np.array(AFFINE)
    moved[0, 3] += 1
    with pytest.raises(DataError, match="must lie on one grid"):
        replace(pack(), labels=Volume(seganat_labels().data, Space(SPACE.shape, moved)))


@pytest.mark.parametrize("change", [lambda data: data.astype(np.int16), lambda data: data + 1])
def test_labels_that_are_no_seganat_indices_are_refused(change):
    with pytest.raises(DataError, match="must be SegAnat indices"):
        replace(pack(), labels=Volume(change(seganat_labels().data), SPACE))


def test_twenty_structures_are_enough_and_nineteen_are_not():
    data = seganat_labels().data
    assert replace(pack(), labels=Volume(np.where(data > 20, 0, data).astype(np.uint8), SPACE))
    with pytest.raises(DataError, match="at least 20 of the 34 structures, got 19"):
        replace(pack(), labels=Volume(np.where(data > 19, 0, data).astype(np.uint8), SPACE))


def test_a_territory_without_a_name_is_refused():
    with pytest.raises(DataError, match=r"territories \[2\] of Tiny have no name"):
        replace(pack(), territory_names={1: "ACA"})


@pytest.mark.parametrize(
    "data", [np.zeros(SPACE.shape, np.uint8), np.ones(SPACE.shape), -np.ones(SPACE.shape, int)]
)
def test_territories_that_are_no_labels_are_refused(data):
    with pytest.raises(DataError, match="territories of Tiny must be whole numbers"):
        replace(pack(), territories=Volume(data, SPACE))


def test_a_perfusion_map_without_positive_values_is_refused():
    data = np.full(SPACE.shape, np.nan)
    data[2] = -3
    with pytest.raises(DataError, match="no positive value"):
        replace(pack(), perfusion=Volume(data, SPACE))


def test_territories_and_perfusion_may_lie_on_other_grids():
    other = Space((4, 5, 6), np.diag([3.0, 3.0, 3.0, 1.0]))
    maps = {
        "territories": Volume(np.ones((4, 5, 6), np.uint8), other),
        "perfusion": Volume(np.ones((4, 5, 6), np.float32), other),
    }
    assert replace(pack(), **maps).perfusion is maps["perfusion"]


# From a folder


def test_a_folder_with_template_and_labels_is_an_atlas(folder):
    loaded = load_pack(folder)
    assert loaded.name == "Tiny"
    np.testing.assert_array_equal(loaded.template.data, template().data)
    np.testing.assert_array_equal(loaded.labels.data, seganat_labels().data)
    assert loaded.territories is None
    assert loaded.perfusion is None


def test_checksums_of_every_file_used_are_kept(folder):
    add_territories(folder)
    (folder / "README").write_text("not used")
    loaded = load_pack(folder)
    assert set(loaded.checksums) == {path.name for path in folder.glob("tpl-*")}
    for name, value in loaded.checksums.items():
        assert value == hashlib.sha256((folder / name).read_bytes()).hexdigest()
    assert checksum(folder / "README") == hashlib.sha256(b"not used").hexdigest()


def test_territories_and_perfusion_are_taken_along(folder):
    add_territories(folder)
    flow = np.where(seganat_labels().data > 0, 50.0, np.nan).astype(np.float32)
    write_volume(Volume(flow, SPACE), folder / "tpl-Tiny_desc-x_cbf.nii.gz")
    loaded = load_pack(folder)
    assert loaded.territory_names == {1: "Left ACA", 2: "Right ACA"}
    np.testing.assert_array_equal(loaded.territories.data, pack().territories.data)
    np.testing.assert_array_equal(loaded.perfusion.data, flow)


@pytest.mark.parametrize("entity", ["seg-SegAnat", "atlas-SegAnat"])
def test_labels_may_hold_seganat_indices(folder, entity):
    (folder / "tpl-Tiny_res-1_desc-aseg_dseg.nii.gz").unlink()
    write_volume(seganat_labels(), folder / f"tpl-Tiny_{entity}_dseg.nii.gz")
    np.testing.assert_array_equal(load_pack(folder).labels.data, seganat_labels().data)


def test_seganat_labels_beyond_34_are_refused(folder):
    (folder / "tpl-Tiny_res-1_desc-aseg_dseg.nii.gz").unlink()
    write_volume(freesurfer(seganat_labels()), folder / "tpl-Tiny_seg-SegAnat_dseg.nii.gz")
    with pytest.raises(DataError, match="must hold SegAnat indices up to 34, got 62"):
        load_pack(folder)


def test_the_table_beside_the_labels_names_the_scheme(folder):
    (folder / "tpl-Tiny_desc-aseg_dseg.tsv").write_text("index\tname\n45\tLeft Cerebral White Matter\n")
    with pytest.raises(DataError, match="at least 20 of the 34"):  # read as Neuromorphometrics
        load_pack(folder)


def test_the_table_of_another_segmentation_is_left_alone(folder):
    add_territories(folder)
    (folder / "tpl-Tiny_atlas-Other_res-1_desc-x_dseg.tsv").write_text("index\tname\n1\tA\n2\tB\n")
    assert load_pack(folder).territory_names == {1: "Left ACA", 2: "Right ACA"}


def test_labels_on_a_finer_shifted_grid_are_brought_to_the_template(folder):
    fine = np.array(AFFINE)
    fine[:3, :3] /= 2
    shape = tuple(2 * size for size in SPACE.shape)
    data = np.zeros(shape, np.int16)
    data[::2, ::2, ::2] = freesurfer(seganat_labels()).data  # every second voxel centre is the template's
    write_volume(Volume(data, Space(shape, fine)), folder / "tpl-Tiny_res-1_desc-aseg_dseg.nii.gz")
    np.testing.assert_array_equal(load_pack(folder).labels.data, seganat_labels().data)


def test_labels_in_another_frame_are_refused(folder):
    moved = np.array(AFFINE)
    moved[0, 3] += 10
    labels = Volume(freesurfer(seganat_labels()).data, Space(SPACE.shape, moved))
    write_volume(labels, folder / "tpl-Tiny_res-1_desc-aseg_dseg.nii.gz")
    with pytest.raises(DataError, match="must lie in the template's frame, but only"):
        load_pack(folder)


def test_codes_without_a_structure_are_logged(folder, caplog):
    labels = freesurfer(seganat_labels())
    labels.data[0, 0, 0] = 777
    write_volume(labels, folder / "tpl-Tiny_res-1_desc-aseg_dseg.nii.gz")
    load_pack(folder)
    assert "codes without a structure: {777: 1}" in caplog.text


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(MissingInputError, match="no atlas folder at"):
        load_pack(tmp_path / "nowhere")


@pytest.mark.parametrize(("pattern", "kind"), [("*T1w*", "T1w"), ("*dseg*", "dseg")])
def test_a_missing_part_is_named(folder, pattern, kind):
    next(folder.glob(pattern)).unlink()
    with pytest.raises(MissingInputError, match=rf"must hold a tpl-<NAME>_{kind}\.nii\.gz"):
        load_pack(folder)


def test_two_templates_are_listed_and_refused(folder):
    write_volume(template(), folder / "tpl-Tiny_res-2_T1w.nii.gz")
    with pytest.raises(DataError, match=r"one T1w image, got tpl-Tiny_res-1_T1w.nii.gz, tpl-Tiny_res-2_T1w"):
        load_pack(folder)


def test_territories_without_names_are_refused(folder):
    add_territories(folder)
    (folder / "tpl-Tiny_atlas-ArterialX_dseg.tsv").unlink()
    with pytest.raises(MissingInputError, match="has no table of names"):
        load_pack(folder)


@pytest.mark.parametrize(
    "table", ["index\n1\n", "code\tname\n1\tACA\n", "index\tname\none\tACA\n", "index\tname\n1\n", "\xff"]
)
def test_a_table_that_cannot_be_read_is_refused(folder, table):
    (folder / "a.tsv").write_text(table, encoding="latin-1")
    if table == "\xff":
        with pytest.raises(DataError, match="tab-separated table"):
            read_label_names(folder / "a.tsv")
        return
    add_territories(folder, table)
    with pytest.raises(DataError, match="tab-separated table with the columns index"):
        load_pack(folder)
