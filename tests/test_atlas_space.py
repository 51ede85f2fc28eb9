import json
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import affine_transform

from bidsapp.atlas.builtin import load_builtin
from bidsapp.atlas.pack import AtlasPack, read_label_names
from bidsapp.atlas.territories import territory_volumes
from bidsapp.atlas_space import read_atlas_space_lesions
from bidsapp.geometry.space import Space
from bidsapp.images.nifti import read_labels, write_volume
from bidsapp.images.regrid import on_grid
from bidsapp.images.volume import Volume
from bidsapp.lesions.table import LESION_COLUMNS
from bidsapp.lesions.territories import patient_territory_fractions, territory_lesions
from tests.lesions.conftest import BareAtlas

DATA = Path(__file__).parents[1] / "../shared/data"
STROKES = DATA / "lesions_mni/stroke"
MAP = DATA / "maps/tpl-MNI152NLin6Asym_res-01_atlas-ArterialLiu2023_dseg.nii.gz"


def test_masks_give_the_records_of_lesions(tmp_path: Path) -> None:
    space = Space((12, 10, 11), np.diag([1.0, 1.5, 1.2, 1.0]))
    labels = np.zeros(space.shape, dtype=np.uint8)
    labels[:6], labels[6:] = 1, 3
    atlas = BareAtlas(
        name="Toy",
        labels=Volume(labels, space),
        territories=None,
        territory_names={},
        perfusion=Volume(labels.astype(np.float32), space),
    )
    mask = np.zeros(space.shape, dtype=np.uint8)
    mask[1:3, 4, 4], mask[8:10, 4:6, 4] = 1, 1
    write_volume(Volume(mask, space), tmp_path / "sub-01_space-Toy_label-lesion_mask.nii.gz")
    write_volume(Volume(mask * 0, space), tmp_path / "sub-02_space-Toy_label-lesion_mask.nii.gz")
    found = read_atlas_space_lesions(tmp_path, atlas)
    assert [each.subject for each in found.masks] == ["01", "02"]
    assert list(found.lesions.columns) == list(LESION_COLUMNS)
    large, small = found.lesions.iloc[0], found.lesions.iloc[1]
    assert large["native_volume_mm3"] == large["atlas_volume_mm3"] == pytest.approx(4 * 1.8)
    assert large[["atlas_x_mm", "atlas_y_mm", "atlas_z_mm"]].tolist() == pytest.approx([8.5, 6.75, 4.8])
    assert [large["region_centroid"], small["region_centroid"]] == [
        "Cerebral Cortex",
        "Cerebral White Matter",
    ]
    assert [large["junction_distance_mm"], small["junction_distance_mm"]] == pytest.approx([3, -4])
    assert large["perfusion_median"] == 3
    assert found.lesions[["volume_factor", "jacobian_ratio", "affine_volume_mm3"]].isna().all(axis=None)


@pytest.fixture(scope="module")
def stroke_atlas() -> AtlasPack:
    """The embedded atlas on the grid of the stroke masks, with the territories of Liu et al."""
    paths = sorted(STROKES.glob("*_mask.nii.gz"))
    if not paths or not MAP.is_file():
        pytest.skip("the stroke masks and the map of territories are not at hand")
    builtin, space = load_builtin(), read_labels(paths[0]).space
    matrix = builtin.template.space.inverse_affine @ space.affine
    template = affine_transform(builtin.template.data, matrix, output_shape=space.shape, order=1)
    names = read_label_names(MAP.with_name("tpl-MNI152NLin6Asym_atlas-ArterialLiu2023_dseg.tsv"))
    return AtlasPack(
        name="MNI152",
        template=Volume(template, space),
        labels=on_grid(builtin.labels, space),
        territories=read_labels(MAP),
        territory_names=names,
        perfusion=None,
        checksums={},
    )


@pytest.mark.slow
def test_real_strokes_lie_in_the_middle_cerebral_artery_more_than_its_volume_explains(
    stroke_atlas: AtlasPack,
) -> None:
    found = read_atlas_space_lesions(STROKES, stroke_atlas)
    assert len(found.masks) == 97
    volumes = territory_volumes(stroke_atlas, "group").sum(axis=1)
    share = float(volumes["MCA"] / volumes.sum())
    fractions = patient_territory_fractions(found.lesions)
    assert fractions.sum(axis=1).to_numpy() == pytest.approx(1)
    assert fractions["MCA"].mean() > share
    main = territory_lesions(found.lesions[found.lesions["lesion"] == 1], "group")["region"].dropna()
    assert (main == "MCA").mean() > share
    assert json.loads(found.lesions["territory_overlap"].iloc[0])
