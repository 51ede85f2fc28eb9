import pytest

from bidsapp.bids.candidates import mismatch
from bidsapp.bids.find import find_scans
from bidsapp.errors import DataError, MissingInputError

T1W = "sub-01/anat/sub-01_T1w.nii.gz"
FREESURFER_TABLE = "index\tname\n0\tUnknown\n2\tLeft-Cerebral-White-Matter\n41\tRight-Cerebral-White-Matter\n"
OTHER_TABLE = "index\tname\n44\tRight Cerebral White Matter\n45\tLeft Cerebral White Matter\n"


def labels_of(scan, dataset):
    return scan.labels and scan.labels.relative_to(dataset.root).as_posix()


def find_one(dataset, **choices):
    (scan,) = find_scans(dataset.select(**choices), "01")
    return scan


def test_a_label_map_in_the_derivatives_folder_is_found(dataset):
    dataset.touch(T1W, "derivatives/seg/sub-01/anat/sub-01_desc-aseg_dseg.nii.gz")
    dataset.describe("derivatives/seg")
    scan = find_one(dataset)
    assert labels_of(scan, dataset) == "derivatives/seg/sub-01/anat/sub-01_desc-aseg_dseg.nii.gz"
    assert "label map: seg:sub-01/anat/sub-01_desc-aseg_dseg.nii.gz" in scan.notes


def test_a_folder_without_description_is_not_searched(dataset):
    dataset.touch(T1W, "derivatives/seg/sub-01/anat/sub-01_desc-aseg_dseg.nii.gz")
    assert find_one(dataset).labels is None


def test_a_given_dataset_needs_no_description(dataset):
    dataset.touch(T1W, "elsewhere/sub-01/anat/sub-01_dseg.nii.gz")
    scan = find_one(dataset, derivatives={"mine": dataset.root / "elsewhere"})
    assert labels_of(scan, dataset) == "elsewhere/sub-01/anat/sub-01_dseg.nii.gz"


def test_given_datasets_come_before_found_ones_in_their_order(dataset):
    dataset.touch(T1W)
    for folder, kind in (("a", "desc-aseg"), ("b", "desc-other"), ("c", "desc-aseg")):
        dataset.touch(f"derivatives/{folder}/sub-01/anat/sub-01_{kind}_dseg.nii.gz")
        dataset.describe(f"derivatives/{folder}")
    given = {"second": dataset.root / "derivatives" / "b", "third": dataset.root / "derivatives" / "c"}
    scan = find_one(dataset, derivatives=given)
    assert labels_of(scan, dataset) == "derivatives/b/sub-01/anat/sub-01_desc-other_dseg.nii.gz"
    left = "left aside: third:sub-01/anat/sub-01_desc-aseg_dseg.nii.gz, a:sub-01/anat/sub-01_desc-aseg"
    assert any(left in note for note in scan.notes)


def test_freesurfer_codes_come_before_other_schemes_then_names_decide(dataset):
    folder = "derivatives/seg/sub-01/anat/sub-01"
    dataset.describe("derivatives/seg")
    dataset.touch(T1W, f"{folder}_atlas-AAL_dseg.nii.gz", f"{folder}_seg-synthseg_dseg.nii.gz")
    assert find_one(dataset).labels.name == "sub-01_seg-synthseg_dseg.nii.gz"
    dataset.touch(f"{folder}_desc-aseg_dseg.nii.gz", f"{folder}_desc-aparcaseg_dseg.nii.gz")
    assert find_one(dataset).labels.name == "sub-01_desc-aparcaseg_dseg.nii.gz"


def test_freesurfer_codes_come_before_the_order_of_found_datasets_and_that_before_file_names(dataset):
    dataset.touch(T1W)
    for folder, kind in (("a", "desc-other"), ("b", "desc-aseg"), ("c", "desc-aparcaseg")):
        dataset.touch(f"derivatives/{folder}/sub-01/anat/sub-01_{kind}_dseg.nii.gz")
        dataset.describe(f"derivatives/{folder}")
    (note, _) = find_one(dataset).notes
    assert [text.partition(":")[0] for text in note.split(" ") if "sub-01" in text] == ["b", "c", "a"]


