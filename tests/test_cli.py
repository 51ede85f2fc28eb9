import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from bidsapp import cli
from bidsapp.bids.find import SubjectFiles
from bidsapp.bids.names import Kind, LogKind, log_path, output_path
from bidsapp.errors import (
    DataError,
    MissingInputError,
    OutputError,
    ReadWriteError,
    TemporaryError,
    ValidationError,
)
from bidsapp.settings import RunSettings

Main = Callable[..., int]


@dataclass(frozen=True)
class ParticipantJob:
    files: SubjectFiles
    settings: RunSettings
    run_id: str


@pytest.fixture(autouse=True)
def _own_environment(tmp_path: Path) -> Iterator[None]:
    """The app sets threads and cache folders for all that comes after it: undo that."""
    before = dict(os.environ)
    os.environ["TMPDIR"] = str(tmp_path / "tmp")
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def bids_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "bids"
    for label in ("01", "02", "07"):
        (folder / f"sub-{label}" / "anat").mkdir(parents=True)
        (folder / f"sub-{label}" / "anat" / f"sub-{label}_T1w.nii.gz").touch()
    (folder / "sub-07" / "ses-late" / "anat").mkdir(parents=True)
    (folder / "sub-07" / "anat" / "sub-07_T1w.nii.gz").unlink()
    (folder / "sub-07" / "ses-late" / "anat" / "sub-07_ses-late_T1w.nii.gz").touch()
    description = {"Name": "three patients", "BIDSVersion": "1.10.0", "License": "CC0"}
    (folder / "dataset_description.json").write_text(json.dumps(description))
    return folder


@pytest.fixture
def worked(monkeypatch: pytest.MonkeyPatch) -> list[ParticipantJob]:
    """Jobs given to the workshop, which is not at home."""
    return _stand_in(monkeypatch, {})


@pytest.fixture
def main(bids_dir: Path, tmp_path: Path) -> Main:
    def call(*options: str | Path, levels: tuple[str, ...] = ("participant",)) -> int:
        places = [bids_dir, tmp_path / "out", *levels, "--skip-bids-validation", "--device", "cpu"]
        return cli.main([str(text) for text in (*places, *options)])

    return call


def _stand_in(monkeypatch: pytest.MonkeyPatch, errors: Mapping[str, Exception]) -> list[ParticipantJob]:
    """Put a workshop in place that fails for the subjects in `errors`, and a group that fails for "group"."""
    jobs: list[ParticipantJob] = []

    def process_unless_done(job: ParticipantJob, *, must_wait: bool = False) -> SimpleNamespace:
        jobs.append(job)
        if job.files.subject in errors:
            raise errors[job.files.subject]
        return SimpleNamespace(was_up_to_date=job.run_id == "before")

    def run_group(settings: RunSettings) -> None:
        if "group" in errors:
            raise errors["group"]

    participant, resume, group = (
        ModuleType(f"bidsapp.{name}") for name in ("participant", "resume", "group")
    )
    participant.ParticipantJob = ParticipantJob  # type: ignore[attr-defined]
    resume.process_unless_done = process_unless_done  # type: ignore[attr-defined]
    group.run_group = run_group  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "bidsapp.participant", participant)
    monkeypatch.setitem(sys.modules, "bidsapp.resume", resume)
    monkeypatch.setitem(sys.modules, "bidsapp.group", group)
    return jobs


