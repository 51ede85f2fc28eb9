"""--reports-only on a coarse head: the same page again, no other byte changed, and no page out of nothing."""

import hashlib
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bidsapp.atlas.builtin import load_builtin
from bidsapp.bids.find import SubjectFiles
from bidsapp.bids.names import Kind, LogKind, latest_log, output_path
from bidsapp.bids.save import save_structures
from bidsapp.errors import DataError, MissingInputError
from bidsapp.geometry.space import Space
from bidsapp.images.nifti import read_labels, write_volume
from bidsapp.images.volume import Volume
from bidsapp.participant import ParticipantJob
from bidsapp.redraw import DRAWN_AGAIN, redraw_page
from bidsapp.resume import process_unless_done
from bidsapp.settings import RunSettings, Selection

LESIONS = (((-30.0, -20.0, 20.0), 9.0), ((25.0, 15.0, 30.0), 7.0))


def coarse_atlas(folder: Path) -> tuple[Volume, Volume]:
    """Write every fourth voxel of the embedded atlas as an atlas of its own."""
    atlas = load_builtin()
    every = (slice(None, None, 4),) * 3
    labels, template = atlas.labels.data[every].copy(), atlas.template.data[every].astype(np.float32)
    affine = atlas.labels.space.affine @ np.diag([4.0, 4.0, 4.0, 1.0])
    space = Space((labels.shape[0], labels.shape[1], labels.shape[2]), affine)
    write_volume(Volume(template, space), folder / "tpl-Coarse_T1w.nii.gz")
    write_volume(Volume(labels, space), folder / "tpl-Coarse_seg-SegAnat_dseg.nii.gz")
    return Volume(template, space), Volume(labels, space)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> ParticipantJob:
    """One patient, a little larger than the atlas, with two lesions, aligned by a sloppy run."""
    root = tmp_path_factory.mktemp("redraw")
    raw, atlas = root / "bids", root / "atlas"
    (raw / "sub-01").mkdir(parents=True)
    atlas.mkdir()
    template, labels = coarse_atlas(atlas)
    moved = template.space.affine * np.array([[1.05], [1.02], [1.0], [1.0]])
    moved[:3, 3] += (5.0, -3.0, 4.0)
    space = Space(template.space.shape, moved)
    points = space.voxel_centres_mm()
    lesions = np.zeros(len(points), np.uint8)
    for centre, radius in LESIONS:
        lesions[np.linalg.norm(points - np.array(centre), axis=1) < radius] = 1
    lesions = lesions.reshape(space.shape)
    t1w = template.data + template.data.max() * lesions
    paths = [raw / "sub-01" / f"{name}.nii.gz" for name in ("sub-01_T1w", "sub-01_dseg", "sub-01_mask")]
    write_volume(Volume(t1w.astype(np.float32), space), paths[0])
    save_structures(Volume(labels.data, space), paths[1], {})
    write_volume(Volume(lesions, space), paths[2])
    description = {"Name": "<b>two & lesions</b>", "BIDSVersion": "1.10.0"}
    (raw / "dataset_description.json").write_text(json.dumps(description), encoding="utf-8")
    files = SubjectFiles("01", None, {}, paths[0], paths[1], "freesurfer", paths[2], ("a note",))
    settings = RunSettings(
        selection=Selection(bids_dir=raw),
        output_dir=root / "out",
        work_dir=root,
        atlas=atlas,
        sloppy=True,
        command="metsatlas bids out participant",
    )
    job = ParticipantJob(files, settings, "20260213-120000_ab12")
    process_unless_done(job)
    return job


@pytest.fixture
def job(finished: ParticipantJob, tmp_path: Path) -> ParticipantJob:
    """The same with a copy of its results that a test may spoil."""
    out = tmp_path / "out"
    shutil.copytree(finished.settings.output_dir, out)
    return replace(finished, settings=replace(finished.settings, output_dir=out, reports_only=True))