def test_a_filter_overrules_the_ranking(dataset):
    folder = "derivatives/seg/sub-01/anat/sub-01"
    dataset.describe("derivatives/seg")
    dataset.touch(T1W, f"{folder}_desc-aseg_dseg.nii.gz", f"{folder}_desc-other_dseg.nii.gz")
    assert find_one(dataset, filters={"dseg": {"desc": "other"}}).labels.name.endswith("other_dseg.nii.gz")
    scan = find_one(dataset, filters={"dseg": {"desc": "third"}})
    assert scan.labels is None
    assert sum(note.count("the filter excludes it") for note in scan.notes) == 2


@pytest.mark.parametrize(
    "name",
    [
        "anat/sub-01_space-MNI152NLin2009cAsym_desc-aseg_dseg.nii.gz",
        "anat/sub-01_desc-tumorNew_dseg.nii.gz",
        "anat/sub-01_seg-lesions_dseg.nii.gz",
        "func/sub-01_task-rest_space-T1w_desc-aseg_dseg.nii.gz",
        "mrs/sub-01_space-T1w_desc-aseg_dseg.nii.gz",
        "anat/sub-01_label-GM_probseg.nii.gz",
    ],
)
def test_maps_of_another_space_purpose_or_grid_are_no_label_maps(dataset, name):
    dataset.describe("derivatives/seg")
    dataset.touch(T1W, f"derivatives/seg/sub-01/{name}")
    assert find_one(dataset).labels is None


@pytest.mark.parametrize("space", ["orig", "T1w"])
def test_maps_in_the_scans_own_space_fit(dataset, space):
    dataset.describe("derivatives/seg")
    dataset.touch(T1W, f"derivatives/seg/sub-01/anat/sub-01_space-{space}_desc-aseg_dseg.nii.gz")
    assert find_one(dataset).labels is not None


def test_the_label_map_follows_session_and_run(dataset):
    dataset.describe("derivatives/seg")
    for n in "12":
        for run in "12":
            name = f"sub-01/ses-{n}/anat/sub-01_ses-{n}_run-{run}"
            dataset.touch(f"{name}_T1w.nii.gz", f"derivatives/seg/{name}_desc-aseg_dseg.nii.gz")
    for scan in find_scans(dataset.select(), "01"):
        assert scan.labels.name == scan.t1w.name.replace("T1w", "desc-aseg_dseg")


def test_a_map_that_names_the_run_comes_before_one_that_does_not(dataset):
    dataset.describe("derivatives/seg")
    dataset.touch("sub-01/anat/sub-01_run-1_T1w.nii.gz")
    folder = "derivatives/seg/sub-01/anat/sub-01"
    dataset.touch(f"{folder}_desc-aseg_dseg.nii.gz", f"{folder}_run-01_desc-other_dseg.nii.gz")
    assert find_one(dataset).labels.name == "sub-01_run-01_desc-other_dseg.nii.gz"


def test_one_map_for_two_runs_is_used_with_a_warning(dataset):
    dataset.describe("derivatives/seg")
    dataset.touch(*(f"sub-01/anat/sub-01_run-{n}_T1w.nii.gz" for n in "12"))
    dataset.touch("derivatives/seg/sub-01/anat/sub-01_desc-aseg_dseg.nii.gz")
    for scan in find_scans(dataset.select(), "01"):
        assert any("serves several scans of sub-01" in note for note in scan.notes)


