"""Where points of the displacement's grid land in the patient, and which lesion is nearest to them."""

from functools import cache

import numpy as np
import torch
from jaxtyping import Float, Float64, Int32, Int64
from scipy.ndimage import binary_erosion, generate_binary_structure, label
from scipy.spatial import KDTree
from torch import Tensor

from bidsapp.geometry import kernels
from bidsapp.geometry.resample import sample_at
from bidsapp.geometry.space import Space
from bidsapp.images.box import box_around
from bidsapp.images.volume import Volume

TOUCHING = generate_binary_structure(3, 3)
"""Voxels that share a corner belong to one lesion."""


@cache
def spline_weights(device: torch.device) -> Float[Tensor, " w"]:
    """Give what turns spline coefficients at the grid points into the values there."""
    return torch.tensor((1 / 6, 2 / 3, 1 / 6), dtype=torch.float32, device=device)


def landed(
    index: Float64[np.ndarray, "n 3"],
    affine: Float64[np.ndarray, "4 4"],
    found: tuple[Float[Tensor, "3 i j k"], Space],
) -> Float64[np.ndarray, "n 3"]:
    """Send points of a displacement's grid to the moving world, millimetres.

    Parameters
    ----------
    index
        On the grid.
    affine
        Fixed world to moving world, millimetres.
    found
        Displacement (spline coefficients, voxels) and its grid.
    """
    displacement, grid = found
    seen = kernels.smooth(displacement, spline_weights(displacement.device)).cpu().numpy()
    moved = grid.voxel_to_world(index + kernels.sample_vectors(seen, index))
    there: np.ndarray = moved @ affine[:3, :3].T + affine[:3, 3]
    return there


def nearest_lesion(
    mask: Volume, points_mm: Float64[np.ndarray, "n 3"], farthest_mm: Float64[np.ndarray, " n"]
) -> tuple[Int64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
    """Give number and distance of the nearest lesion voxel; 0 and infinite where none is as near as is asked.

    Whoever is in a voxel of a lesion is nearest to it; all others are nearest to one at a lesion's surface.
    """
    nearest = np.zeros(len(points_mm), dtype=np.int64)
    distance = np.full(len(points_mm), np.inf)
    if not mask.data.any():
        return nearest, distance
    pieces, corner = _numbered(mask)
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


def lesion_radii_mm(mask: Volume) -> Float64[np.ndarray, " n"]:
    """Give the radius of the ball that is as large as each lesion, in the order of `nearest_lesion`."""
    if not mask.data.any():
        return np.zeros(0)
    pieces, _ = _numbered(mask)
    radii: np.ndarray = np.cbrt(
        3 / (4 * np.pi) * mask.space.voxel_volume_mm3 * np.bincount(pieces.ravel())[1:]
    )
    return radii


def _numbered(mask: Volume) -> tuple[Int32[np.ndarray, "a b c"], Float64[np.ndarray, "3"]]:
    """Give every lesion a number from 1, in a box around all of them, and that box's first voxel."""
    flags = mask.data != 0
    box = box_around(flags, (1, 1, 1))
    pieces, _ = label(flags[box], structure=TOUCHING)
    return pieces, np.array([float(along.start) for along in box])
