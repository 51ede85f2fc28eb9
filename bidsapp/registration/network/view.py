"""What the network sees: atlas and patient, sampled on the grid of the velocity."""

from collections.abc import Mapping
from functools import cache

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, UInt8
from torch import Tensor

from bidsapp.atlas.seganat import structures
from bidsapp.errors import DataError
from bidsapp.geometry.resample import sample_at
from bidsapp.geometry.space import Space
from bidsapp.images.volume import Volume
from bidsapp.settings import SIGHTS

_LOWEST, _HIGHEST = -0.5, 1.5
_REGIONS = tuple(sorted({structure.region for structure in structures() if structure.index}))

N_CHANNELS: Mapping[str, int] = dict(zip(SIGHTS, (2, 2 * (len(_REGIONS) + 1)), strict=True))
"""In how many channels a network sees two brains: an image of each, or the shares of each."""


def see(
    sees: str,
    pair: tuple[Volume, Volume],
    affine: Float64[np.ndarray, "4 4"],
    grid: Space,
    device: str,
) -> Float[Tensor, "c i j k"]:
    """Sample two brains on a grid of the fixed world, the moving one through `affine`, each once.

    Parameters
    ----------
    sees
        "images" or "labels".
    pair
        Template, and scan on its native grid; or the SegAnat labels of both.
    affine
        Fixed world to moving world, millimetres.
    grid
        Of the velocity.
    device
        Where torch computes.

    Returns
    -------
    seen
        Channels of the fixed brain, then as many of the moving one.

    Raises
    ------
    DataError
        If an image is constant on the grid.
    """
    if sees == "images":
        return _see_images(*pair, affine, grid, device)
    half = halved(grid)
    points = half.voxel_centres_mm()
    moved = points @ affine[:3, :3].T + affine[:3, 3]
    sampled = (
        sample_at(labels.data, labels.space.world_to_voxel(at), "nearest").astype(np.uint8)
        for labels, at in zip(pair, (points, moved), strict=True)
    )
    return torch.cat([shares(torch.from_numpy(labels.reshape(half.shape))) for labels in sampled]).to(device)


def halved(grid: Space) -> Space:
    """Divide every voxel of a grid into eight.

    Examples
    --------
    >>> half = halved(Space((1, 2, 3), np.diag([4.0, 4, 4, 1])))
    >>> half.shape, half.affine[:3, 3].tolist()
    ((2, 4, 6), [-1.0, -1.0, -1.0])
    """
    affine = grid.affine @ np.diag([0.5, 0.5, 0.5, 1.0])
    affine[:3, 3] = grid.voxel_to_world(np.full((1, 3), -0.25))[0]
    i, j, k = grid.shape
    return Space((2 * i, 2 * j, 2 * k), affine)


def shares(labels: UInt8[Tensor, "a b c"]) -> Float[Tensor, "r i j k"]:
    """Tell what share of each voxel every structure has, both sides together, and what share is left brain.

    Parameters
    ----------
    labels
        SegAnat on a grid halved by `halved`.

    Returns
    -------
    shares
        0 to 1; the structures in the order of their names, then left.
    """
    i, j, k = (size // 2 for size in labels.shape)
    members = _members().to(labels.device)[labels.long()]
    return members.reshape(i, 2, j, 2, k, 2, -1).mean(dim=(1, 3, 5)).permute(3, 0, 1, 2).contiguous()


@cache
def _members() -> Float[Tensor, "35 r"]:
    """Give a row per class: its structure without the side, and whether it is on the left."""
    members = torch.zeros(len(structures()), len(_REGIONS) + 1)
    for structure in structures()[1:]:
        members[structure.index, _REGIONS.index(structure.region)] = 1
        members[structure.index, -1] = structure.hemisphere == "left"
    return members


def _see_images(
    fixed: Volume, moving: Volume, affine: Float64[np.ndarray, "4 4"], grid: Space, device: str
) -> Float[Tensor, "2 i j k"]:
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
