"""How badly the warped labels overlap the fixed ones."""

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

_EACH = 0.4
"""What every structure weighs besides, as a share of the mean: the ventricle of fifty voxels is not lost."""


def label_dissimilarity(
    overlap: Float64[Tensor, " n"],
    warped_volume: Float64[Tensor, " n"],
    fixed_volume: Float64[Tensor, " n"],
    present: Bool[Tensor, " n"],
) -> Float64[Tensor, ""]:
    """One minus the soft Dice overlap, averaged over the structures.

    A structure weighs as the square root of its volume, and a little more: so cortex and white matter hold
    what lies between them, where a choroid plexus or a horn of a ventricle would drag it along.

    0 means that all structures coincide, 1 that none overlap; lower is better. Renumbering the labels or
    mirroring both images changes nothing.

    Parameters
    ----------
    overlap, warped_volume
        From `geometry.kernels.label_votes`, in fixed voxels.
    fixed_volume
        Number of fixed voxels of each label.
    present
        Labels that take part: those that both images have, background left out.

    References
    ----------
    Milletari et al. 2016, 3DV: V-Net (soft Dice). doi:10.1109/3DV.2016.79

    Examples
    --------
    >>> two = torch.tensor([0.0, 2.0], dtype=torch.float64)
    >>> four = torch.tensor([9.0, 4.0], dtype=torch.float64)
    >>> label_dissimilarity(two, four, four, torch.tensor([False, True])).item()
    0.5
    """
    # labels are never picked by their flags: the host would have to wait and count them
    volume = torch.where(present, fixed_volume + warped_volume, 1)
    dice = 2 * torch.where(present, overlap, 0) / volume
    root = torch.where(present, fixed_volume, 0).sqrt()
    weight = torch.where(present, root + _EACH * root.sum() / present.sum(), 0)
    return 1 - (weight * dice).sum() / weight.sum()
