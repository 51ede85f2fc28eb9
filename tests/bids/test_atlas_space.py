from pathlib import Path

import numpy as np
import pytest

from bidsapp.bids.atlas_space import find_atlas_space_masks, load_atlas_space_mask
from bidsapp.errors import DataError, MissingInputError
from bidsapp.geometry.space import Space
from bidsapp.images.nifti import write_volume
from bidsapp.images.volume import Volume

SPACE = Space((4, 5, 6), np.diag([2.0, 1.0, 1.5, 1.0]))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def write(folder: Path, name: str, space: Space = SPACE, value: int = 1) -> Path:
    path = folder / f"{name}.nii.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    data = np.zeros(space.shape, dtype=np.uint8)
    data[1, 2, 3] = value
    write_volume(Volume(data, space), path)
    return path


def test_masks_are_found_by_name_in_any_folder_one_a_session(folder: Path) -> None:
    two = write(folder, "sub-02/ses-b/anat/sub-02_ses-b_space-Toy_label-lesion_mask")
    one = write(folder, "sub-01_space-Toy_label-lesion_mask")
    write(folder, "sub-01_space-Toy_desc-brain_mask")
    write(folder, "sub-01_label-lesion_mask")
    write(folder, "sub-01_space-Toy_seg-SegAnat_dseg")
    found = find_atlas_space_masks(folder, "Toy")
    assert [(each.subject, each.session, each.path) for each in found] == [
        ("01", None, one),
        ("02", "b", two),
    ]


def test_numbered_lesions_are_taken_before_a_plain_mask(folder: Path) -> None:
    write(folder, "sub-01_space-Toy_res-1_label-lesion_mask")
    numbered = write(folder, "sub-01_space-Toy_seg-lesions_res-1_dseg")
    (found,) = find_atlas_space_masks(folder, "Toy")
    assert found.path == numbered
    assert load_atlas_space_mask(found.path, SPACE, "Toy")[1] == "instances"


def test_a_mask_in_another_space_is_refused_by_name(folder: Path) -> None:
    write(folder, "sub-01_space-MNI152_label-lesion_mask")
    with pytest.raises(DataError, match="must lie in space-Toy, the atlas of this run, got MNI152: give"):
        find_atlas_space_masks(folder, "Toy")


def test_two_equal_masks_of_one_session_are_refused(folder: Path) -> None:
    write(folder, "sub-01_run-1_space-Toy_label-lesion_mask")
    write(folder, "sub-01_run-2_space-Toy_label-lesion_mask")
    with pytest.raises(DataError, match=r"one lesion mask in space-Toy, got sub-01_run-1.* keep one"):
        find_atlas_space_masks(folder, "Toy")


def test_a_folder_without_masks_is_refused(folder: Path) -> None:
    with pytest.raises(MissingInputError, match="sub-<label>_space-Toy_label-lesion_mask"):
        find_atlas_space_masks(folder, "Toy")
    with pytest.raises(MissingInputError, match="no folder of lesion masks"):
        find_atlas_space_masks(folder / "nowhere", "Toy")


def test_a_mask_on_another_grid_is_refused_with_both_grids_named(folder: Path) -> None:
    flipped = Space(SPACE.shape, np.diag([-2.0, 1.0, 1.5, 1.0]))
    path = write(folder, "sub-01_space-Toy_label-lesion_mask", flipped)
    with pytest.raises(
        DataError, match=r"grid of the atlas Toy, 4 x 5 x 6 voxels of 2 x 1 x 1\.5 mm"
    ) as caught:
        load_atlas_space_mask(path, SPACE, "Toy")
    assert "--atlas" in str(caught.value)


def test_an_empty_mask_has_no_lesion(folder: Path) -> None:
    path = write(folder, "sub-01_space-Toy_label-lesion_mask", value=0)
    assert load_atlas_space_mask(path, SPACE, "Toy") == (None, "none")
