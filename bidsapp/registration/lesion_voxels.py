"""Which voxels lie in lesions: nothing there tells which tissue was replaced, so nothing is compared."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from bidsapp.geometry import kernels
from bidsapp.geometry.resample import sample_at
from bidsapp.geometry.space import Space
from bidsapp.images.box import box_around
from bidsapp.images.volume import Volume
from bidsapp.registration.grids import LabelPair, lay_on


@dataclass(frozen=True)
class LesionVoxels:
    """Leaves lesions out of the comparison of labels, wherever they land at the moment.

    Parameters
    ----------
    inside
        1 in lesions, 0 elsewhere, on the grid of the moving labels.
    """

    inside: Float[Tensor, "mi mj mk"]

    def leave_out(self, pair: LabelPair, displacement: Float[Tensor, "3 i j k"]) -> LabelPair:
        """Leave the fixed voxels out that land in lesions.

        Parameters
        ----------
        pair
            Both label maps.
        displacement
            In voxels of the pair's grid.
        """
        i, j, k = pair.fixed.shape
        covered = kernels.sample_image(displacement.detach(), pair.to_grid, self.inside, pair.maps, (i, j, k))
        return replace(pair, fixed=pair.fixed.masked_fill(covered >= 0.5, kernels.LEFT_OUT))


def leave_out_lesions(laid: Volume, mask: Volume, affine: Float64[np.ndarray, "4 4"], device: str) -> Volume:
    """Leave lesions out of the moving labels as the affine step lays them on a fixed grid.

    Parameters
    ----------
    laid
        Moving labels after the affine step.
    mask
        Lesions (not 0) on the native grid.
    affine
        Fixed world to moving world, millimetres.
    device
        Where torch computes.
    """
    flags = Volume(mask.data != 0, mask.space)
    covered = lay_on(flags, affine, laid.space, device).data != 0
    return Volume(np.where(covered, np.uint8(kernels.LEFT_OUT), laid.data), laid.space)


def find_lesion_voxels(mask: Volume, moving: Space, device: torch.device | str) -> LesionVoxels:
    """Carry lesions to the grid of the moving labels.

    Parameters
    ----------
    mask
        Lesions (not 0) on the native grid, one at least.
    moving
        Grid of the moving labels.
    device
        Where torch computes.
    """
    flags = mask.data != 0
    inside = np.zeros(moving.shape, dtype=np.float32)
    part = _box_on(moving, mask.space, box_around(flags, (1, 1, 1)))
    shape = tuple(along.stop - along.start for along in part)
    voxels = np.indices(shape, dtype=np.float64).reshape(3, -1).T + [along.start for along in part]
    at = mask.space.world_to_voxel(moving.voxel_to_world(voxels))
    inside[part] = sample_at(flags.astype(np.uint8), at, "nearest").reshape(shape)
    return LesionVoxels(torch.from_numpy(inside).to(device))


def _box_on(moving: Space, space: Space, box: tuple[slice, slice, slice]) -> tuple[slice, slice, slice]:
    """Give the box of a grid's voxels that holds all of it that lies in the box of another grid."""
    corners = np.array(np.meshgrid(*[(along.start, along.stop) for along in box]), dtype=np.float64)
    at = moving.world_to_voxel(space.voxel_to_world(corners.reshape(3, -1).T))
    low = np.clip(np.floor(at.min(axis=0)).astype(int), 0, moving.shape)
    high = np.clip(np.ceil(at.max(axis=0)).astype(int) + 1, low, moving.shape)
    i, j, k = (slice(int(first), int(last)) for first, last in zip(low, high, strict=True))
    return i, j, k
