"""A trained network as one file: numbers and what they are for, nothing that could run."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open

from bidsapp.errors import DataError, MissingInputError
from bidsapp.registration.network.unet import VelocityNet
from bidsapp.registration.network.view import N_CHANNELS

_KIND = "metsatlas velocity network, version 1"


@dataclass(frozen=True)
class Provenance:
    """Where a network comes from, and on which grid it works.

    Parameters
    ----------
    spacing_mm
        Of the grid it was trained on; it must be used on the same.
    atlas
        Name of the atlas it was trained with.
    objective
        "paper" or "overlap".
    steps
        Updates of its weights.
    app_version
        That trained it.
    data_licence
        Of the scans it was trained on.
    learnt_from
        Labels of the participants, and names of the label maps alone, that it was trained on; None: the file
        does not tell.
    sees
        "images" or "labels" of atlas and patient.

    Raises
    ------
    DataError
        If the spacing or the number of steps is not positive, or it sees something else.
    """

    spacing_mm: float
    atlas: str
    objective: str
    steps: int
    app_version: str
    data_licence: str
    learnt_from: tuple[str, ...] | None = None
    sees: str = "images"

    def __post_init__(self) -> None:
        if not 0 < self.spacing_mm < 100 or self.steps < 0:
            raise DataError(
                f"a network needs a spacing between 0 and 100 mm and steps from 0 up, got {self.spacing_mm} "
                f"and {self.steps}"
            )
        if self.sees not in N_CHANNELS:
            raise DataError(f"a network sees {' or '.join(N_CHANNELS)}, got {self.sees!r}")


@dataclass(frozen=True)
class GeneralModel:
    """A network and where it comes from.

    Parameters
    ----------
    network
        On the CPU.
    provenance
        As it stands in the file.
    """

    network: VelocityNet
    provenance: Provenance


def to_bytes(model: GeneralModel) -> bytes:
    """Write a model as safetensors."""
    weights = {
        name: weight.detach().cpu().contiguous() for name, weight in model.network.state_dict().items()
    }
    return safetensors.torch.save(
        weights, metadata={"kind": _KIND, "provenance": json.dumps(asdict(model.provenance))}
    )


def load_model(path: Path) -> GeneralModel:
    """Read a model that `metsatlas-train` wrote.

    Raises
    ------
    MissingInputError
        If there is no such file.
    DataError
        If it is damaged, or holds something else.
    """
    if not path.is_file():
        raise MissingInputError(
            f"the initial model must be a file, got {path}, where there is none: check the path, and in a "
            "container whether its folder is mounted"
        )
    try:
        with safe_open(path, framework="pt") as opened:
            metadata = opened.metadata() or {}
            weights = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - no mapping
    except (SafetensorError, OSError, ValueError) as error:
        raise DataError(
            f"the initial model {path} must be a whole safetensors file, it is damaged or something else "
            f"({error}): copy it again, or train one with metsatlas-train"
        ) from error
    provenance = _provenance(metadata, path)
    network = VelocityNet(seed=0, n_channels=N_CHANNELS[provenance.sees])
    _check(weights, network.state_dict(), path)
    network.load_state_dict(weights)
    return GeneralModel(network, provenance)


def _provenance(metadata: Mapping[str, str], path: Path) -> Provenance:
    if metadata.get("kind") != _KIND:
        raise DataError(
            f"the initial model {path} must be a {_KIND}, got {metadata.get('kind', 'another network')!r}: "
            "train one with metsatlas-train"
        )
    try:
        read = json.loads(metadata["provenance"])
        numbers = {"spacing_mm": float(read["spacing_mm"]), "steps": int(read["steps"])}
        names = read.get("learnt_from")
        learnt_from = None if names is None else tuple(str(name) for name in names)
        return Provenance(**{**read, **numbers, "learnt_from": learnt_from})
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"the initial model {path} must say whence it comes, but its provenance is damaged ({error}): "
            "copy it again, or train one with metsatlas-train"
        ) from error


def _check(weights: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor], path: Path) -> None:
    """Refuse weights of another shape or that are not finite."""
    shapes = {name: tuple(weight.shape) for name, weight in weights.items()}
    expected = {name: tuple(weight.shape) for name, weight in wanted.items()}
    odd = sorted(name for name in shapes.keys() | expected.keys() if shapes.get(name) != expected.get(name))
    if odd:
        raise DataError(
            f"the initial model {path} must have the layers of this version's network, but {odd[0]} is "
            f"{shapes.get(odd[0], 'missing')} and should be {expected.get(odd[0], 'absent')}: train one with "
            "metsatlas-train"
        )
    for name, weight in weights.items():
        if not weight.isfinite().all():
            raise DataError(
                f"the initial model {path} must hold finite numbers, but {name} does not: its training "
                "diverged, train again with a smaller --learning-rate"
            )