def test_a_map_without_session_fits_only_a_single_session(dataset):
    dataset.describe("derivatives/seg")
    dataset.touch("derivatives/seg/sub-01/anat/sub-01_desc-aseg_dseg.nii.gz")
    dataset.touch("sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz")
    assert find_one(dataset).labels is not None
    dataset.touch("sub-01/ses-2/anat/sub-01_ses-2_T1w.nii.gz")
    for scan in find_scans(dataset.select(), "01"):
        assert scan.labels is None
        assert any("names no session" in note for note in scan.notes)
    assert find_one(dataset, sessions=("1",)).labels is None


@pytest.mark.parametrize(
    ("entities", "reason"),
    [
        ({}, None),
        ({"run": "1", "ceagent": "gadolinium"}, None),
        ({"session": "2"}, "session 2"),
        ({"acquisition": "hi"}, "acquisition hi"),
        ({"reconstruction": "norm"}, "reconstruction norm"),
        ({"ceagent": "other"}, "ceagent other"),
        ({"run": "02"}, "run 02"),
        ({"space": "MNI152Lin"}, "space-MNI152Lin"),
    ],
)
def test_a_refusal_names_the_entity_that_differs(entities, reason):
    scan = {"session": "1", "ceagent": "gadolinium", "run": "01"}
    found = mismatch(entities, scan, is_only_session=True)
    assert found is None if reason is None else found.endswith(reason)


def test_the_table_beside_or_above_the_map_tells_the_scheme(dataset):
    dataset.describe("derivatives/seg")
    stem = "derivatives/seg/sub-01/anat/sub-01_desc-x_dseg"
    dataset.touch(T1W, f"{stem}.nii.gz")
    assert find_one(dataset).label_scheme is None
    dataset.write("derivatives/seg/desc-x_dseg.tsv", FREESURFER_TABLE)
    dataset.write("derivatives/seg/desc-y_dseg.tsv", OTHER_TABLE)
    assert find_one(dataset).label_scheme == "freesurfer"
    dataset.write(f"{stem}.tsv", OTHER_TABLE)
    assert find_one(dataset).label_scheme == "neuromorphometrics"


def test_a_table_that_decides_nothing_leaves_the_scheme_open(dataset):
    dataset.describe("derivatives/seg")
    dataset.touch(T1W, "derivatives/seg/sub-01/anat/sub-01_dseg.nii.gz")
    dataset.write("derivatives/seg/dseg.tsv", "index\tname\n1\tGM\n2\tWM\n")
    assert find_one(dataset).label_scheme is None


@pytest.mark.parametrize("text", ["code\tname\n1\tx\n", "index\tname\none\tx\n", "index,name\n1,x\n"])
def test_a_malformed_table_is_refused(dataset, text):
    dataset.describe("derivatives/seg")
    dataset.touch(T1W, "derivatives/seg/sub-01/anat/sub-01_dseg.nii.gz")
    dataset.write("derivatives/seg/dseg.tsv", text)
    with pytest.raises(DataError, match=r"dseg.tsv must be a table with the columns index"):
        find_one(dataset)


@pytest.mark.parametrize(
    "folder", ["sourcedata/freesurfer", "derivatives/freesurfer", "derivatives/fastsurfer"]
)
def test_freesurfer_folders_are_found_and_the_parcellated_map_is_taken(dataset, folder):
    tree = f"{folder}/sub-01/mri"
    dataset.touch(T1W, f"{folder}/sub-012/mri/aparc+aseg.mgz", f"{folder}/sub-01_old/mri/aseg.mgz")
    assert find_one(dataset).labels is None
    dataset.touch(f"{tree}/aparc.DKTatlas+aseg.deep.mgz")
    scan = find_one(dataset)
    assert labels_of(scan, dataset) == f"{tree}/aparc.DKTatlas+aseg.deep.mgz"
    assert scan.label_scheme == "freesurfer"
    dataset.touch(f"{tree}/aseg.mgz", f"{tree}/T1.mgz")
    assert labels_of(find_one(dataset), dataset) == f"{tree}/aseg.mgz"
    dataset.touch(f"{tree}/aparc+aseg.mgz")
    assert labels_of(find_one(dataset), dataset) == f"{tree}/aparc+aseg.mgz"


