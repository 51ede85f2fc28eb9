"""A case is gathered only if everything that must be there is there."""

import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmark import cases
from benchmark.cases import (
    Bench,
    CaseSkippedError,
    add_unlabelled,
    calibrated,
    collect_real,
    collect_virtual,
    measure_demo,
    measure_real,
)
from benchmark.running import Ended
from bidsapp.atlas.builtin import NAME as ATLAS
from bidsapp.bids.names import Kind, output_path
from bidsapp.bids.save import save_table
from bidsapp.bids.transforms import write_fixed_to_moving
from bidsapp.demo.dataset import TRUTH_COLUMNS, TRUTH_FOLDER
from bidsapp.errors import DataError
from bidsapp.geometry.space import Space
from bidsapp.lesions.table import LESION_COLUMNS

ENDED = Ended(exit_status=0, wall_seconds=2.0, cpu_seconds=3.0, peak_gib=1.0)
MAKES_BOTH = (
    "demo:\n\tmkdir -p demo/out\n\ttouch demo/out/sub-a.html demo/out/sub-b.html demo/out/group.html\n"
)


def publish(folder: Path, makefile: str) -> Path:
    """Make a repository that holds a Makefile."""
    folder.mkdir()
    (folder / "Makefile").write_text(makefile, encoding="utf-8")
    author = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.org"]
    for command in (["init", "-q"], ["add", "Makefile"], [*author, "commit", "-q", "-m", "start"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


def test_the_demo_runs_in_a_fresh_clone_and_its_pages_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cases, "ROOT", publish(tmp_path / "here", MAKES_BOTH))
    result = measure_demo(Bench(tmp_path))
    assert result["pages"] == {"participant": 2, "group": 1}
    assert not (tmp_path / "here" / "demo").exists()


def test_a_demo_without_a_page_of_the_group_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    makefile = MAKES_BOTH.replace("group.html", "")
    monkeypatch.setattr(cases, "ROOT", publish(tmp_path / "here", makefile))
    with pytest.raises(DataError, match="pages of the participants and the group"):
        measure_demo(Bench(tmp_path))


def test_a_demo_that_ends_badly_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cases, "ROOT", publish(tmp_path / "here", "demo:\n\tfalse\n"))
    with pytest.raises(DataError, match="status 0, got 2: make demo"):
        measure_demo(Bench(tmp_path))


def test_real_scans_that_are_not_there_are_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cases, "SCANS", cases.ROOT.parent / "shared" / "nowhere")
    with pytest.raises(CaseSkippedError, match="no scans at"):
        measure_real(Bench(tmp_path))


def test_scans_without_labels_are_put_beside_the_others(tmp_path: Path) -> None:
    scans, bids = tmp_path / "scans", tmp_path / "bids"
    mask = Path("derivatives", "lesions", "sub-c", "anat", "sub-c_label-lesion_mask.nii.gz")
    for file in (scans / "sub-c" / "anat" / "sub-c_T1w.nii.gz", scans / mask):
        file.parent.mkdir(parents=True)
        file.touch()
    bids.mkdir()
    (scans / "participants.tsv").write_text("participant_id\tsite\nsub-a\tx\nsub-c\ty\n", encoding="utf-8")
    (bids / "participants.tsv").write_text("participant_id\tsite\nsub-a\tx\n", encoding="utf-8")
    add_unlabelled(scans, bids, ["sub-c"])
    assert (bids / "sub-c" / "anat" / "sub-c_T1w.nii.gz").is_file()
    assert (bids / mask).is_file()
    assert (bids / "participants.tsv").read_text(encoding="utf-8") == (
        "participant_id\tsite\nsub-a\tx\nsub-c\ty\n"
    )


