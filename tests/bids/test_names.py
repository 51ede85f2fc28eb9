"""Names: one scan, one kind, one path, and no way out of the output folder."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bidsapp.bids.names import (
    SOURCE_ENTITIES,
    Kind,
    LogKind,
    bids_uri,
    find_outputs,
    group_map_path,
    group_path,
    group_report_path,
    latest_log,
    log_path,
    lookup_path,
    output_path,
    parse_scan,
    scan_name,
    sidecar_path,
)
from bidsapp.errors import DataError

SPACE = "MNI152NLin2009aSym"
LABELS = st.text("abcXYZ019+", min_size=1, max_size=4)
SCANS = st.tuples(LABELS, st.dictionaries(st.sampled_from(SOURCE_ENTITIES), LABELS))


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (Kind.WARPED_T1W, "anat/{scan}_space-{space}_res-1_T1w.nii.gz"),
        (Kind.STRUCTURES, "anat/{scan}_space-{space}_seg-SegAnat_res-1_dseg.nii.gz"),
        (Kind.LESION_MASK, "anat/{scan}_space-{space}_res-1_label-lesion_mask.nii.gz"),
        (Kind.LESION_INSTANCES, "anat/{scan}_space-{space}_seg-lesions_res-1_dseg.nii.gz"),
        (Kind.NATIVE_LESION_MASK, "anat/{scan}_space-orig_label-lesion_mask.nii.gz"),
        (Kind.FIXED_TO_MOVING, "anat/{scan}_from-T1w_to-{space}_mode-image_xfm.h5"),
        (Kind.MOVING_TO_FIXED, "anat/{scan}_from-{space}_to-T1w_mode-image_xfm.h5"),
        (Kind.JACOBIAN, "anat/{scan}_from-T1w_to-{space}_mode-image_desc-jacobian_xfm.nii.gz"),
        (Kind.REGISTRATION_METRICS, "anat/{scan}_desc-registration_metrics.tsv"),
        (Kind.STRUCTURE_METRICS, "anat/{scan}_desc-structures_metrics.tsv"),
        (Kind.LESION_METRICS, "anat/{scan}_desc-lesions_metrics.tsv"),
        (Kind.CONVERGENCE_METRICS, "anat/{scan}_desc-convergence_metrics.tsv"),
    ],
)
def test_every_kind_keeps_the_source_entities_in_front(kind, name):
    scan = "sub-01_ses-02_ce-gadolinium_run-1"
    expected = Path("out/sub-01/ses-02") / name.format(scan=scan, space=SPACE)
    assert (
        output_path(Path("out"), "01", {"run": "1", "ce": "gadolinium", "ses": "02"}, kind, SPACE) == expected
    )


def test_reports_and_logs_have_their_place():
    out, entities = Path("out"), {"ses": "02"}
    assert output_path(out, "01", entities, Kind.REPORT, SPACE) == out / "sub-01_ses-02.html"
    settings = log_path(out, "01", entities, LogKind.SETTINGS, "20260101-000000_ab-c")
    assert settings == out / "sub-01/log/20260101-000000_ab-c/sub-01_ses-02_settings.json"
    assert group_report_path(out) == out / "group.html"
    assert group_path(out, "regions") == out / "group/regions.tsv"
    probability = group_map_path(out, SPACE, "frequency")
    assert probability == out / f"tpl-{SPACE}/anat/tpl-{SPACE}_res-1_label-L_desc-frequency_probseg.nii.gz"


def test_an_image_its_sidecar_and_its_lookup_table_share_a_stem():
    image = Path("sub-01/anat/sub-01_seg-SegAnat_dseg.nii.gz")
    assert sidecar_path(image) == Path("sub-01/anat/sub-01_seg-SegAnat_dseg.json")
    assert lookup_path(image) == Path("sub-01/anat/sub-01_seg-SegAnat_dseg.tsv")


def test_no_two_kinds_share_a_path_or_a_sidecar():
    paths = [output_path(Path("out"), "01", {}, kind, SPACE) for kind in Kind]
    assert len({sidecar_path(path) for path in paths}) == len(Kind)


@given(SCANS, SCANS, st.sampled_from(Kind), st.sampled_from(Kind))
def test_two_scans_never_share_a_name(first, second, kind_a, kind_b):
    path_a = output_path(Path("out"), *first, kind_a, SPACE)
    path_b = output_path(Path("out"), *second, kind_b, SPACE)
    assert (path_a == path_b) == (first == second and kind_a is kind_b)


@given(SCANS, st.sampled_from(Kind))
def test_a_scan_is_read_back_from_any_of_its_names(scan, kind):
    subject, entities = parse_scan(output_path(Path("out"), *scan, kind, SPACE))
    assert (subject, dict(entities)) == scan


@given(st.text(min_size=1, max_size=8))
def test_no_label_leaves_the_output_folder(label):
    try:
        path = output_path(Path("out"), label, {"ses": label}, Kind.REPORT, SPACE)
    except DataError:
        return
    assert path.parent == Path("out")
    assert label.isascii()


@pytest.mark.parametrize(
    "label", ["", "..", "a/b", "a\\b", "a_b", "a-b", "a b", "01\n", "é", "*", "\u0661", "a.b"]
)
def test_a_label_with_a_path_trick_is_refused(label):
    with pytest.raises(DataError, match="letters, digits"):
        scan_name(label, {})
    with pytest.raises(DataError, match="label of acq"):
        scan_name("01", {"acq": label})
    with pytest.raises(DataError, match="label of space"):
        output_path(Path("out"), "01", {}, Kind.REPORT, label)
    with pytest.raises(DataError, match="letters, digits"):
        group_path(Path("out"), f"x_{label}/..")
    with pytest.raises(DataError, match="label of desc"):
        group_map_path(Path("out"), SPACE, label)


def test_an_entity_that_cannot_be_kept_is_refused_rather_than_dropped():
    with pytest.raises(DataError, match="got chunk: rename the scan"):
        scan_name("01", {"run": "1", "chunk": "2"})


@pytest.mark.parametrize("space", ["T1w", "orig"])
def test_an_atlas_called_like_the_patient_is_refused(space):
    with pytest.raises(DataError, match="must not be called like the patient's own space"):
        output_path(Path("out"), "01", {}, Kind.FIXED_TO_MOVING, space)


@pytest.mark.parametrize("run_id", ["", "../x", "a b", "."])
def test_a_run_id_with_a_path_trick_is_refused(run_id):
    with pytest.raises(DataError, match="a run id must be"):
        log_path(Path("out"), "01", {}, LogKind.STATUS, run_id)


def test_outputs_are_found_in_subject_and_session_folders(tmp_path):
    scans = [("02", {"ses": "1"}), ("01", {}), ("01", {"run": "2"})]
    for kind in (Kind.LESION_MASK, Kind.LESION_METRICS, Kind.REPORT):
        paths = [output_path(tmp_path, *scan, kind, SPACE) for scan in scans]
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        assert find_outputs(tmp_path, kind, SPACE) == tuple(sorted(paths))
    assert find_outputs(tmp_path, Kind.LESION_MASK, "Other") == ()


def test_the_newest_run_answers_for_the_right_scan(tmp_path):
    assert latest_log(tmp_path, "01", {}, LogKind.STATUS) is None
    older, newer, other = (
        log_path(tmp_path, "01", entities, LogKind.STATUS, run_id)
        for run_id, entities in [
            ("20260101-000000_f", {}),
            ("20260102-000000_a", {}),
            ("20260103_b", {"run": "1"}),
        ]
    )
    for path in (newer, older, other):
        path.parent.mkdir(parents=True)
        path.touch()
    assert latest_log(tmp_path, "01", {}, LogKind.STATUS) == newer
    assert latest_log(tmp_path, "01", {"run": "1"}, LogKind.STATUS) == other


def test_a_source_outside_its_dataset_is_refused():
    with pytest.raises(DataError, match="must lie inside the raw dataset"):
        bids_uri("raw", Path("/data"), Path("/other/sub-01_T1w.nii.gz"))


def test_a_name_without_a_subject_is_refused():
    with pytest.raises(DataError, match="must start with sub-<label>"):
        parse_scan(Path("tpl-MNI_T1w.nii.gz"))