def place(job: ParticipantJob, kind: Kind) -> Path:
    return output_path(job.settings.output_dir, "01", {}, kind, "Coarse")


def checksums(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".html"]
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }


def test_the_page_is_the_same_again_and_no_other_file_is_touched(job: ParticipantJob) -> None:
    page, out = place(job, Kind.REPORT), job.settings.output_dir
    before, first = checksums(out), page.read_text(encoding="utf-8")
    inputs = checksums(job.settings.selection.bids_dir)
    page.unlink()
    redraw_page(job)
    again = page.read_text(encoding="utf-8")
    assert re.search(rf"<dt>{DRAWN_AGAIN}</dt>", again)
    assert re.sub(rf"<dt>{DRAWN_AGAIN}</dt><dd[^\n]*\n", "", again) == first
    assert first.count("data:image/jpeg") >= 8
    assert checksums(out) == before
    assert checksums(job.settings.selection.bids_dir) == inputs


def test_a_page_drawn_again_does_not_make_the_scan_worth_another_run(job: ParticipantJob) -> None:
    redraw_page(job)
    assert process_unless_done(replace(job, run_id="20260214-120000_cd34")).was_up_to_date


def test_without_results_there_is_no_page(job: ParticipantJob, tmp_path: Path) -> None:
    elsewhere = replace(job, settings=replace(job.settings, output_dir=tmp_path / "empty"))
    with pytest.raises(MissingInputError, match=r"sub-01 must have results .* without --reports-only first"):
        redraw_page(elsewhere)
    assert list((tmp_path / "empty").rglob("*.html")) == []


@pytest.mark.parametrize("kind", [Kind.FIXED_TO_MOVING, Kind.WARPED_T1W, Kind.LESION_METRICS])
def test_a_lost_result_is_named(job: ParticipantJob, kind: Kind) -> None:
    place(job, kind).unlink()
    with pytest.raises(MissingInputError, match=f"got 1 missing .*{re.escape(place(job, kind).name)} first"):
        redraw_page(job)


def test_a_mask_that_was_changed_since_is_noticed(job: ParticipantJob, tmp_path: Path) -> None:
    other = tmp_path / "sub-01_mask.nii.gz"
    mask = read_labels(job.files.lesion_mask)
    write_volume(Volume(np.roll(mask.data, 1, axis=0), mask.space), other)
    changed = replace(job, files=replace(job.files, lesion_mask=other))
    with pytest.raises(DataError, match="inputs of sub-01 must be those its results were made from"):
        redraw_page(changed)


def test_another_atlas_is_noticed(job: ParticipantJob) -> None:
    with pytest.raises(DataError, match="'Coarse', got 'MNI152NLin2009aSym'"):
        redraw_page(replace(job, settings=replace(job.settings, atlas=None)))


def test_a_lost_or_spoilt_log_is_named(job: ParticipantJob) -> None:
    log = latest_log(job.settings.output_dir, "01", {}, LogKind.SETTINGS)
    log.write_text("{}", encoding="utf-8")
    with pytest.raises(DataError, match="must tell how the results of sub-01 came about"):
        redraw_page(job)
    log.unlink()
    with pytest.raises(MissingInputError, match="the log of the run"):
        redraw_page(job)


def test_the_log_of_an_earlier_version_tells_of_nothing_suspected(job: ParticipantJob) -> None:
    log = latest_log(job.settings.output_dir, "01", {}, LogKind.SETTINGS)
    choices = json.loads(log.read_text(encoding="utf-8"))
    assert choices["story"]["methods"].pop("suspected_ml") == 0
    choices["story"]["methods"]["lesion_handling"] = "volume"
    log.write_text(json.dumps(choices), encoding="utf-8")
    redraw_page(job)
    page = place(job, Kind.REPORT).read_text(encoding="utf-8")
    assert "no mask steered the alignment; every structure keeps its volume even" in page
    assert "unlike their label" not in page