@pytest.mark.parametrize(
    ("done", "refused", "wrong"),
    [
        ([], {"sub-c": "must have labels"}, "sub-a"),
        (["sub-a"], {}, "sub-c"),
        (["sub-a"], {"sub-a": "twice?", "sub-c": "must have labels"}, "sub-a"),
    ],
)
def test_labelled_scans_must_be_done_and_the_others_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    done: list[str],
    refused: dict[str, str],
    wrong: str,
) -> None:
    for folder in ("sub-a", "sub-c", "derivatives/segmentation/sub-a"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.setattr(cases, "registration_rows", lambda _: [{"scan": name} for name in done])
    monkeypatch.setattr(cases, "complaints", lambda _: refused)
    with pytest.raises(DataError, match=f"got wrong: {wrong}$"):
        collect_real(tmp_path, tmp_path / "out", ENDED)


def test_errors_of_centres_are_distances_in_the_atlas(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bids, out = tmp_path / "bids", tmp_path / "out"
    native, atlas = np.array([[50.0, 60, 70], [-3, 8, 1]]), np.array([[1.0, 2, 3], [4, 5, 6]])
    oblique = np.array([[1.1, 0.2, 0, 40], [-0.1, 0.9, 0.1, -300], [0, 0, 1.2, 7], [0, 0, 0, 1]])
    space = Space((4, 5, 6), np.eye(4))
    still = np.zeros((3, 4, 5, 6), np.float32)
    path = output_path(out, "01", {}, Kind.FIXED_TO_MOVING, ATLAS)
    write_fixed_to_moving(oblique, still, space, path, ATLAS)
    found = pd.DataFrame(index=range(2), columns=list(LESION_COLUMNS)).assign(
        subject="01", lesion=[1, 2], diameter_mm=5.0, location_error_mm=[0.5, np.nan]
    )
    truth = pd.DataFrame({"participant_id": "sub-01", "session_id": None, "lesion": [1, 2]})
    for axis, name in enumerate("xyz"):
        found[f"native_{name}_mm"] = native[::-1, axis]
        found[f"atlas_{name}_mm"] = atlas[::-1, axis] + (axis == 0) * np.array([0.5, 2.0])
        found[f"point_{name}_mm"] = atlas[::-1, axis]
        truth[f"{name}_mm"], truth[f"atlas_{name}_mm"] = native[:, axis], atlas[:, axis]
    save_table(found, output_path(out, "01", {}, Kind.LESION_METRICS, ATLAS), LESION_COLUMNS)
    save_table(truth.assign(atlas_structure="Putamen"), bids / TRUTH_FOLDER / "lesions.tsv", TRUTH_COLUMNS)
    monkeypatch.setattr(cases, "registration_rows", lambda _: [{"scan": "sub-01"}])
    collected = collect_virtual(bids, out, ENDED)
    assert collected["location"]["n"] == 1
    result = pd.DataFrame(collected["lesions"])
    by_affine = (native - oblique[:3, 3]) @ np.linalg.inv(oblique[:3, :3]).T
    assert result["centre_error_mm"].tolist() == [2.0, 0.5]
    assert result["point_error_mm"].tolist() == [0.0, 0.0]
    np.testing.assert_allclose(
        result["affine_error_mm"], np.linalg.norm(by_affine - atlas, axis=1), atol=1e-3
    )


def test_estimated_errors_are_held_against_true_ones() -> None:
    """Along each axis 2 mm where 1 mm was estimated: the ball of 95 % has a radius of 2.8 mm."""
    true = np.array([2.0, 2.0, 2.0, 4.0]) * np.sqrt(3)
    found = calibrated(true, np.array([1.0, 2.0, np.nan, 4.0]))
    assert found == {
        "n": 3,
        "true_rms_mm": pytest.approx(np.sqrt(8), abs=1e-4),
        "estimated_rms_mm": pytest.approx(np.sqrt(7), abs=1e-4),
        "coverage_95": pytest.approx(2 / 3, abs=1e-4),
    }
    assert calibrated(true, np.full(4, np.nan)) == {"n": 0}