def test_freesurfer_folders_may_be_given_or_lie_inside_a_derivative(dataset):
    dataset.touch(T1W, "fs/sub-01/mri/aseg.mgz")
    assert find_one(dataset, derivatives={"fs": dataset.root / "fs"}).labels is not None
    assert find_one(dataset).labels is None
    dataset.touch("prep/sourcedata/freesurfer/sub-01/mri/aseg.mgz")
    assert find_one(dataset, derivatives={"prep": dataset.root / "prep"}).labels is not None


def test_freesurfer_folders_of_sessions_go_to_their_sessions(dataset):
    for n in "12":
        dataset.touch(f"sub-01/ses-{n}/anat/sub-01_ses-{n}_T1w.nii.gz")
    tree = "sourcedata/freesurfer/sub-01"
    dataset.touch(
        f"{tree}_ses-2/mri/aseg.mgz", f"{tree}/mri/aseg.mgz", f"{tree}_ses-1.long.sub-01/mri/aseg.mgz"
    )
    first, second = find_scans(dataset.select(), "01")
    assert first.labels is None
    assert labels_of(second, dataset) == f"{tree}_ses-2/mri/aseg.mgz"


def test_a_given_folder_that_does_not_exist_is_refused(dataset):
    dataset.touch(T1W)
    with pytest.raises(MissingInputError, match=r"-d seg=.*nowhere does not exist"):
        find_one(dataset, derivatives={"seg": dataset.root / "nowhere"})


def test_a_given_dataset_of_no_use_is_named(dataset):
    dataset.touch(T1W, "a/sub-02/anat/sub-02_label-lesion_mask.nii.gz", "b/sub-01/anat/sub-01_dseg.nii.gz")
    scan = find_one(dataset, derivatives={"a": dataset.root / "a", "b": dataset.root / "b"})
    warnings = [note for note in scan.notes if note.startswith("warning")]
    assert len(warnings) == 1
    assert warnings[0].startswith(f"warning: -d a={dataset.root / 'a'} was given, but holds nothing")


def test_outputs_of_this_app_become_inputs_only_when_given(dataset):
    dataset.touch(T1W, "derivatives/ours/sub-01/anat/sub-01_space-orig_label-lesion_mask.nii.gz")
    ours = dataset.describe("derivatives/ours", maker="MetsAtlas")
    assert find_one(dataset).lesion_mask is None
    assert find_one(dataset, derivatives={"ours": ours}).lesion_mask is not None


@pytest.mark.parametrize("folder", [".", "derivatives/seg"])
@pytest.mark.parametrize(
    ("text", "fault"), [("{", "be a JSON file"), ("[]", "hold a JSON object, got a list")]
)
def test_a_broken_description_is_refused(dataset, folder, text, fault):
    dataset.touch(T1W)
    dataset.write(f"{folder}/dataset_description.json", text)
    with pytest.raises(DataError, match=rf"dataset_description.json must {fault}"):
        find_one(dataset)


def test_a_broken_description_of_a_given_dataset_is_refused(dataset):
    dataset.touch(T1W, "mine/sub-01/anat/sub-01_dseg.nii.gz")
    dataset.write("mine/dataset_description.json", "")
    with pytest.raises(DataError, match=r"mine/dataset_description.json must be a JSON file"):
        find_one(dataset, derivatives={"mine": dataset.root / "mine"})


def test_a_label_map_that_was_not_fetched_is_refused(dataset):
    dataset.describe("derivatives/seg")
    dataset.touch(T1W)
    dataset.link_to_nothing("derivatives/seg/sub-01/anat/sub-01_desc-aseg_dseg.nii.gz")
    with pytest.raises(MissingInputError, match="datalad get"):
        find_one(dataset)
