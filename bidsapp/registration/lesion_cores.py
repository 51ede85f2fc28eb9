"""What lies deep in lesions: nothing there tells which tissue was replaced."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.ndimage import distance_transform_edt, find_objects, generate_binary_structure, label
from torch import Tensor

from bidsapp.geometry import kernels
from bidsapp.geometry.resample import sample_at
from bidsapp.geometry.space import Space
from bidsapp.images.volume import Volume
from bidsapp.registration.grids import LabelPair

DEPTH_MM = 4.0
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
        """Call background what lies in cores: the moving voxels, and the fixed voxels that land there.

        Parameters
        ----------
        pair
            Both label maps.
        displacement
            In voxels of the pair's grid.
        """
        i, j, k = pair.fixed.shape
        covered = kernels.sample_image(displacement.detach(), pair.to_grid, self.inside, pair.maps, (i, j, k))
        return replace(
            pair,
            fixed=pair.fixed.masked_fill(covered >= 0.5, 0),
            moving=pair.moving.masked_fill(self.inside > 0, 0),
        )


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
    at = mask.space.world_to_voxel(moving.voxel_centres_mm())
    inside = sample_at(deep.astype(np.uint8), at, "nearest").reshape(moving.shape)
    return LesionCores(torch.from_numpy(inside.astype(np.float32)).to(device))


def deep_inside(mask: Volume, depth_mm: float) -> Bool[np.ndarray, "i j k"]:
    """Flag the voxels of a mask that are farther than a depth from all that is not their lesion.

    Examples
    --------
    >>> row = np.zeros((9, 9, 9), dtype=bool)
    >>> row[1:8, 1:8, 1:8] = True
    >>> int(deep_inside(Volume(row, Space((9, 9, 9), np.eye(4))), 3.0).sum())
    1
    """
    pieces, _ = label(mask.data != 0, structure=_TOUCHING)
    deep = np.zeros(mask.space.shape, dtype=np.bool_)
    for number, part in enumerate(find_objects(pieces), start=1):
        inside = np.pad(pieces[part] == number, 1)
        depth = distance_transform_edt(inside, sampling=mask.space.voxel_sizes_mm)
        deep[part] |= depth[1:-1, 1:-1, 1:-1] > depth_mm
    return deep
