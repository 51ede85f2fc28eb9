import pickle
import time

import pytest

from bidsapp.bids.candidates import passes
from bidsapp.bids.find import find_participants, find_scans
from bidsapp.errors import DataError, MissingInputError, SelectionError, UsageError

T1W = "sub-01/anat/sub-01_T1w.nii.gz"


def names(scans):
    return [scan.t1w.name for scan in scans]


def test_participants_are_all_folders_in_order(dataset):
    dataset.touch("sub-b2/anat/x", "sub-01/anat/x", "sub-03.html", "sub-not_a_label/x")
    assert find_participants(dataset.select()) == ("01", "b2")


def test_labels_may_carry_their_prefix_and_repeat(dataset):
    dataset.touch("sub-01/anat/x", "sub-02/anat/x", "sub-03/anat/x")
    assert find_participants(dataset.select(participants=("sub-02", "01", "02"))) == ("01", "02")


def test_an_unknown_participant_is_refused_with_the_mount_hint(dataset):
    dataset.touch("sub-01/anat/x")
    with pytest.raises(MissingInputError, match=r"sub-07, got 1 other participants \(01\).*mounted"):
        find_participants(dataset.select(participants=("01", "07")))


def test_a_dataset_without_participants_is_refused(dataset):
    with pytest.raises(MissingInputError, match="must hold folders named sub-<label>, got 0"):
        find_participants(dataset.select())


def test_a_missing_dataset_is_refused(dataset):
    dataset = type(dataset)(dataset.root / "nowhere")
    with pytest.raises(MissingInputError, match="does not exist"):
        find_participants(dataset.select())


@pytest.mark.parametrize("label", ["../01", "01/anat", "", "sub-", "*", "0 1", "01_ses-1"])
def test_a_label_that_is_a_path_or_pattern_is_refused(dataset, label):
    dataset.touch(T1W)
    with pytest.raises(UsageError, match="letters and digits only"):
        find_participants(dataset.select(participants=(label,)))
    with pytest.raises(UsageError, match="letters and digits only"):
        find_scans(dataset.select(), label)
    with pytest.raises(UsageError, match="letters and digits only"):
        find_scans(dataset.select(sessions=(label.replace("sub-", "ses-"),)), "01")


def test_a_plain_scan_has_no_session_and_no_entities(dataset):
    dataset.touch(T1W, "sub-010/anat/sub-010_T1w.nii.gz")
    (scan,) = find_scans(dataset.select(), "sub-01")
    assert (scan.subject, scan.session, scan.entities, scan.t1w) == ("01", None, {}, dataset.root / T1W)
    assert (scan.labels, scan.label_scheme, scan.lesion_mask) == (None, None, None)
    assert scan.notes == ("label map: none found", "lesion mask: none found")


def test_scans_travel_between_processes(dataset):
    dataset.touch(T1W)
    scans = find_scans(dataset.select(), "01")
    assert pickle.loads(pickle.dumps(scans)) == scans  # noqa: S301 - our own bytes


def test_each_session_run_acquisition_and_reconstruction_is_a_scan(dataset):
    dataset.touch(
        "sub-01/ses-02/anat/sub-01_ses-02_T1w.nii",
        "sub-01/ses-01/anat/sub-01_ses-01_run-02_T1w.nii.gz",
        "sub-01/ses-01/anat/sub-01_ses-01_run-01_T1w.nii.gz",
        "sub-01/ses-01/anat/sub-01_ses-01_acq-hi_rec-norm_run-1_T1w.nii.gz",
    )
    scans = find_scans(dataset.select(), "01")
    assert [(scan.session, dict(scan.entities)) for scan in scans] == [
        ("01", {"ses": "01", "acq": "hi", "rec": "norm", "run": "1"}),
        ("01", {"ses": "01", "run": "01"}),
        ("01", {"ses": "01", "run": "02"}),
        ("02", {"ses": "02"}),
    ]
    assert list(scans[0].entities) == ["ses", "acq", "rec", "run"]


def test_images_that_are_no_magnitude_t1w_in_anat_are_no_scans(dataset):
    dataset.touch(
        T1W,
        "sub-01/anat/sub-01_part-phase_T1w.nii.gz",
        "sub-01/anat/sub-01_T2w.nii.gz",
        "sub-01/anat/sub-01_T1w.json",
        "sub-01/anat/sub-01_mod-T1w_defacemask.nii.gz",
        "sub-01/fmap/sub-01_acq-b1_T1w.nii.gz",
        "sub-01/mrs/sub-01_acq-mrs_T1w.nii.gz",
        "sub-01/old/sub-01_acq-old_T1w.nii.gz",
    )
    assert names(find_scans(dataset.select(), "01")) == ["sub-01_T1w.nii.gz"]


def test_contrast_agent_is_preferred_within_its_session_only(dataset):
    dataset.touch(
        "sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz",
        "sub-01/ses-1/anat/sub-01_ses-1_ce-gadolinium_T1w.nii.gz",
        "sub-01/ses-2/anat/sub-01_ses-2_T1w.nii.gz",
    )
    scans = find_scans(dataset.select(), "01")
    assert names(scans) == ["sub-01_ses-1_ce-gadolinium_T1w.nii.gz", "sub-01_ses-2_T1w.nii.gz"]
    assert "left aside: sub-01_ses-1_T1w.nii.gz" in scans[0].notes[0]
    assert not any("left aside" in note for note in scans[1].notes)


