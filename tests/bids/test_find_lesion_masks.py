import json

import pytest

from bidsapp.bids.find import find_scans
from bidsapp.errors import DataError, MissingInputError, UsageError

T1W = "sub-01/anat/sub-01_T1w.nii.gz"
FOLDER = "derivatives/lesions/sub-01/anat/sub-01"


def find_one(dataset, **choices):
    (scan,) = find_scans(dataset.select(**choices), "01")
    return scan


def mask_of(dataset, **choices):
    mask = find_one(dataset, **choices).lesion_mask
    return mask and mask.name.removeprefix("sub-01_").removesuffix(".nii.gz")


@pytest.fixture
def scanned(dataset):
    dataset.describe("derivatives/lesions")
    dataset.touch(T1W)
    return dataset


@pytest.mark.parametrize(
    "name",
    [
        *(f"label-{label}_mask" for label in ("lesion", "tumor", "tumour", "GTV", "L", "TC", "WT", "ET")),
        *(f"desc-{description}_mask" for description in ("lesion", "tumor", "gtv")),
        "space-orig_label-lesion_mask",
        "space-T1w_label-L_desc-T1lesion_mask",
        "desc-tumorNew_dseg",
        "seg-lesions_dseg",
        "label-lesion_probseg",
        "label-lesion_roi",
    ],
)
def test_a_lesion_mask_is_known_by_its_name(scanned, name):
    scanned.touch(f"{FOLDER}_{name}.nii.gz")
    assert mask_of(scanned) == name


@pytest.mark.parametrize(
    "name",
    [
        "desc-brain_mask",
        "label-GM_mask",
        "desc-aseg_dseg",
        "space-MNI152Lin_label-lesion_mask",
        "label-GM_probseg",
    ],
)
def test_other_masks_are_no_lesion_masks(scanned, name):
    scanned.touch(f"{FOLDER}_{name}.nii.gz")
    assert mask_of(scanned) is None


def test_a_sidecar_of_type_lesion_makes_a_lesion_mask(scanned):
    scanned.touch(f"{FOLDER}_desc-mine_mask.nii.gz", f"{FOLDER}_desc-brain_mask.nii.gz")
    scanned.write(f"{FOLDER}_desc-brain_mask.json", json.dumps({"Type": "Brain"}))
    assert mask_of(scanned) is None
    scanned.write("derivatives/lesions/desc-mine_mask.json", json.dumps({"Type": "Lesion"}))
    assert mask_of(scanned) == "desc-mine_mask"
    scanned.write(f"{FOLDER}_desc-mine_mask.json", json.dumps({"Type": "Face"}))
    assert mask_of(scanned) is None


def test_a_malformed_sidecar_is_refused(scanned):
    scanned.touch(f"{FOLDER}_desc-mine_mask.nii.gz")
    scanned.write(f"{FOLDER}_desc-mine_mask.json", "[1]")
    with pytest.raises(DataError, match="must hold a JSON object, got a list"):
        find_one(scanned)


def test_the_rules_are_tried_in_their_documented_order(scanned):
    raw = "sub-01/anat/sub-01"
    ranked = [
        f"{FOLDER}_label-lesion_mask",
        f"{FOLDER}_label-tumor_mask",
        f"{FOLDER}_label-GTV_mask",
        f"{FOLDER}_label-TC_mask",
        f"{FOLDER}_desc-lesion_mask",
        f"{FOLDER}_seg-tumor_dseg",
        f"{FOLDER}_label-lesion_probseg",
        f"{raw}_label-lesion_roi",
        f"{raw}_label-tumor_mask",
    ]
    for n in reversed(range(len(ranked))):
        scanned.touch(f"{ranked[n]}.nii.gz")
        scan = find_one(scanned)
        assert scan.lesion_mask == scanned.root / f"{ranked[n]}.nii.gz"
    (note,) = [note for note in scan.notes if note.startswith("lesion mask")]
    assert note.count(".nii.gz") == len(ranked)
    assert "raw:sub-01/anat/sub-01_label-lesion_roi.nii.gz" in note


def test_a_given_dataset_comes_before_any_rule(scanned):
    scanned.touch(f"{FOLDER}_label-lesion_mask.nii.gz", "mine/sub-01/anat/sub-01_desc-tumor_dseg.nii.gz")
    assert mask_of(scanned, derivatives={"mine": scanned.root / "mine"}) == "desc-tumor_dseg"


def test_filters_choose_by_lesion_or_roi(scanned):
    scanned.touch(*(f"{FOLDER}_label-{label}_mask.nii.gz" for label in ("lesion", "WT")))
    assert mask_of(scanned, filters={"lesion": {"label": "WT"}}) == "label-WT_mask"
    assert mask_of(scanned, filters={"roi": {"label": "WT"}}) == "label-WT_mask"
    assert mask_of(scanned, filters={"lesion": {"suffix": "roi"}}) is None
    with pytest.raises(UsageError, match="lesion or roi"):
        find_one(scanned, filters={"lesion": {}, "roi": {}})


def test_a_roi_filter_written_by_a_cohort_tool_does_not_exclude_masks(scanned):
    scanned.touch(f"{FOLDER}_label-lesion_mask.nii.gz")
    assert mask_of(scanned, filters={"roi": {"datatype": "anat", "suffix": "roi"}}) == "label-lesion_mask"


def test_a_mask_goes_to_the_scan_with_its_contrast_agent(scanned):
    scanned.touch("sub-01/anat/sub-01_ce-gadolinium_T1w.nii.gz")
    scanned.touch(f"{FOLDER}_ce-gadolinium_label-lesion_mask.nii.gz")
    assert mask_of(scanned) == "ce-gadolinium_label-lesion_mask"
    scan = find_one(scanned, filters={"t1w": {"ce": None}})
    assert scan.lesion_mask is None
    assert any("belongs to ceagent gadolinium" in note for note in scan.notes)


def test_a_mask_goes_to_its_session(scanned):
    for n in "12":
        scanned.touch(f"sub-02/ses-{n}/anat/sub-02_ses-{n}_T1w.nii.gz")
    name = "sub-02/ses-2/anat/sub-02_ses-2_label-lesion_mask.nii.gz"
    scanned.touch(f"derivatives/lesions/{name}")
    first, second = find_scans(scanned.select(), "02")
    assert first.lesion_mask is None
    assert second.lesion_mask == scanned.root / "derivatives/lesions" / name
    assert any("it belongs to session 2" in note for note in first.notes)


def test_a_mask_in_another_space_is_named_with_the_reason(scanned):
    scanned.touch(f"{FOLDER}_space-MNI152NLin6Asym_label-lesion_mask.nii.gz")
    assert any("(it lies in space-MNI152NLin6Asym)" in note for note in find_one(scanned).notes)


def test_a_mask_that_was_not_fetched_is_refused(scanned):
    scanned.link_to_nothing(f"{FOLDER}_label-lesion_mask.nii.gz")
    with pytest.raises(MissingInputError, match="datalad get"):
        find_one(scanned)
