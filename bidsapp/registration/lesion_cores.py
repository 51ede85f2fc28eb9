"""What lies deep in lesions: nothing there tells which tissue was replaced."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64
from scipy.ndimage import distance_transform_edt, find_objects, generate_binary_structure, label
from torch import Tensor

from bidsapp.geometry import kernels
from bidsapp.geometry.resample import sample_at
from bidsapp.geometry.space import Space
from bidsapp.images.regrid import on_grid
from bidsapp.images.volume import Volume
from bidsapp.registration.grids import LabelPair, box_around, lay

DEPTH_MM = 1.0
"""So far in, the labels of the surroundings say which tissue was there; deeper they would be guessed."""
_TOUCHING = generate_binary_structure(3, 3)


@dataclass(frozen=True)
class LesionCores:
    """Leaves the cores of lesions out of the comparison of labels, wherever they land at the moment.

    Parameters
    ----------
    inside
        1 in the cores, 0 elsewhere, on the grid of the moving labels.
    """

    inside: Float[Tensor, "mi mj mk"]

    def leave_out(self, pair: LabelPair, displacement: Float[Tensor, "3 i j k"]) -> LabelPair:
        """Leave the fixed voxels out that land in cores.

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


def leave_out_cores(laid: Volume, mask: Volume, affine: Float64[np.ndarray, "4 4"]) -> Volume:
    """Leave the cores of lesions out of the moving labels as the affine step lays them on a fixed grid.

    Parameters
    ----------
    laid
        Moving labels after the affine step.
    mask
        Lesions (not 0) on the native grid.
    affine
        Fixed world to moving world, millimetres.
    """
    deep = deep_inside(mask, DEPTH_MM)
    if not deep.any():
        return laid
    covered = on_grid(lay(Volume(deep.astype(np.uint8), mask.space), affine), laid.space).data > 0
    return Volume(np.where(covered, np.uint8(kernels.LEFT_OUT), laid.data), laid.space)


def find_lesion_cores(mask: Volume, moving: Space, device: torch.device | str) -> LesionCores | None:
    """Find what lies deeper than 4 mm in its lesion; None if nothing does.

    Parameters
    ----------
    mask
        Lesions (not 0) on the native grid.
    moving
        Grid of the moving labels.
    device
        Where torch computes.
    """
    deep = deep_inside(mask, DEPTH_MM)
    if not deep.any():
        return None
    inside = np.zeros(moving.shape, dtype=np.float32)
    part = _box_on(moving, mask.space, box_around(deep, (1, 1, 1)))
    shape = tuple(along.stop - along.start for along in part)
    voxels = np.indices(shape, dtype=np.float64).reshape(3, -1).T + [along.start for along in part]
    at = mask.space.world_to_voxel(moving.voxel_to_world(voxels))
    inside[part] = sample_at(deep.astype(np.uint8), at, "nearest").reshape(shape)
    return LesionCores(torch.from_numpy(inside).to(device))


def _box_on(moving: Space, space: Space, box: tuple[slice, slice, slice]) -> tuple[slice, slice, slice]:
    """Give the box of a grid's voxels that holds all of it that lies in the box of another grid."""
    corners = np.array(np.meshgrid(*[(along.start, along.stop) for along in box]), dtype=np.float64)
    at = moving.world_to_voxel(space.voxel_to_world(corners.reshape(3, -1).T))
    low = np.clip(np.floor(at.min(axis=0)).astype(int), 0, moving.shape)
    high = np.clip(np.ceil(at.max(axis=0)).astype(int) + 1, low, moving.shape)
    i, j, k = (slice(int(first), int(last)) for first, last in zip(low, high, strict=True))
    return i, j, k


def deep_inside(mask: Volume, depth_mm: float) -> Bool[np.ndarray, "i j k"]:
    """Flag the voxels of a mask that are farther than a depth from all that is not their lesion.

    Examples
    --------
    >>> row = np.zeros((9, 9, 9), dtype=bool)
    >>> row[1:8, 1:8, 1:8] = True
    >>> int(deep_inside(Volume(row, Space((9, 9, 9), np.eye(4))), 3.0).sum())
    1
    """
    deep = np.zeros(mask.space.shape, dtype=np.bool_)
    flags = mask.data != 0
    if not flags.any():
        return deep
    box = box_around(flags, (0, 0, 0))
    pieces, _ = label(flags[box], structure=_TOUCHING)
    for number, part in enumerate(find_objects(pieces), start=1):
        inside = np.pad(pieces[part] == number, 1)
        depth = distance_transform_edt(inside, sampling=mask.space.voxel_sizes_mm)
        deep[box][part] |= depth[1:-1, 1:-1, 1:-1] > depth_mm
    return deep
