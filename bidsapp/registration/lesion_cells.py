"""Which cells of the velocity's grid lie in a lesion and which around it, so that both grow alike."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Float64, UInt8
from torch import Tensor

from bidsapp.geometry import kernels
from bidsapp.geometry.space import Space
from bidsapp.images.volume import Volume
from bidsapp.registration.grids import cell_grid, cell_middles, labels_along
from bidsapp.registration.lesion_places import landed, lesion_radii_mm, nearest_lesion, spline_weights
from bidsapp.registration.losses.lesion_growth import strayed_lesions

RING_MM, RING_PER_RADIUS, FARTHEST_RING_MM = 10.0, 0.4, 16.0
"""How far the tissue reaches that a lesion is tied to: ever farther the larger it is, for the farther it has
pushed the tissue around it; but far off is another part of the brain."""
REACH_CELLS = 1.0
"""Cells so far from a lesion belong to it, in cells: the smallest lesion has some on the coarsest grid."""
_MOST_LESIONS = 127


@dataclass(frozen=True)
class LesionCells:
    """Lesions and their rings on the cells of a displacement's grid.

    Parameters
    ----------
    maps
        Together they hold all lesions: the n-th of a map is 2 n - 1, the ring around it 2 n, all else 0.
    """

    maps: tuple[UInt8[Tensor, "ci cj ck"], ...]

    def strayed(self, displacement: Float[Tensor, "3 i j k"], phase: int) -> Float64[Tensor, ""]:
        """Say how far the lesions' growth strays from their rings', averaged over all cells of the grid.

        Parameters
        ----------
        displacement
            Spline coefficients at the grid points, in voxels.
        phase
            0 or 1: which half of all cell corners is looked at.
        """
        seen = kernels.smooth(displacement, spline_weights(displacement.device))
        total = torch.zeros((), dtype=torch.float64, device=displacement.device)
        for cells, counts in zip(self.maps, self._corner_counts, strict=True):
            moments = kernels.log_jacobian_moments(seen, cells, len(counts), phase)
            total = total + strayed_lesions(*moments, counts)
        return total

    @cached_property
    def _corner_counts(self) -> tuple[Float64[Tensor, " n"], ...]:
        """For every map, and every lesion and ring that it holds."""
        n_lesions = ((int(cells.amax()) + 1) // 2 for cells in self.maps)
        return tuple(
            4 * kernels.count_labels(cells, 2 * n + 1) for cells, n in zip(self.maps, n_lesions, strict=True)
        )


def find_lesion_cells(
    mask: Volume,
    box: Volume,
    affine: Float64[np.ndarray, "4 4"],
    found: tuple[Float[Tensor, "3 i j k"], Space],
) -> LesionCells:
    """Carry lesions and the tissue around them to the cells of a displacement's grid.

    A lesion is one piece of the mask (26 neighbours). Its cells are those whose middle lands in it or within
    a cell of it, so that the smallest lesion has some on the coarsest grid; its ring are the cells of the
    brain beyond, up to 10 mm and four tenths of its radius (16 mm at most), that are nearer to it than to any
    other lesion.

    Parameters
    ----------
    mask
        Lesions (not 0) on the patient's native grid.
    box
        The fixed labels; rings keep to the brain.
    affine
        Fixed world to moving world, millimetres.
    found
        Displacement so far (spline coefficients, voxels) and its grid.
    """
    displacement, grid = found
    cells = tuple(size - 1 for size in grid.shape)
    middles = cell_middles(grid)
    reach = REACH_CELLS * max(grid.voxel_sizes_mm)
    is_brain = labels_along(box, cell_grid(grid)).reshape(-1) > 0
    ring_mm = np.minimum(RING_MM + RING_PER_RADIUS * lesion_radii_mm(mask), FARTHEST_RING_MM)
    farthest_mm = np.where(is_brain, FARTHEST_RING_MM + reach, np.nextafter(reach, np.inf))
    nearest, distance = nearest_lesion(mask, landed(middles, affine, found), farthest_mm)
    number = np.where(distance <= reach, 2 * nearest - 1, 2 * nearest)
    is_beyond = distance > np.append(0.0, ring_mm)[nearest] + reach
    number[(distance > reach) & (is_beyond | ~is_brain)] = 0
    device = displacement.device
    maps = []
    for first in range(0, int(nearest.max(initial=0)), _MOST_LESIONS):
        is_here = (nearest > first) & (nearest <= first + _MOST_LESIONS) & (number > 0)
        part = np.where(is_here, number - 2 * first, 0)
        maps.append(torch.from_numpy(part.reshape(cells).astype(np.uint8)).to(device))
    return LesionCells(tuple(maps))
