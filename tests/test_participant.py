"""The story of one scan, in the parts that need no alignment."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bidsapp.atlas.builtin import load_builtin
from bidsapp.bids.find import SubjectFiles
from bidsapp.bids.load import LoadedSubject
from bidsapp.errors import DataError
from bidsapp.geometry.space import Space
from bidsapp.images.alignment import Alignment
from bidsapp.images.volume import Volume
from bidsapp.lesions.handling import guide
from bidsapp.participant import (
    ParticipantJob,
    _handled,
    _lesion_handling,
    _relative,
    _source,
    find_scan_lesions,
    healthy_brain,
    process_participant,
    repeated,
    tell_story,
    warp,
)
from bidsapp.settings import RunSettings, Selection
from tests.lesions.conftest import BareAtlas

SPACE = Space(
    (4, 5, 6), np.array([[0.0, -1.5, 0.1, 7.0], [1.1, 0.0, 0.0, -4.0], [0.1, 0.0, 2.0, 3.0], [0, 0, 0, 1.0]])
)
RAW, MASKS = Path("/data/raw"), Path("/data/masks")


def job(labels: Path | None = None) -> ParticipantJob:
    files = SubjectFiles(
        subject="01",
        session=None,
        entities={},
        t1w=RAW / "sub-01" / "anat" / "sub-01_T1w.nii.gz",
        labels=labels,
        label_scheme="freesurfer",
        lesion_mask=None,
        notes=("looked in raw",),
    )
    selection = Selection(bids_dir=RAW, derivatives={"masks": MASKS})
    settings = RunSettings(selection=selection, output_dir=Path("/out"), work_dir=Path("/scratch"))
    return ParticipantJob(files=files, settings=settings, run_id="run")


def subject(mask: np.ndarray | None) -> LoadedSubject:
    labels = np.full(SPACE.shape, 3, np.uint8)
    labels[0] = 0
    labels[2, 2, 2] = 0  # the hole that a segmentation tool leaves at a tumour
    t1w = Volume(np.arange(120, dtype=np.float32).reshape(SPACE.shape), SPACE)
    lesions = None if mask is None else Volume(mask, SPACE)
    kind = "none" if mask is None else "binary"
    return LoadedSubject(job().files, t1w, Volume(labels, SPACE), {}, lesions, kind, ())


def one_lesion() -> np.ndarray:
    mask = np.zeros(SPACE.shape, bool)
    mask[2, 2, 2] = True
    return mask


def stay() -> Alignment:
    still = np.zeros((3, *SPACE.shape), np.float32)
    return Alignment(np.eye(4), SPACE, still, still)


def test_a_scan_without_label_map_is_refused_before_anything_is_written():
    with pytest.raises(DataError, match="must have an anatomical label map"):
        process_participant(job())


def test_the_hole_at_a_tumour_takes_the_name_of_its_surroundings():
    assert healthy_brain(subject(one_lesion())).data[2, 2, 2] == 3
    assert healthy_brain(subject(None)).data[2, 2, 2] == 0


def test_a_scan_without_mask_has_no_lesions():
    without = subject(None)
    assert find_scan_lesions(without, healthy_brain(without)).lesions == ()


def test_under_an_alignment_that_moves_nothing_everything_stays():
    patient = subject(one_lesion())
    scan = find_scan_lesions(patient, healthy_brain(patient))
    warped = warp(patient, scan, stay(), BareAtlas(template=patient.t1w))
    inner = (slice(1, -1),) * 3  # a border voxel may be rounded out of the grid
    np.testing.assert_allclose(warped.t1w.data[inner], patient.t1w.data[inner], atol=1e-3)
    np.testing.assert_array_equal(warped.labels.data[inner], patient.labels.data[inner])
    np.testing.assert_array_equal(warped.lesions.data, one_lesion())
    np.testing.assert_array_equal(warped.affine_labels.data, warped.labels.data)


def test_nothing_is_warped_where_there_is_no_lesion():
    patient = subject(None)
    warped = warp(
        patient, find_scan_lesions(patient, patient.labels), stay(), BareAtlas(template=patient.t1w)
    )
    assert warped.lesions is None
    assert warped.affine_lesions is None


def test_repeats_are_as_many_as_asked_for_and_start_elsewhere(monkeypatch: pytest.MonkeyPatch):
    starts = []

    def note_start(fixed, moving, start, settings, **options):
        starts.append(start)
        return stay()

    monkeypatch.setattr("bidsapp.aligning.align_deformable", note_start)
    patient = subject(one_lesion())
    atlas = BareAtlas(template=patient.t1w, labels=patient.labels)
    for n in (0, 2):
        settings = replace(job().settings, location_ensemble=n, random_seed=5)
        assert len(list(repeated(patient, guide(patient.labels, None, "none"), stay(), atlas, settings))) == n
    assert not np.allclose(starts[0], starts[1])
    assert np.abs(starts[0] - np.eye(4)).max() < 5


def test_inputs_are_named_by_the_dataset_they_come_from():
    assert _source(job(), RAW / "sub-01" / "a.nii") == "bids:raw:sub-01/a.nii"
    assert _source(job(), MASKS / "sub-01" / "a.nii") == "bids:masks:sub-01/a.nii"
    assert _relative(RAW / "sub-01" / "a.nii", RAW) == "sub-01/a.nii"
    assert _relative(MASKS / "sub-01" / "a.nii", RAW) == "a.nii"


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ("mask", {"Method": "mask", "Mask": "bids:masks:sub-01/mask.nii"}),
        ("volume", {"Method": "volume", "SuspectedVolumeMl": 0.01}),
        ("none", {"Method": "none"}),
    ],
)
def test_a_sidecar_tells_by_which_mask_or_how_much_was_suspected(wanted: str, told: dict[str, object]):
    files = replace(job().files, lesion_mask=MASKS / "sub-01" / "mask.nii")
    guided = guide(subject(None).labels, Volume(one_lesion(), SPACE), wanted)
    if wanted == "volume":
        three_voxels = np.zeros(SPACE.shape, np.uint8)
        three_voxels[2, 2, 1:4] = 1  # 3.3 mm3 each
        guided = replace(guided, lesions=Volume(three_voxels, SPACE))
    assert _lesion_handling(replace(job(), files=files), guided) == told


def test_a_sidecar_says_so_if_nothing_was_suspected():
    guided = guide(subject(None).labels, None, "auto")
    assert _lesion_handling(job(), guided) == {"Method": "volume", "SuspectedVolumeMl": 0.0}


@pytest.mark.parametrize(("objective", "levels"), [("overlap", True), ("paper", False)])
def test_a_story_tells_whether_lesions_were_levelled(objective: str, levels: bool):
    run = job()
    run = replace(run, settings=replace(run.settings, objective=objective))
    told = tell_story(run, guide(subject(None).labels, None, "auto"), load_builtin(), 7, 8.0)
    assert told.methods["levels_lesions"] is levels


def test_the_page_tells_how_much_was_suspected_if_the_run_has_told():
    assert "; 123 ml that are unlike" in _handled({"lesion_handling": "volume", "suspected_ml": 123.4})
    assert "; 0.02 ml that are unlike" in _handled({"lesion_handling": "volume", "suspected_ml": 0.02})
    assert "unlike" not in _handled({"lesion_handling": "volume"})
    assert "unlike" not in _handled({"lesion_handling": "mask", "suspected_ml": 0.0})
