"""When the GPU's memory is not enough, the processor takes over and says so, unless a GPU is required."""

import logging
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from bidsapp import resume
from bidsapp.bids.find import SubjectFiles
from bidsapp.errors import TemporaryError
from bidsapp.execution.device import Device
from bidsapp.participant import ParticipantJob
from bidsapp.resume import GPU_MEMORY_GIB, choices, process_unless_done
from bidsapp.settings import RunSettings, Selection


@pytest.fixture
def devices(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Devices that a scan was worked on, of which the GPU runs out of memory."""
    used: list[str] = []

    def process_participant(job: ParticipantJob) -> Mapping[str, float]:
        used.append(job.settings.device)
        if job.settings.device == "cuda":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return {"dice_mean": 0.9}

    monkeypatch.setattr(resume, "process_participant", process_participant)
    return used


def job(tmp_path: Path, gpu: str) -> ParticipantJob:
    t1w = tmp_path / "sub-01_T1w.nii.gz"
    t1w.write_text("a head")
    selection = Selection(bids_dir=tmp_path)
    settings = RunSettings(selection=selection, output_dir=tmp_path / "out", work_dir=tmp_path, gpu=gpu)
    return ParticipantJob(SubjectFiles("01", None, {}, t1w, None, None, None, ()), settings, "run")


def gpu_with(monkeypatch: pytest.MonkeyPatch, free_gib: float) -> None:
    monkeypatch.setattr(resume, "settle_device", lambda *_: Device("cuda", "a card", free_gib=free_gib))


@pytest.mark.parametrize(
    ("free_gib", "tried", "words"),
    [
        (GPU_MEMORY_GIB + 1, ["cuda", "cpu"], "sub-01 ran out of the GPU's memory"),
        (GPU_MEMORY_GIB - 1, ["cpu"], f"sub-01 needs {GPU_MEMORY_GIB} GiB of the GPU's memory"),
    ],
)
def test_the_processor_takes_over_and_says_so(  # noqa: PLR0917
    devices: list[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    free_gib: float,
    tried: list[str],
    words: str,
) -> None:
    gpu_with(monkeypatch, free_gib)
    with caplog.at_level(logging.WARNING, logger="bidsapp"):
        assert process_unless_done(job(tmp_path, "try")).summary == {"dice_mean": 0.9}
    assert devices == tried
    assert words in caplog.text
    assert "worked on by the processor" in caplog.text


@pytest.mark.parametrize(("free_gib", "tried"), [(GPU_MEMORY_GIB + 1, ["cuda"]), (GPU_MEMORY_GIB - 1, [])])
def test_a_required_gpu_is_never_replaced(
    devices: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free_gib: float, tried: list[str]
) -> None:
    gpu_with(monkeypatch, free_gib)
    with pytest.raises(TemporaryError, match="end what else runs on it"):
        process_unless_done(job(tmp_path, "require"))
    assert devices == tried
    assert not list((tmp_path / "out").rglob("*status.json"))


def test_where_and_how_quickly_a_scan_is_worked_on_is_no_choice_of_its_recipe(tmp_path: Path) -> None:
    atlas = SimpleNamespace(name="MNI", checksums={"labels.nii.gz": "ab12"})
    chosen = choices(job(tmp_path, "try").settings, atlas)  # type: ignore[arg-type]
    assert not {"device", "gpu", "n_processes", "n_threads", "output_dir", "work_dir", "force"} & set(chosen)
    assert {"random_seed", "registration", "atlas"} <= set(chosen)
