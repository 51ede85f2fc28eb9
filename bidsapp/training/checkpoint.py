"""The state of a training run as one file that is whole or not there."""

import dataclasses
import json
import os
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bidsapp.bids.save import atomic_write
from bidsapp.errors import DataError, UsageError
from bidsapp.training.plan import TrainingPlan

_NAME = "checkpoint.pt"
_KIND = "metsatlas training, version 2"
_MAY_CHANGE = ("steps", "check_every", "saves_memory")


@dataclass
class TrainingState:
    """How far a run has come.

    Random numbers of step n come from the seed and n alone, so there is no generator to keep: the seed is in
    the plan.

    Parameters
    ----------
    step
        Updates done.
    history
        A row per update: step and every weighted term.
    validation
        A row per check: step and mean Dice overlap.
    network, average, optimiser
        Their numbers, by name; empty before the first step. The average is that of the network's weights.
    """

    step: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    validation: list[dict[str, float]] = field(default_factory=list)
    network: dict[str, Tensor] = field(default_factory=dict)
    average: dict[str, Tensor] = field(default_factory=dict)
    optimiser: dict[str, Any] = field(default_factory=dict)


def save_checkpoint(state: TrainingState, plan: TrainingPlan, scans: Sequence[str], folder: Path) -> None:
    """Write the state, the plan and the names of the scans; a kill at any moment leaves the file before."""
    content = {
        "kind": _KIND,
        "plan": json.dumps(dataclasses.asdict(plan)),
        "scans": list(scans),
        **{item.name: getattr(state, item.name) for item in dataclasses.fields(state)},
    }
    with atomic_write(folder / _NAME) as path, path.open("wb") as opened:
        torch.save(content, opened)
        opened.flush()
        os.fsync(opened.fileno())


def load_checkpoint(plan: TrainingPlan, scans: Sequence[str], folder: Path) -> TrainingState:
    """Go on where a run of the same plan and scans stopped, or start anew if there was none.

    Raises
    ------
    DataError
        If the file is damaged or something else.
    UsageError
        If it belongs to another plan or other scans.
    """
    path = folder / _NAME
    for leftover in folder.glob(f".*_{_NAME}"):
        leftover.unlink(missing_ok=True)
    if not path.is_file():
        return TrainingState()
    content = _read(path)
    _check_same(json.loads(content["plan"]), plan, folder)
    if list(scans) != content["scans"]:
        raise UsageError(
            f"training in {folder} was begun with {len(content['scans'])} scans and goes on with the same, "
            f"got {len(scans)}, not all of them the same: give the same data, or another output folder"
        )
    return TrainingState(**{item.name: content[item.name] for item in dataclasses.fields(TrainingState)})


def _read(path: Path) -> Mapping[str, Any]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError) as error:
        raise DataError(
            f"the checkpoint {path} must be a whole file of this program, it is damaged or something else: "
            "delete it to begin again, or name another output folder"
        ) from error
    if not isinstance(content, dict) or content.get("kind") != _KIND:
        raise DataError(
            f"the checkpoint {path} must be a {_KIND}, it is something else: name another output folder"
        )
    return content


def _check_same(begun: Mapping[str, object], plan: TrainingPlan, folder: Path) -> None:
    """Refuse to go on with other choices, except those that do not change the curve up to here."""
    for name, value in dataclasses.asdict(plan).items():
        if name not in _MAY_CHANGE and begun.get(name) != value:
            raise UsageError(
                f"training in {folder} was begun with {name} {begun.get(name)} and must go on with it, got "
                f"{value}: change it back, or name another output folder"
            )
