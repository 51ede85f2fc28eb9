"""Network and field, from a general model and from nothing: what takes turns in `benchmark.network`."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmark.tumours_methods import AFFINE, Method

GENERAL = "general"
OVERFITTED = "network-overlap-from-model"
OVERFITTED_PAPER = "network-paper-from-model"
FIELD = "field-overlap"


def plan_methods(model: Path | None, device: str, *, sloppy: bool = False) -> tuple[Method, ...]:
    """List the methods in the order of the table; without a general model those that need none.

    No method is told where the tumours are: what is suspected and the volume term keep them.

    Parameters
    ----------
    model
        File of the general model.
    device
        Where torch computes.
    sloppy
        Coarse: to try this out.
    """
    common: dict[str, Any] = {"lesion_handling": "volume", "device": device, "sloppy": sloppy}
    network = common | {"parameterisation": "network"}
    paper = network | {"objective": "paper"}
    alone = (
        replace(AFFINE, choices=common),
        _method("network-overlap", "network from nothing, our objective", network),
        _method(FIELD, "field from nothing, our objective", common),
    )
    if model is None:
        return alone
    start = {"initial_model": model}
    affine, from_nothing, field = alone
    general = _method(GENERAL, "general model, no over-fitting", network | start)
    return (
        affine,
        replace(general, predicts_only=True),
        _method(OVERFITTED, "network from the general model, our objective", network | start),
        _method(OVERFITTED_PAPER, "network from the general model, paper objective", paper | start),
        from_nothing,
        field,
        _method("field-overlap-from-model", "field from the general model, our objective", common | start),
    )


def _method(name: str, words: str, choices: dict[str, Any]) -> Method:
    return Method(name=name, words=words, uses_mask=False, control=name, choices=choices)
