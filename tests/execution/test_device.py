"""Which device, said in words; never silently another one than was asked for."""

from pathlib import Path

import pytest
import torch

from bidsapp.errors import UsageError
from bidsapp.execution import device as device_module
from bidsapp.execution.device import forgotten, settle_device


@pytest.fixture(autouse=True)
def _no_driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(device_module, "_DRIVER", tmp_path / "version")
    monkeypatch.setattr(device_module, "_DOCKER", tmp_path / "dockerenv")


def machine_with(monkeypatch: pytest.MonkeyPatch, n_devices: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: n_devices > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: n_devices)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: f"Card {number}")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (3 * 2**30, 4 * 2**30))


def driver(tmp_path: Path) -> None:
    text = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024\n"
    (tmp_path / "version").write_text(text)


def test_auto_takes_what_is_there_and_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine_with(monkeypatch, 0)
    assert settle_device("auto").words == "cpu (auto: no CUDA device found)"
    machine_with(monkeypatch, 2)
    assert settle_device("auto").words == "cuda (Card 0, 3.0 of 4.0 GiB free)"
    driver(tmp_path)
    assert settle_device("cuda:1").words == "cuda:1 (Card 1, driver 550.54.15, 3.0 of 4.0 GiB free)"
    assert settle_device("cpu").name == "cpu"
    assert settle_device("auto", "none").name == "cpu"


@pytest.mark.parametrize(
    ("asked", "policy", "n_devices", "option"),
    [
        ("cuda", "try", 0, "--device cuda"),
        ("cuda:0", "require", 0, "--device cuda:0"),
        ("cuda:2", "try", 2, "--device cuda:2"),
        ("auto", "require", 0, "--gpu require"),
    ],
)
def test_a_gpu_that_was_asked_for_and_is_absent_is_an_error(
    monkeypatch: pytest.MonkeyPatch, asked: str, policy: str, n_devices: int, option: str
) -> None:
    machine_with(monkeypatch, n_devices)
    with pytest.raises(UsageError, match=rf"{option} must name .* found {n_devices}: .*--nv"):
        settle_device(asked, policy)


@pytest.mark.parametrize(("asked", "policy"), [("cpu", "require"), ("cuda", "none")])
def test_a_contradiction_is_refused(asked: str, policy: str) -> None:
    with pytest.raises(UsageError, match="contradict each other"):
        settle_device(asked, policy)


def test_a_machine_without_driver_forgot_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    machine_with(monkeypatch, 0)
    assert settle_device("auto").hint == ""


def test_a_gpu_that_the_container_does_not_see_is_hinted_at(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    driver(tmp_path)
    assert "driver (550.54.15), but torch sees no GPU: this is the build for processors" in forgotten(
        has_cuda=False
    )
    monkeypatch.setenv("APPTAINER_CONTAINER", "/images/metsatlas.sif")
    assert "add --gpus all (Docker, Podman) or --nv (Apptainer)" in forgotten(has_cuda=True)
    monkeypatch.delenv("APPTAINER_CONTAINER")
    monkeypatch.delenv("METSATLAS_DOCKER_TAG", raising=False)
    assert "CUDA_VISIBLE_DEVICES" in forgotten(has_cuda=True)
