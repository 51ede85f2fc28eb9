"""What a training run leaves: curves, weights and a card that says what they are good for."""

import io
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from bidsapp.bids.save import atomic_write, save_table, save_text
from bidsapp.registration.network.weights import GeneralModel, to_bytes
from bidsapp.training.checkpoint import TrainingState
from bidsapp.training.plan import TrainingPlan

HISTORY_COLUMNS: Mapping[str, str] = {
    "step": "Update of the network's weights, counted from 1.",
    "dissimilarity": "Weighted dissimilarity of atlas and heads, in the space of the heads.",
    "smoothness": "Weighted mean squared gradient of the displacements.",
    "pair_dissimilarity": "Weighted dissimilarity between heads.",
}
VALIDATION_COLUMNS: Mapping[str, str] = {
    "step": "Updates before this check; 0 is the affine alignment alone.",
    "dice": "Mean soft Dice overlap of the structures, in atlas space, over heads never learnt from.",
}
MODEL_NAME = "model.safetensors"


def save_curves(state: TrainingState, folder: Path) -> None:
    """Write both curves as tables and as one picture."""
    history, validation = pd.DataFrame(state.history), pd.DataFrame(state.validation)
    save_table(history, folder / "loss.tsv", HISTORY_COLUMNS)
    save_table(validation, folder / "validation.tsv", VALIDATION_COLUMNS)
    figure = Figure(figsize=(8, 3), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(history["step"], history.drop(columns="step").sum(axis=1), color="0.3", linewidth=0.8)
    left.set(xlabel="step", ylabel="loss (lower is better)")
    right.plot(validation["step"], validation["dice"], color="0.3", marker="o", markersize=3)
    right.set(xlabel="step", ylabel="Dice, unseen heads (higher is better)")
    drawn = io.BytesIO()
    figure.savefig(drawn, format="svg")
    save_text(drawn.getvalue().decode(), folder / "learning_curve.svg")


def save_model(
    model: GeneralModel, plan: TrainingPlan, state: TrainingState, data: Mapping[str, int], folder: Path
) -> None:
    """Write the weights and their card.

    Parameters
    ----------
    model
        Weights and provenance.
    plan, state
        Of the run.
    data
        What was learnt from, in words, to how many.
    folder
        Where to.
    """
    with atomic_write(folder / MODEL_NAME) as path:
        path.write_bytes(to_bytes(model))
    save_text(_card(model, plan, state, data), folder / "README.md")


def _card(model: GeneralModel, plan: TrainingPlan, state: TrainingState, data: Mapping[str, int]) -> str:
    origin, first, last = model.provenance, state.validation[0], state.validation[-1]
    dice = (
        "no head was kept back, so nothing is known about unseen heads"
        if math.isnan(last["dice"])
        else f"mean soft Dice of unseen heads at {plan.spacing_mm / 2:g} mm: {first['dice']:.3f} after the "
        f"affine alignment, {last['dice']:.3f} with the network"
    )
    choices = "\n".join(f"| {name} | {value} |" for name, value in asdict(plan).items())
    used = "\n".join(f"- {what}: {count}" for what, count in data.items())
    names = ", ".join(origin.learnt_from or ()) or "not told"
    return f"""# Model card

A U-Net that sees the {origin.sees} of an atlas ({origin.atlas}) and of a head, both on the atlas's grid at
{plan.spacing_mm:g} mm after an affine alignment, and gives a stationary velocity from atlas to scan.
Made by metsatlas {origin.app_version}; method: Wielenberg et al. 2026 (doi:10.48550/arXiv.2602.12933).

## Use

A start for the alignment of one patient, which goes on from there: `load_model` and `predicted_start` in
`bidsapp.registration.network` read `{MODEL_NAME}`. It is no diagnosis and was not tried on scans unlike
those below.

## Data

{used}

Learnt from (participants, and label maps without a scan): {names}

Licence of the data: {origin.data_licence}

## Figures

After {state.step} steps: {dice}. Curves: `loss.tsv`, `validation.tsv`, `learning_curve.svg`.

## Settings

| setting | value |
|---|---|
{choices}
"""
