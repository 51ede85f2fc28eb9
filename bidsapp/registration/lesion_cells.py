"""Which cells of the velocity's grid lie in a lesion and which around it, so that both grow alike."""

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64, UInt8
from scipy.ndimage import binary_erosion, generate_binary_structure, label
from scipy.spatial import KDTree
from torch import Tensor

from bidsapp.geometry import kernels
from bidsapp.geometry.resample import sample_at
from bidsapp.geometry.space import Space
from bidsapp.images.volume import Volume
from bidsapp.registration.grids import box_around
from bidsapp.registration.losses.lesion_growth import strayed_lesions

RING_MM = 16.0
"""How far the tissue reaches that a lesion is tied to: pushed close by, and far off it is another part."""
REACH_CELLS = 1.0
"""Cells so far from a lesion belong to it, in cells: the smallest lesion has some on the coarsest grid."""
_TOUCHING = generate_binary_structure(3, 3)
_MOST_LESIONS = 127


@cache
def _spline(device: torch.device) -> Float[Tensor, " w"]:
    """Give what turns spline coefficients at the grid points into the values there."""
    return torch.tensor((1 / 6, 2 / 3, 1 / 6), dtype=torch.float32, device=device)


@dataclass(frozen=True)
class LesionCells:
    """Lesions and their rings on the cells of a displacement's grid.

    Parameters
    ----------
    maps
        Together they hold all lesions: the n-th of a map is 2 n - 1, the ring around it 2 n, all else 0.
    """

    maps: tuple[UInt8[Tensor, "ci cj ck"], ...]
    fills: tuple = ()

    def fill(self, change):
        if not self.fills:
            return change
        flat = change.flatten(1)
        at = torch.cat([inside for inside, _, _ in self.fills])
        values = torch.cat([flat.index_select(1, hem) @ weights for _, hem, weights in self.fills], dim=1)
        return flat.index_copy(1, at, values).reshape(change.shape)

    def strayed(self, displacement: Float[Tensor, "3 i j k"], phase: int) -> Float64[Tensor, ""]:
        """Say how far the lesions' growth strays from their rings', averaged over all cells of the grid.

        Parameters
        ----------
        displacement
            Spline coefficients at the grid points, in voxels.
        phase
            0 or 1: which half of all cell corners is looked at.
        """
        seen = kernels.smooth(displacement, _spline(displacement.device))
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


import os
HEM_MM = float(os.environ.get('HEM', '3.0'))
FREACH = float(os.environ.get('FREACH', '0.5'))
POWER = float(os.environ.get('POWER', '3'))

def _fills(mask, box, affine, found):
    displacement, grid = found
    landed = _landed(displacement, grid, affine, points=True)
    reach = FREACH * max(grid.voxel_sizes_mm)
    hem_mm = max(HEM_MM, 1.01 * max(grid.voxel_sizes_mm))
    nearest, distance = _nearest_lesion(mask, landed, np.full(len(landed), reach + hem_mm))
    at = grid.voxel_to_world(np.indices(grid.shape).reshape(3, -1).T.astype(float))
    v = np.clip(np.rint(box.space.world_to_voxel(at)).astype(int), 0, np.array(box.space.shape) - 1)
    brain = box.data[tuple(v.T)] > 0
    out = []
    for n in range(1, int(nearest.max(initial=0)) + 1):
        inside = np.flatnonzero((nearest == n) & (distance <= reach))
        hem = np.flatnonzero((nearest == n) & (distance > reach) & brain)
        if not len(inside) or len(hem) < 4:
            continue
        apart = np.linalg.norm(at[hem][:, None] - at[inside][None], axis=2)
        w = apart ** -POWER
        w /= w.sum(axis=0)
        d = displacement.device
        out.append((torch.from_numpy(inside).to(d), torch.from_numpy(hem).to(d), torch.from_numpy(w.astype(np.float32)).to(d)))
    return tuple(out)


