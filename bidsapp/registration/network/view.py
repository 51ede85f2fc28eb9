"""What the network sees: atlas and patient, sampled on the grid of the velocity."""

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64
from torch import Tensor

from bidsapp.errors import DataError
from bidsapp.geometry.resample import sample_at
from bidsapp.geometry.space import Space
from bidsapp.images.volume import Volume

_LOWEST, _HIGHEST = -0.5, 1.5


def see(
    fixed: Volume, moving: Volume, affine: Float64[np.ndarray, "4 4"], grid: Space, device: str
) -> Float[Tensor, "2 i j k"]:
    """Sample both images on a grid of the fixed world, the moving one through `affine`, each once.

    Parameters
    ----------
    fixed, moving
        Template, and scan on its native grid.
    affine
        Fixed world to moving world, millimetres.
    grid
        Of the velocity.
    device
        Where torch computes.

    Raises
    ------
    DataError
        If an image is constant on the grid.
    """
    points = grid.voxel_centres_mm()
    moved = points @ affine[:3, :3].T + affine[:3, 3]
    seen = [
        even_out(sample_at(image.data, image.space.world_to_voxel(at), "linear").reshape(grid.shape))
        for image, at in ((fixed, points), (moving, moved))
    ]
    return torch.from_numpy(np.stack(seen)).to(device)


def even_out(image: Float32[np.ndarray, "i j k"]) -> Float32[np.ndarray, "i j k"]:
    """Bring intensities to 0 to 1: the 1st percentile to 0, the 99th to 1, and cut what is far beyond.

    Raises
    ------
    DataError
        If the two percentiles coincide.

    Examples
    --------
    >>> even_out(np.linspace(50, 150, 101, dtype=np.float32).reshape(1, 1, 101))[0, 0, [1, 50, 99]].tolist()
    [0.0, 0.5, 1.0]
    """
    low, high = np.percentile(image, (1, 99))
    if not high > low:
        raise DataError(
            f"the image must vary over the brain for a network to see it, got {low:g} nearly everywhere: "
            "check that scan and label map belong together"
        )
    evened: np.ndarray = np.clip((image - low) / (high - low), _LOWEST, _HIGHEST)
    return evened.astype(np.float32)
