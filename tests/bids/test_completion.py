"""A scan is done when all files are there, made from the same inputs by the same settings and version."""

import json
from pathlib import Path

import pytest

from bidsapp.bids import completion
from bidsapp.bids.completion import describe_recipe, mark_done, sweep_group, why_not_done, withdraw
from bidsapp.bids.find import SubjectFiles
from bidsapp.bids.names import Kind, output_path, sidecar_path
from bidsapp.bids.save import save_text

SPACE = "MNI152NLin2009aSym"
CHOICES = {"sloppy": True, "folder": Path("/a"), "weights": (1.0, 2.0)}


@pytest.fixture
def files(tmp_path: Path) -> SubjectFiles:
    paths = [tmp_path / "in" / f"sub-01_{suffix}.nii.gz" for suffix in ("T1w", "dseg", "mask")]
    for path in paths:
        save_text(path.name, path)
    return SubjectFiles("01", None, {"run": "2"}, paths[0], paths[1], "freesurfer", paths[2], ())


@pytest.fixture
def out(tmp_path: Path, files: SubjectFiles) -> Path:
    """A scan that is done."""
    out = tmp_path / "out"
    write_outputs(out)
    mark_done(out, "01", {"run": "2"}, SPACE, {"recipe": describe_recipe(files, CHOICES)}, "run1")
    return out


def write_outputs(out: Path) -> None:
    for kind in (Kind.WARPED_T1W, Kind.LESION_METRICS, Kind.REPORT):
        save_text("held", output_path(out, "01", {"run": "2"}, kind, SPACE))
    save_text("{}", sidecar_path(output_path(out, "01", {"run": "2"}, Kind.WARPED_T1W, SPACE)))


def why(out: Path, files: SubjectFiles, choices: object = CHOICES) -> str:
    return why_not_done(out, "01", {"run": "2"}, describe_recipe(files, choices))


def test_a_scan_without_results_is_not_done(tmp_path: Path, files: SubjectFiles) -> None:
    assert why(tmp_path / "out", files) == "it has no results yet"


def test_a_scan_is_done_while_nothing_changes(out: Path, files: SubjectFiles) -> None:
    assert why(out, files) == ""
    assert why_not_done(out, "01", {"run": "1"}, describe_recipe(files, CHOICES)) == "it has no results yet"


@pytest.mark.parametrize("name", ["t1w", "labels", "lesion_mask"])
def test_another_content_of_any_input_counts(out: Path, files: SubjectFiles, name: str) -> None:
    path = getattr(files, name)
    before = path.stat()
    path.write_text(path.read_text()[::-1])
    assert path.stat().st_size == before.st_size
    assert why(out, files) == "its results are from other inputs"


def test_a_sidecar_counts_as_input(out: Path, files: SubjectFiles) -> None:
    save_text("index\tname\n", files.t1w.with_name("sub-01_dseg.tsv"))
    assert why(out, files) == "its results are from other inputs"


def test_where_the_inputs_lie_does_not_count(out: Path, files: SubjectFiles, tmp_path: Path) -> None:
    (tmp_path / "in").rename(tmp_path / "moved")
    moved = [tmp_path / "moved" / path.name for path in (files.t1w, files.labels, files.lesion_mask) if path]
    assert why(out, SubjectFiles("01", None, {}, moved[0], moved[1], "freesurfer", moved[2], ())) == ""


def test_other_settings_count(out: Path, files: SubjectFiles) -> None:
    assert why(out, files, CHOICES | {"sloppy": False}) == "its results are from other settings"


def test_another_version_counts(out: Path, files: SubjectFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completion, "app_version", lambda: "99.0")
    assert why(out, files) == "its results are from another version of the app"


@pytest.mark.parametrize("is_cut", [True, False])
def test_a_result_that_is_cut_or_gone_counts(out: Path, files: SubjectFiles, *, is_cut: bool) -> None:
    table = output_path(out, "01", {"run": "2"}, Kind.LESION_METRICS, SPACE)
    if is_cut:
        table.write_text("he")
    else:
        table.unlink()
    assert "1 of its results are missing, ['sub-01/anat/sub-01_run-2_desc-lesions" in why(out, files)


def test_a_page_counts_if_it_is_gone_but_not_if_it_was_drawn_again(out: Path, files: SubjectFiles) -> None:
    page = output_path(out, "01", {"run": "2"}, Kind.REPORT, SPACE)
    page.write_text("the same page, drawn by another version")
    assert why(out, files) == ""
    page.unlink()
    assert "1 of its results are missing, ['sub-01_run-2.html'] first" in why(out, files)


@pytest.mark.parametrize("text", ["", "[]", '{"status": "done"}', '{"status": "done", "recipe": 1}'])
def test_a_damaged_or_older_status_counts_as_none(out: Path, files: SubjectFiles, text: str) -> None:
    next(out.rglob("*_status.json")).write_text(text)
    assert why(out, files) == "it has no results yet"


def test_what_is_withdrawn_is_gone_and_no_other_scans_files_are(out: Path, files: SubjectFiles) -> None:
    others = [
        output_path(out, "01", entities, kind, SPACE)
        for entities in ({}, {"run": "1"}, {"run": "2", "echo": "1"})
        for kind in (Kind.WARPED_T1W, Kind.REPORT)
    ]
    for path in others:
        save_text("another scan", path)
        save_text("being written", path.with_name(f".0123456789ab_{path.name}"))
    halves = [
        path.with_name(f".ba9876543210_{path.name}")
        for path in out.rglob("*run-2*")
        if path.is_file() and "echo" not in path.name and not path.name.startswith(".")
    ]
    for path in halves:
        path.write_text("half")
    withdraw(out, "01", {"run": "2"}, SPACE)
    left = {path for path in out.rglob("*") if path.is_file()}
    status = next(out.rglob("*_status.json"))
    assert left == {status, *others, *(path.with_name(f".0123456789ab_{path.name}") for path in others)}
    assert json.loads(status.read_text())["status"] == "withdrawn"
    assert why(out, files) == "it has no results yet"


def test_old_results_do_not_come_back_as_done_after_other_settings_were_tried(
    out: Path, files: SubjectFiles
) -> None:
    withdraw(out, "01", {"run": "2"}, SPACE)  # a run with other settings, killed at the end of its work
    write_outputs(out)
    assert why(out, files) == "it has no results yet"


def test_halves_of_the_group_are_swept(tmp_path: Path) -> None:
    for path in (tmp_path / "group.html", tmp_path / "group" / "lesions.tsv", tmp_path / "sub-01.html"):
        save_text("half", path.with_name(f".0123456789ab_{path.name}"))
    sweep_group(tmp_path)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [".0123456789ab_sub-01.html"]