def find_lesion_cells(
    mask: Volume,
    box: Volume,
    affine: Float64[np.ndarray, "4 4"],
    found: tuple[Float[Tensor, "3 i j k"], Space],
) -> LesionCells:
    """Carry lesions and the tissue around them to the cells of a displacement's grid.

    A lesion is one piece of the mask (26 neighbours). Its cells are those whose middle lands in it or within
    a cell of it, so that the smallest lesion has some on the coarsest grid; its ring are the cells of the
    brain beyond, up to 16 mm, that are nearer to it than to any other lesion.

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
    landed = _landed(displacement, grid, affine)
    reach = REACH_CELLS * max(grid.voxel_sizes_mm)
    in_brain = _in_brain(box, grid)
    farthest_mm = np.where(in_brain, RING_MM + reach, np.nextafter(reach, np.inf))
    nearest, distance = _nearest_lesion(mask, landed, farthest_mm)
    number = np.where(distance <= reach, 2 * nearest - 1, 2 * nearest)
    number[(distance > reach) & ((distance > RING_MM + reach) | ~in_brain)] = 0
    device = displacement.device
    maps = []
    for first in range(0, int(nearest.max(initial=0)), _MOST_LESIONS):
        is_here = (nearest > first) & (nearest <= first + _MOST_LESIONS) & (number > 0)
        part = np.where(is_here, number - 2 * first, 0)
        maps.append(torch.from_numpy(part.reshape(cells).astype(np.uint8)).to(device))
    return LesionCells(tuple(maps), _fills(mask, box, affine, found))


def _landed(
    displacement: Float[Tensor, "3 i j k"], grid: Space, affine: Float64[np.ndarray, "4 4"], points=False
) -> Float64[np.ndarray, "n 3"]:
    """Send the middle of every cell to the moving world."""
    seen = kernels.smooth(displacement, _spline(displacement.device)).cpu().numpy()
    cells = tuple(size - 1 for size in grid.shape)
    index = np.indices(cells, dtype=np.float64).reshape(3, -1).T + 0.5
    if points:
        index = np.indices(grid.shape, dtype=np.float64).reshape(3, -1).T
    moved = grid.voxel_to_world(index + kernels.sample_vectors(seen, index))
    landed: np.ndarray = moved @ affine[:3, :3].T + affine[:3, 3]
    return landed


def _nearest_lesion(
    mask: Volume, points_mm: Float64[np.ndarray, "n 3"], farthest_mm: Float64[np.ndarray, " n"]
) -> tuple[Int64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
    """Give number and distance of the nearest lesion voxel; 0 and infinite where none is as near as is asked.

    Whoever is in a voxel of a lesion is nearest to it; all others are nearest to one at a lesion's surface.
    """
    flags = mask.data != 0
    nearest = np.zeros(len(points_mm), dtype=np.int64)
    distance = np.full(len(points_mm), np.inf)
    if not flags.any():
        return nearest, distance
    box = box_around(flags, (1, 1, 1))
    corner = np.array([float(along.start) for along in box])
    pieces, _ = label(flags[box], structure=_TOUCHING)
    surface = np.argwhere((pieces > 0) & ~binary_erosion(pieces > 0))
    centres = mask.space.voxel_to_world(surface + corner)
    numbers = np.append(pieces[tuple(surface.T)], 0)
    tree = KDTree(centres, leafsize=32, balanced_tree=False)
    for limit in np.unique(farthest_mm):
        low, high = centres.min(axis=0) - limit, centres.max(axis=0) + limit
        near = np.flatnonzero(((points_mm >= low) & (points_mm <= high)).all(axis=1) & (farthest_mm == limit))
        voxels = np.rint(mask.space.world_to_voxel(points_mm[near]))
        inside = sample_at(pieces, voxels - corner, "nearest")
        apart = np.linalg.norm(points_mm[near] - mask.space.voxel_to_world(voxels), axis=1)
        is_inside = (inside > 0) & (apart <= limit)
        nearest[near[is_inside]], distance[near[is_inside]] = inside[is_inside], apart[is_inside]
        near = near[inside == 0]
        distance[near], at = tree.query(points_mm[near], distance_upper_bound=limit)
        nearest[near] = numbers[at]
    return nearest, distance


def _in_brain(box: Volume, grid: Space) -> np.ndarray:
    """Tell for every cell of a grid whether its middle is labelled."""
    cells = tuple(size - 1 for size in grid.shape)
    index = np.indices(cells, dtype=np.float64).reshape(3, -1).T + 0.5
    voxels = np.rint(box.space.world_to_voxel(grid.voxel_to_world(index))).astype(np.int64)
    voxels = np.clip(voxels, 0, np.array(box.space.shape) - 1)
    return np.asarray(box.data[tuple(voxels.T)] > 0)