def _lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_all_scans_are_worked_on_and_the_last_line_says_so(
    main: Main, worked: list[ParticipantJob], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main() == 0
    lines = _lines(capsys)
    assert [job.files.subject for job in worked] == ["01", "02", "07"]
    assert lines[0].startswith("metsatlas 0.")
    assert "device cpu; 1 process(es) x" in lines[0]
    assert "atlas MNI152NLin2009aSym; seed 0" in lines[0]
    assert lines[-1] == "metsatlas finished: 3 ok, 0 failed, 0 skipped; exit 0"


def test_the_run_id_is_the_time_and_names_the_log(
    main: Main, worked: list[ParticipantJob], tmp_path: Path
) -> None:
    main()
    run_id = worked[0].run_id
    time.strptime(run_id.split("_")[0], "%Y%m%d-%H%M%S")
    log = (tmp_path / "out" / "logs" / f"metsatlas_{run_id}.log").read_text()
    first, second, *_, last = log.splitlines()
    assert first.startswith("metsatlas 0.")
    assert json.loads(second)["selection"]["bids_dir"] == str(worked[0].settings.selection.bids_dir)
    assert "metsatlas finished: 3 ok" in last
    assert not logging.getLogger("bidsapp").handlers


def test_a_subject_that_fails_is_said_in_one_line_and_the_others_go_on(
    main: Main, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    jobs = _stand_in(monkeypatch, {"01": DataError("the scan must be\nan image, got a poem")})
    assert main() == 1
    lines = _lines(capsys)
    assert len(jobs) == 3
    assert "sub-01: the scan must be an image, got a poem" in lines
    assert lines[-1] == "metsatlas finished: 2 ok, 1 failed (sub-01), 0 skipped; exit 1"
    assert [path.name for path in (tmp_path / "out").glob("sub-*")] == ["sub-01.html"]
    page = (tmp_path / "out" / "sub-01.html").read_text(encoding="utf-8")
    assert page.index("the scan must be an image, got a poem") < page.index("Traceback")
    assert "<details>" in page
    assert "--device cpu" in page
    assert "Traceback" not in "".join(lines)


def test_the_page_of_earlier_results_is_not_replaced_by_one_of_failure(
    main: Main, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _stand_in(monkeypatch, {"01": DataError("bad"), "02": TemporaryError("busy")})
    results = output_path(tmp_path / "out", "01", {}, Kind.LESION_METRICS, "any")
    results.parent.mkdir(parents=True)
    results.touch()
    (tmp_path / "out" / "sub-01.html").write_text("the page of results")
    assert main() == 1
    assert (tmp_path / "out" / "sub-01.html").read_text() == "the page of results"
    assert not (tmp_path / "out" / "sub-02.html").exists()
    results.unlink()
    assert main() == 1
    assert "bad" in (tmp_path / "out" / "sub-01.html").read_text(encoding="utf-8")


def test_reports_only_draws_pages_and_does_nothing_else(
    main: Main, monkeypatch: pytest.MonkeyPatch, worked: list[ParticipantJob], tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    drawn: list[str] = []

    def redraw_page(job: ParticipantJob, *, must_wait: bool = False) -> None:
        drawn.append(job.files.subject)
        if job.files.subject == "02":
            raise MissingInputError("no results")

    redraw = ModuleType("bidsapp.redraw")
    redraw.redraw_page = redraw_page  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "bidsapp.redraw", redraw)
    assert main("--reports-only") == 1
    assert (drawn, worked) == (["01", "02", "07"], [])
    assert list((tmp_path / "out").glob("*.html")) == []


def test_reports_only_needs_an_output_folder_and_no_force(
    main: Main, worked: list[ParticipantJob], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main("--reports-only") == 66
    assert "run the participant level first" in _lines(capsys)[-1]
    (tmp_path / "out").mkdir()
    assert main("--reports-only", "--force") == 64
    assert worked == []


def test_a_bug_leaves_a_crash_file_where_reports_look_for_it(
    main: Main, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    jobs = _stand_in(monkeypatch, {"07": ZeroDivisionError("division by zero")})
    assert main() == 1
    crash = log_path(tmp_path / "out", "07", {"ses": "late"}, LogKind.CRASH, jobs[-1].run_id)
    assert "Traceback" in crash.read_text()
    errors = [line for line in _lines(capsys) if "unexpected" in line]
    assert errors == [
        f"sub-07_ses-late: unexpected ZeroDivisionError: division by zero; please report it with {crash}"
    ]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (DataError("bad"), 65),
        (MissingInputError("nowhere"), 66),
        (OutputError("full"), 73),
        (ReadWriteError("torn"), 74),
        (TemporaryError("busy"), 75),
        (KeyError("bug"), 1),
    ],
)
def test_when_nothing_succeeds_the_status_is_that_of_the_error(
    main: Main, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    _stand_in(monkeypatch, dict.fromkeys(("01", "02", "07"), error))
    assert main() == status


def test_a_participant_without_a_selected_session_is_skipped(
    main: Main, worked: list[ParticipantJob], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main("--session-label", "ses-late") == 0
    lines = _lines(capsys)
    assert [job.files.subject for job in worked] == ["07"]
    assert lines[-1] == "metsatlas finished: 1 ok, 0 failed, 2 skipped (sub-01, sub-02); exit 0"
    assert any(line.startswith("sub-01 is skipped: ") for line in lines)


def test_sessions_that_nobody_has_end_with_18(main: Main, worked: list[ParticipantJob]) -> None:
    assert main("--session-id", "never") == 18
    assert worked == []


def test_a_participant_without_t1w_fails_and_the_others_go_on(
    main: Main, worked: list[ParticipantJob], bids_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (bids_dir / "sub-02" / "anat" / "sub-02_T1w.nii.gz").unlink()
    assert main() == 1
    assert [job.files.subject for job in worked] == ["01", "07"]
    assert _lines(capsys)[-1].startswith("metsatlas finished: 2 ok, 1 failed (sub-02)")


def test_the_group_runs_after_the_participants_whatever_the_order_of_the_levels(
    main: Main, worked: list[ParticipantJob], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(levels=("group", "participant")) == 0
    assert worked[0].settings.levels == ("participant", "group")
    assert _lines(capsys)[-1] == "metsatlas finished: 3 ok, 0 failed, 0 skipped, group ok; exit 0"


def test_a_group_that_fails_after_its_participants_ends_with_1(
    main: Main, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _stand_in(monkeypatch, {"group": DataError("the table must have rows, got none")})
    assert main(levels=("participant", "group")) == 1
    lines = _lines(capsys)
    assert "group: the table must have rows, got none" in lines
    assert lines[-1].endswith("group failed; exit 1")


def test_a_group_alone_that_fails_ends_with_the_errors_own_status(
    main: Main, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    _stand_in(monkeypatch, {"group": MissingInputError("no tables")})
    assert main(levels=("group",)) == 66
    _stand_in(monkeypatch, {"group": KeyError("bug")})
    assert main(levels=("group",)) == 1
    (crash,) = (tmp_path / "out" / "logs").glob("group_*_crash.txt")
    assert "KeyError" in crash.read_text()


def test_no_group_is_made_when_every_participant_failed(
    main: Main, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _stand_in(monkeypatch, dict.fromkeys(("01", "02", "07"), DataError("bad")))
    assert main(levels=("participant", "group")) == 65
    assert "group" not in _lines(capsys)[-1]


def test_a_group_without_outputs_ends_with_66(
    main: Main, worked: list[ParticipantJob], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(levels=("group",)) == 66
    assert "run the participant level first" in _lines(capsys)[-1]
    assert not (tmp_path / "out").exists()


def test_every_choice_arrives(
    main: Main, worked: list[ParticipantJob], bids_dir: Path, tmp_path: Path
) -> None:
    (tmp_path / "masks").mkdir()
    (tmp_path / "trees").mkdir()
    filters = tmp_path / "filters.json"
    filters.write_text('{"t1w": {"acquisition": null}, "roi": {"suffix": "roi"}, "bold": {"run": 1}}')
    status = main(
        *("--participant_label", "sub-02", "01", "--participant-labels", "02"),
        *("-d", f"freesurfer={tmp_path / 'trees'}", tmp_path / "masks"),
        *("--bids-filter-file", filters),
        *("--omp-nthreads", "3", "-w", tmp_path / "work", "--random-seed", "7", "--sloppy"),
        *("--location-ensemble", "4"),
    )
    assert status == 0
    settings = worked[0].settings
    assert settings.selection.bids_dir == bids_dir
    assert settings.selection.participants == ("02", "01")
    assert settings.selection.derivatives == {"freesurfer": tmp_path / "trees", "masks": tmp_path / "masks"}
    assert settings.selection.filters["t1w"] == {"acquisition": None}
    assert settings.work_dir == tmp_path / "work"
    assert (settings.n_threads, settings.random_seed, settings.sloppy) == (3, 7, True)
    assert settings.location_ensemble == 4
    assert (settings.device, settings.n_processes, settings.atlas) == ("cpu", 1, None)


@pytest.mark.parametrize(
    "spelling", ["--participant-label", "--participant_label", "--participant-labels", "--participant_labels"]
)
def test_participants_have_four_spellings(main: Main, worked: list[ParticipantJob], spelling: str) -> None:
    assert main(spelling, "07") == 0
    assert [job.files.subject for job in worked] == ["07"]


@pytest.mark.parametrize(
    "spelling", ["--skip-bids-validation", "--skip_bids_validation", "--skip_bids_validator"]
)
def test_skipping_validation_has_three_spellings(
    bids_dir: Path,
    tmp_path: Path,
    worked: list[ParticipantJob],
    spelling: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(folder: Path) -> None:
        raise ValidationError(f"{folder} must be valid")

    monkeypatch.setattr("bidsapp.bids.validate.validate_dataset", refuse)
    places = [str(bids_dir), str(tmp_path / "out"), "participant", "--device", "cpu"]
    assert cli.main(places) == 16
    assert not (tmp_path / "out").exists()
    assert cli.main([*places, spelling]) == 0


def test_options_may_stand_between_the_levels(
    bids_dir: Path, tmp_path: Path, worked: list[ParticipantJob]
) -> None:
    argv = [str(bids_dir), "--skip-bids-validation", str(tmp_path / "out"), "participant"]
    assert cli.main([*argv, "--device", "cpu", "group"]) == 0
    assert worked[0].settings.levels == ("participant", "group")


@pytest.mark.parametrize(
    ("options", "status", "sentence"),
    [
        (["--participant-label", "99"], 66, "sub-99"),
        (["--participant-label", "no_such"], 64, "letters and digits"),
        (["--frobnicate"], 64, "unrecognized arguments: --frobnicate"),
        (["--particip", "01"], 64, "unrecognized arguments"),
        (["--nprocs", "0"], 64, "a whole number from 1 is needed, got '0'"),
        (["--location-ensemble", "0"], 64, "a whole number from 1 is needed, got '0'"),
        (["--omp-nthreads", "many"], 64, "a whole number from 1 is needed, got 'many'"),
        (["--random-seed", "-1"], 64, "random-seed"),
        (["--shard", "0/2"], 64, "--shard must be I/N with I from 1 to N, such as 2/8, or slurm, got '0/2'"),
        (["--shard", "3/2"], 64, "--shard must be I/N"),
        (["--shard", "slurm"], 64, "--shard slurm must run in a job array"),
        (["--shard", "1/2", "group"], 64, "run it once, after all shards"),
        (["--gpu", "require"], 64, "--device cpu and --gpu require contradict each other"),
        (["--scheduler-file", "/no/such.json"], 66, "the scheduler must have written /no/such.json"),
        (["--scheduler", "a:1", "--scheduler-file", "b"], 64, "not allowed with"),
        (["--device", "tpu"], 64, "auto, cpu, cuda or cuda:N is needed, got 'tpu'"),
        (["-d", "a=.", "-d", "a=.."], 64, "needs a name of its own, got 'a'"),
        (["-d", "=."], 64, "needs a name of its own, got ''"),
        (
            ["-d", "lesions=/no/such/folder"],
            66,
            "must be a folder, got /no/such/folder, where there is nothing",
        ),
        (["--atlas", "/no/such/folder"], 66, "the atlas must be a folder"),
        (["--bids-filter-file", "/no/such.json"], 66, "the filter file /no/such.json cannot be read"),
    ],
)
@pytest.mark.usefixtures("worked")
def test_a_mistake_gets_one_line_and_its_status(
    main: Main,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    options: list[str],
    status: int,
    sentence: str,
) -> None:
    assert main(*options) == status
    last = _lines(capsys)[-1]
    assert last.startswith("metsatlas: ")
    assert sentence in last
    assert not (tmp_path / "out").exists()


def test_shards_share_the_participants_out(main: Main, worked: list[ParticipantJob]) -> None:
    assert main("--shard", "1/2") == 0
    assert [job.files.subject for job in worked] == ["01", "07"]
    assert main("--shard", "2/2") == 0
    assert [job.files.subject for job in worked] == ["01", "07", "02"]


def test_a_shard_beyond_the_participants_has_nothing_to_do(main: Main, worked: list[ParticipantJob]) -> None:
    assert main("--shard", "4/4") == 0
    assert worked == []


def test_a_task_of_a_job_array_takes_its_share_wherever_the_numbers_start(
    main: Main, worked: list[ParticipantJob]
) -> None:
    for name, value in (("ID", "14"), ("MIN", "10"), ("MAX", "14"), ("STEP", "4"), ("COUNT", "2")):
        os.environ[f"SLURM_ARRAY_TASK_{name}"] = value
    assert main("--shard", "slurm") == 0
    assert [job.files.subject for job in worked] == ["02"]


def test_a_job_array_with_gaps_would_leave_participants_out_and_is_refused(
    main: Main, worked: list[ParticipantJob], capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in (("ID", "7"), ("MIN", "3"), ("MAX", "7"), ("STEP", "1"), ("COUNT", "2")):
        os.environ[f"SLURM_ARRAY_TASK_{name}"] = value
    assert main("--shard", "slurm") == 64
    assert "without gaps, got 2 tasks from 3 to 7" in capsys.readouterr().err
    assert worked == []


@pytest.mark.parametrize("text", ["{", "[1, 2]", '{"t1w": "01"}'])
def test_a_filter_file_that_is_no_object_of_objects_ends_with_65(
    main: Main, worked: list[ParticipantJob], tmp_path: Path, text: str
) -> None:
    (tmp_path / "filters.json").write_text(text)
    assert main("--bids-filter-file", tmp_path / "filters.json") == 65


def test_filters_that_select_nothing_end_with_18(
    main: Main, worked: list[ParticipantJob], tmp_path: Path
) -> None:
    (tmp_path / "filters.json").write_text('{"t1w": {"acquisition": "none"}}')
    assert main("--bids-filter-file", tmp_path / "filters.json") == 18


def test_an_unknown_level_ends_with_17(main: Main, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(levels=("cohort",)) == 17
    assert _lines(capsys) == ["metsatlas: the level must be participant or group, got 'cohort'"]


def test_a_missing_level_ends_with_64_and_not_2(
    bids_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([str(bids_dir), str(tmp_path / "out")]) == 64
    assert "the following arguments are required" in _lines(capsys)[-1]


def test_a_missing_dataset_ends_with_66_and_the_mount_hint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([str(tmp_path / "none"), str(tmp_path / "out"), "participant"]) == 66
    assert "whether the folder is mounted" in _lines(capsys)[-1]


def test_a_file_in_place_of_the_dataset_ends_with_66(bids_dir: Path, tmp_path: Path) -> None:
    file = bids_dir / "dataset_description.json"
    assert cli.main([str(file), str(tmp_path / "out"), "participant"]) == 66


def test_writing_into_the_input_is_refused(bids_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([str(bids_dir), f"{bids_dir}/../bids", "participant"]) == 64
    assert "output_dir must differ from bids_dir" in _lines(capsys)[-1]


def test_scratch_inside_the_input_is_refused(
    main: Main, bids_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main("-w", bids_dir / "work") == 64
    assert "must not lie inside bids_dir" in _lines(capsys)[-1]
    assert not (bids_dir / "work").exists()


def test_an_output_that_cannot_be_made_ends_with_73(
    bids_dir: Path, tmp_path: Path, worked: list[ParticipantJob], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    argv = [str(bids_dir), str(tmp_path / "file" / "out"), "participant", "--skip-bids-validation"]
    assert cli.main([*argv, "--device", "cpu"]) == 73
    assert "must be one we can write to (Not a directory)" in _lines(capsys)[-1]


def test_a_work_folder_that_cannot_be_made_ends_with_73(
    main: Main, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert main("-w", tmp_path / "file" / "work") == 73
    assert "name another one with --work-dir" in _lines(capsys)[-1]


def test_a_dry_run_prints_the_inputs_and_writes_nothing(
    main: Main, bids_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (bids_dir / "sub-02" / "anat" / "sub-02_T1w.nii.gz").unlink()
    before = sorted(tmp_path.rglob("*"))
    assert main("--dry-run") == 0
    plan = json.loads(capsys.readouterr().out)
    assert sorted(tmp_path.rglob("*")) == before
    assert [scan["subject"] for scan in plan["scans"]] == ["01", "07"]
    assert plan["scans"][0]["t1w"] == str(bids_dir / "sub-01" / "anat" / "sub-01_T1w.nii.gz")
    assert list(plan["problems"]) == ["sub-02"]
    assert (plan["device"], plan["atlas"], plan["levels"]) == ("cpu", "MNI152NLin2009aSym", ["participant"])


def test_without_v_details_are_hidden_and_with_v_they_are_shown(
    main: Main, worked: list[ParticipantJob], capsys: pytest.CaptureFixture[str]
) -> None:
    main()
    assert "settings: RunSettings(" not in capsys.readouterr().err
    main("-v")
    assert "settings: RunSettings(" in capsys.readouterr().err
    main("-vv")
    assert "bidsapp.cli: settings: RunSettings(" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_version_and_help_come_at_once(option: str) -> None:
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "bidsapp", option], capture_output=True, text=True, check=True
    )
    assert time.monotonic() - start < 5  # a second on a machine that is not busy
    assert "metsatlas" in done.stdout


def test_reading_arguments_imports_no_heavy_library() -> None:
    code = (
        "import sys; from bidsapp.arguments import build_parser; import bidsapp.cli; build_parser(); "
        "sys.exit(bool({'torch', 'numpy', 'numba', 'bids', 'distributed'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_process_ends_with_the_status(bids_dir: Path, tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "bidsapp", str(bids_dir), str(tmp_path / "out"), "cohort"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (17, "")
    assert done.stderr == "metsatlas: the level must be participant or group, got 'cohort'\n"
