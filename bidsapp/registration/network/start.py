"""A general model's first word on a patient: where an over-fit may begin."""

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from bidsapp.geometry.space import Space
from bidsapp.images.volume import Volume
from bidsapp.registration.grids import refine
from bidsapp.registration.network.overfit import predict_velocity
from bidsapp.registration.network.view import see
from bidsapp.registration.network.weights import GeneralModel


def predicted_start(
    model: GeneralModel,
    pair: tuple[Volume, Volume],
    affine: Float64[np.ndarray, "4 4"],
    grid: Space,
    device: str,
) -> Float[Tensor, "3 i j k"]:
    """Ask a general model for a velocity, on the spacing it was trained at, and bring it to another grid.

    Parameters
    ----------
    model
        Network and the spacing it works at.
    pair
        Template, and scan on its native grid; the labels of both for a model that sees labels.
    affine
        Fixed world to moving world, millimetres.
    grid
        Cubic voxels; of the velocity that is wanted, finer or coarser than the model's.
    device
        Where torch computes.

    Returns
    -------
    velocity
        In voxels of `grid`.
    """
    own = grid.with_spacing(model.provenance.spacing_mm)
    seen = see(model.provenance.sees, pair, affine, own, device)
    with torch.no_grad():
        velocity = predict_velocity(model.network.to(device), seen)
    return refine(velocity, own, grid)