def test_a_filter_brings_the_plain_scan_back(dataset):
    dataset.touch(T1W, "sub-01/anat/sub-01_ce-gadolinium_T1w.nii.gz")
    plain = dataset.select(filters={"t1w": {"ceagent": None}, "bold": {"nonsense": 1}})
    assert names(find_scans(plain, "01")) == ["sub-01_T1w.nii.gz"]


def test_sessions_narrow_with_and_without_prefix(dataset):
    dataset.touch(*(f"sub-01/ses-{n}/anat/sub-01_ses-{n}_T1w.nii.gz" for n in "123"))
    scans = find_scans(dataset.select(sessions=("ses-3", "1", "9")), "01")
    assert [scan.session for scan in scans] == ["1", "3"]


def test_a_session_the_participant_lacks_is_refused(dataset):
    dataset.touch("sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz")
    with pytest.raises(SelectionError, match="in session 2, got ses-1: change --session-label"):
        find_scans(dataset.select(sessions=("2",)), "01")


def test_a_session_of_a_dataset_without_sessions_is_refused(dataset):
    dataset.touch(T1W)
    with pytest.raises(SelectionError, match="no sessions at all"):
        find_scans(dataset.select(sessions=("2",)), "01")


def test_a_participant_without_t1w_is_refused(dataset):
    dataset.touch("sub-01/anat/sub-01_T2w.nii.gz")
    with pytest.raises(MissingInputError, match="sub-01 must have a T1w scan"):
        find_scans(dataset.select(), "01")


def test_a_filter_that_excludes_every_t1w_is_refused(dataset):
    dataset.touch(T1W)
    with pytest.raises(SelectionError, match=r"excludes each of the 1 T1w .*widen --bids-filter-file"):
        find_scans(dataset.select(filters={"t1w": {"run": "*"}}), "01")


def test_two_scans_whose_results_would_share_a_name_are_refused_unless_one_is_chosen(dataset):
    dataset.touch("sub-01/anat/sub-01_desc-a_T1w.nii.gz", "sub-01/anat/sub-01_desc-b_T1w.nii.gz")
    with pytest.raises(DataError, match="results would share a name"):
        find_scans(dataset.select(), "01")
    (scan,) = find_scans(dataset.select(filters={"t1w": {"desc": "a"}}), "01")
    assert scan.t1w.name == "sub-01_desc-a_T1w.nii.gz"


def test_an_image_that_lies_in_a_template_already_is_no_scan(dataset):
    dataset.touch(T1W, "sub-01/anat/sub-01_space-MNI152NLin2009cAsym_res-2_desc-preproc_T1w.nii.gz")
    (scan,) = find_scans(dataset.select(), "01")
    assert "space-" not in scan.t1w.name


def test_folders_with_labels_that_bids_forbids_are_named(dataset, caplog):
    dataset.touch(T1W, "sub-02-03/anat/sub-02-03_T1w.nii.gz")
    assert find_participants(dataset.select()) == ("01",)
    assert "sub-02-03" in caplog.text


def test_the_same_scan_in_two_formats_is_refused(dataset):
    dataset.touch(T1W, T1W.removesuffix(".gz"))
    with pytest.raises(DataError, match=r"are the same scan, or .*keep one"):
        find_scans(dataset.select(), "01")


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, True),
        ({"run": 1}, True),
        ({"run": "001"}, True),
        ({"run": [2, 1]}, True),
        ({"run": [2, 3]}, False),
        ({"run": None}, False),
        ({"run": "*"}, True),
        ({"ses": "pre", "acq": None}, True),
        ({"session": "ses-pre"}, True),
        ({"session": "PRE"}, False),
        ({"acquisition": "*"}, False),
        ({"acquisition": [None, "hi"]}, True),
    ],
)
def test_a_filter_compares_entity_by_entity(wanted, expected):
    assert passes({"run": "01", "session": "pre"}, wanted) is expected


def test_a_filter_with_an_unknown_entity_is_refused(dataset):
    dataset.touch(T1W)
    with pytest.raises(UsageError, match="got 'sesion'"):
        find_scans(dataset.select(filters={"t1w": {"sesion": "1"}}), "01")


def test_links_to_nothing_matter_only_for_wanted_files(dataset):
    dataset.link_to_nothing("sub-02/anat/sub-02_T1w.nii.gz")
    dataset.link_to_nothing("sub-01/anat/sub-01_T2w.nii.gz")
    dataset.touch(T1W)
    assert len(find_scans(dataset.select(), "01")) == 1
    with pytest.raises(MissingInputError, match=r"sub-02_T1w.nii.gz is a link to nothing: .*datalad get"):
        find_scans(dataset.select(), "02")


def test_time_does_not_grow_with_the_number_of_participants(dataset):
    for n in range(3000):
        (dataset.root / f"sub-{n:04d}" / "anat").mkdir(parents=True)
        (dataset.root / "derivatives" / "seg" / f"sub-{n:04d}" / "anat").mkdir(parents=True)
    dataset.describe("derivatives/seg")
    dataset.touch("sub-1234/anat/sub-1234_T1w.nii.gz")
    start = time.process_time()
    assert len(find_participants(dataset.select())) == 3000
    assert len(find_scans(dataset.select(), "1234")) == 1
    assert time.process_time() - start < 2
