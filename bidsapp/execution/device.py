"""What torch computes on: chosen, described, and never silently another one than was asked for."""

import os
from dataclasses import dataclass
from pathlib import Path

from bidsapp.errors import UsageError

POLICIES = ("require", "try", "none")
_DRIVER = Path("/proc/driver/nvidia/version")
_DOCKER = Path("/.dockerenv")
_CONTAINERS = ("APPTAINER_CONTAINER", "SINGULARITY_CONTAINER", "METSATLAS_DOCKER_TAG")
_WAY_OUT = "in a container add --gpus all (Docker) or --nv (Apptainer), or use --device auto or cpu"


@dataclass(frozen=True, slots=True)
class Device:
    """What torch computes on.

    Parameters
    ----------
    name
        "cpu", "cuda" or "cuda:N".
    words
        A few words about it for the first line of a run.
    hint
        What the user may have forgotten; empty if nothing.
    free_gib
        Memory of the GPU that is free now; None for the processor.
    """

    name: str
    words: str
    hint: str = ""
    free_gib: float | None = None


def settle_device(asked: str, policy: str = "try") -> Device:
    """Choose what torch computes on.

    Parameters
    ----------
    asked
        "auto", "cpu", "cuda" or "cuda:N".
    policy
        "require": a GPU or an error. "try": a GPU if there is one. "none": the processor.

    Raises
    ------
    UsageError
        If both contradict each other, or a GPU is required, or asked for by name, and is not there.

    Examples
    --------
    >>> settle_device("cpu").words, settle_device("auto", "none").name
    ('cpu', 'cpu')
    """
    names_gpu = asked.startswith("cuda")
    if (policy == "none" and names_gpu) or (policy == "require" and asked == "cpu"):
        raise UsageError(f"--device {asked} and --gpu {policy} contradict each other: leave one of them out")
    if asked == "cpu" or policy == "none":
        return Device("cpu", "cpu")
    import torch  # noqa: PLC0415 - takes a second, which --help and --version must not

    n_devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not n_devices and asked == "auto" and policy == "try":
        return Device("cpu", "cpu (auto: no CUDA device found)", forgotten(has_cuda=bool(torch.version.cuda)))
    number = int(asked.removeprefix("auto").removeprefix("cuda").removeprefix(":") or 0)
    if number >= n_devices:
        option = f"--device {asked}" if names_gpu else f"--gpu {policy}"
        raise UsageError(f"{option} must name a CUDA device that is there, found {n_devices}: {_WAY_OUT}")
    name = asked if names_gpu else "cuda"
    free, total = (size / 2**30 for size in torch.cuda.mem_get_info(number))
    driver = f", driver {_driver()}" if _driver() else ""
    card = torch.cuda.get_device_name(number)
    return Device(name, f"{name} ({card}{driver}, {free:.1f} of {total:.1f} GiB free)", free_gib=free)


def count_gpus() -> int:
    """Count the CUDA devices torch can use."""
    import torch  # noqa: PLC0415

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def forgotten(*, has_cuda: bool) -> str:
    """Say what keeps torch from a GPU that the machine has; empty if it seems to have none.

    Parameters
    ----------
    has_cuda
        Whether this torch was built for CUDA.
    """
    if not _DRIVER.exists():
        return ""
    found = f"this machine has an NVIDIA driver ({_driver() or 'unknown version'}), but torch sees no GPU: "
    if not has_cuda:
        return (
            found + "this is the build for processors; install torch for CUDA, or use the image built for it"
        )
    if any(name in os.environ for name in _CONTAINERS) or _DOCKER.exists():
        return found + "add --gpus all (Docker, Podman) or --nv (Apptainer) to the command"
    return found + "is CUDA_VISIBLE_DEVICES set, or the driver too old for this torch?"


def _driver() -> str:
    """Read the version of the NVIDIA driver; empty if there is none."""
    if not _DRIVER.is_file():
        return ""
    words = _DRIVER.read_text(encoding="utf-8", errors="replace").split()
    return next((word for word in words if word.replace(".", "").isdigit() and "." in word), "")
