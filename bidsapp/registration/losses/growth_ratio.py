"""How far local growth strays from its structure's mean, as the paper counts it."""

import torch
from jaxtyping import Float, Float64, UInt8
from torch import Tensor
from torch.nn import functional

STEEPNESS = 5.0
TOLERATED = 1.5
_LEAST = 1e-3


def jacobian_determinants(displacement: Float[Tensor, "3 i j k"]) -> Float[Tensor, "i j k"]:
    """Give the local volume ratio of ``x -> x + displacement(x)``, differentiably.

    Central differences inside, one-sided differences at the border: a linear map is answered exactly
    everywhere, corners included.

    Parameters
    ----------
    displacement
        In voxels of its own grid; two voxels at least along each axis.

    Examples
    --------
    >>> index = torch.stack(torch.meshgrid(*[torch.arange(n) for n in (3, 4, 5)], indexing="ij"))
    >>> jacobian_determinants(0.5 * index.float()).unique().tolist()
    [3.375]
    """
    identity = torch.eye(3, dtype=displacement.dtype, device=displacement.device)
    along = torch.gradient(displacement, dim=(1, 2, 3))
    columns = [slope + identity[axis].reshape(3, 1, 1, 1) for axis, slope in enumerate(along)]
    determinant: Tensor = (columns[0] * torch.linalg.cross(columns[1], columns[2], dim=0)).sum(dim=0)
    return determinant


def strayed_growth(
    determinant: Float[Tensor, "i j k"], labels: UInt8[Tensor, "i j k"], n_labels: int
) -> Float64[Tensor, ""]:
    """Average ``sigmoid(5 (max(r, 1/r) - 1.5))`` over all voxels, r growth against the structure's mean.

    sigmoid(-2.5) = 0.076 means that every structure grows as one, towards 1 that everything shrinks or grows
    far more than its surroundings; lower is better. A fold costs ``1 - r``, more than 1 and the more the
    deeper it is, so that there is a way out of it.

    Parameters
    ----------
    determinant
        Local volume ratio at every voxel. It is averaged over a box of 3 voxels first (at the border over
        those that are there).
    labels
        The structure each voxel belongs to; background is one.
    n_labels
        How many labels there are.

    References
    ----------
    Wielenberg et al. 2026, eq. (6)-(8); there the absolute value hides folds, and the mean, as here, is not
    differentiated. doi:10.48550/arXiv.2602.12933

    Examples
    --------
    >>> labels = torch.zeros((4, 5, 6), dtype=torch.uint8)
    >>> round(strayed_growth(torch.full((4, 5, 6), 1.728), labels, 1).item(), 4)
    0.0759
    """
    smooth = functional.avg_pool3d(
        determinant[None], kernel_size=3, stride=1, padding=1, count_include_pad=False
    )[0].double()
    flat, label = smooth.flatten(), labels.flatten().long()
    with torch.no_grad():
        counts = torch.bincount(label, minlength=n_labels).clamp(min=1)
        mean = flat.new_zeros(n_labels).index_add(0, label, flat.abs()) / counts
        mean = mean.clamp(min=_LEAST)
    ratio = flat / mean[label]
    unfolded = ratio.clamp(min=_LEAST)
    cost = torch.sigmoid(STEEPNESS * (torch.maximum(unfolded, 1 / unfolded) - TOLERATED))
    return torch.where(ratio > 0, cost, 1 - ratio).mean()
