from pathlib import Path

import pytest

from bidsapp.bids.find import find_participants, find_scans
from bidsapp.bids.load import fraction_inside, load_lesion_mask, load_subject
from bidsapp.bids.validate import validate_dataset
from bidsapp.errors import DataError
from bidsapp.images.nifti import read_volume
from bidsapp.settings import Selection

SCANS = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "scans"

pytestmark = pytest.mark.skipif(
    not SCANS.is_dir(), reason="the real scans are not at hand (shared/data/scans)"
)


@pytest.fixture(scope="module")
def selection():
    return Selection(bids_dir=SCANS)


def test_the_dataset_is_valid():
    validate_dataset(SCANS)


def test_every_participant_has_one_scan_and_what_belongs_to_it(selection):
    participants = find_participants(selection)
    assert len(participants) == 24
    scans = {participant: find_scans(selection, participant) for participant in participants}
    assert {len(found) for found in scans.values()} == {1}
    healthy = [found[0] for participant, found in scans.items() if participant.startswith("oasis")]
    assert {scan.labels.name.split("_")[1] for scan in healthy} == {"desc-aseg"}
    assert {scan.label_scheme for scan in healthy} == {"freesurfer"}
    assert {scan.lesion_mask for scan in healthy} == {None}
    ill = [found[0] for participant, found in scans.items() if not participant.startswith("oasis")]
    assert {dict(scan.entities)["ce"] for scan in ill} == {"gadolinium"}
    assert {scan.lesion_mask.parents[2].name for scan in ill} == {"lesions"}


def test_the_metastasis_is_seen_on_the_contrast_enhanced_scan(selection):
    (scan,) = find_scans(selection, "met110")
    assert scan.t1w.name == "sub-met110_ce-gadolinium_T1w.nii.gz"
    assert any("left aside: sub-met110_T1w.nii.gz" in note for note in scan.notes)
    with pytest.raises(DataError, match="must have an anatomical label map"):
        load_subject(scan)


@pytest.mark.parametrize("description", ["aseg", "neuromorphometrics"])
def test_manual_labels_of_either_scheme_are_loaded(description):
    wanted = Selection(bids_dir=SCANS, filters={"dseg": {"desc": description}})
    (scan,) = find_scans(wanted, "oasis1000")
    assert f"desc-{description}_" in scan.labels.name
    subject = load_subject(scan)
    assert subject.labels.space.matches(subject.t1w.space)
    assert subject.labels.data.max() <= 34
    assert len(set(subject.labels.data[subject.labels.data > 0])) >= 30
    assert subject.warnings == ()


@pytest.mark.parametrize("participant", ["met110", "gli003", "gli005", "gli006", "thick1"])
def test_tumour_masks_are_binary_and_lie_in_their_scan(selection, participant):
    (scan,) = find_scans(selection, participant)
    mask, kind, warnings = load_lesion_mask(scan.lesion_mask)
    assert (kind, warnings) == ("binary", ())
    assert fraction_inside(mask, read_volume(scan.t1w)) == 1.0
