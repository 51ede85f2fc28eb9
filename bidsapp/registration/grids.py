"""Label maps and grids, prepared for the workshop."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Float64, UInt8
from torch import Tensor

from bidsapp.geometry import kernels
from bidsapp.geometry.space import Space
from bidsapp.images.box import box_around
from bidsapp.images.neighbours import any_in_ball
from bidsapp.images.volume import Volume

N_LABELS = 35
FAR_MM = 8.0


def crop_to_labels(labels: Volume, margin_mm: float) -> Volume:
    """Cut a label map to the box of its labels plus a margin."""
    i, j, k = (int(np.ceil(margin_mm / size_mm)) for size_mm in labels.space.voxel_sizes_mm)
    box = box_around(labels.data > 0, (i, j, k))
    start = np.array([[part.start for part in box]], dtype=np.float64)
    affine = labels.space.affine.copy()
    affine[:3, 3] = labels.space.voxel_to_world(start)[0]
    data = np.ascontiguousarray(labels.data[box])
    return Volume(data, Space((data.shape[0], data.shape[1], data.shape[2]), affine))


def pad(labels: Volume, n_voxels: int = 2) -> Volume:
    """Surround a label map with background, so that labels at its border can fade out."""
    affine = labels.space.affine.copy()
    affine[:3, 3] = labels.space.voxel_to_world(np.full((1, 3), -float(n_voxels)))[0]
    data = np.pad(labels.data, n_voxels)
    return Volume(data, Space((data.shape[0], data.shape[1], data.shape[2]), affine))


def lay(image: Volume, affine: Float64[np.ndarray, "4 4"]) -> Volume:
    """Take an image of the moving world to the fixed one by an affine (fixed to moving); its data stay."""
    return Volume(image.data, Space(image.space.shape, np.linalg.inv(affine) @ image.space.affine))


def lay_on(labels: Volume, affine: Float64[np.ndarray, "4 4"], onto: Space, device: str) -> Volume:
    """Read the nearest label of the moving world at the voxels of a fixed grid; 0 beyond the border.

    Parameters
    ----------
    labels
        Label map or mask.
    affine
        Fixed world to moving world, millimetres.
    onto
        The grid to fill.
    device
        Where torch computes.
    """
    to_voxels = labels.space.inverse_affine @ affine @ onto.affine
    i, j, k = (torch.arange(size, dtype=torch.float64, device=device) for size in onto.shape)
    flat = torch.zeros(onto.shape, dtype=torch.int32, device=device)
    inside = torch.ones(onto.shape, dtype=torch.bool, device=device)
    for size, (per_i, per_j, per_k, shift) in zip(labels.space.shape, to_voxels[:3].tolist(), strict=True):
        place = (per_i * i + (shift + 0.5))[:, None, None] + (per_j * j)[:, None] + per_k * k
        voxel = place.floor_().clamp_(-1, size).int()
        inside &= (voxel >= 0) & (voxel < size)
        flat = flat.mul_(size).add_(voxel.clamp_(0, size - 1))
    data = torch.from_numpy(labels.data.astype(np.uint8)).to(device).flatten()
    read: np.ndarray = torch.where(inside, data[flat.long()], 0).cpu().numpy()
    return Volume(read, onto)


def leave_out_far(labels: Volume) -> Volume:
    """Leave background out that is farther than 8 mm from every structure: nothing lands there.

    Every second voxel along each axis is measured, which takes an eighth of the time and errs by a voxel.
    """
    sizes_mm = tuple(2 * size_mm for size_mm in labels.space.voxel_sizes_mm)
    far = ~any_in_ball(labels.data[::2, ::2, ::2] > 0, FAR_MM, sizes_mm)
    for axis, size in enumerate(labels.space.shape):
        far = np.repeat(far, 2, axis=axis).take(np.arange(size), axis=axis)
    far &= labels.data == 0
    return Volume(np.where(far, np.uint8(kernels.LEFT_OUT), labels.data), labels.space)


def coarsen(labels: Volume, spacing_mm: float) -> Volume:
    """Keep every n-th label along each axis, n chosen to come close to `spacing_mm`; never refines."""
    kept, space = thinned(labels.space, spacing_mm)
    return Volume(np.ascontiguousarray(labels.data[kept]), space)


def thinned(space: Space, spacing_mm: float) -> tuple[tuple[slice, slice, slice], Space]:
    """Tell which voxels `coarsen` keeps along each axis, and the grid they form."""
    factors = [max(1, round(spacing_mm / size)) for size in space.voxel_sizes_mm]
    factors = [min(factor, size) for factor, size in zip(factors, space.shape, strict=True)]
    starts = [factor // 2 for factor in factors]
    i, j, k = (slice(start, None, factor) for start, factor in zip(starts, factors, strict=True))
    affine = space.affine @ np.diag([*factors, 1.0])
    affine[:3, 3] = space.voxel_to_world(np.array([starts], dtype=np.float64))[0]
    ni, nj, nk = (len(range(size)[kept]) for size, kept in zip(space.shape, (i, j, k), strict=True))
    return (i, j, k), Space((ni, nj, nk), affine)


def grid_points(grid: Space) -> Float64[np.ndarray, "n 3"]:
    """Give the index of every point of a grid, C order."""
    return np.indices(grid.shape, dtype=np.float64).reshape(3, -1).T


def cell_middles(grid: Space) -> Float64[np.ndarray, "n 3"]:
    """Give the index, which has halves, of the middle of every cell between eight grid points, C order."""
    cells = tuple(size - 1 for size in grid.shape)
    return np.indices(cells, dtype=np.float64).reshape(3, -1).T + 0.5


def labels_at(labels: Volume, index: Float64[np.ndarray, "n 3"], grid: Space) -> UInt8[np.ndarray, " n"]:
    """Read the nearest label at points of another grid; beyond the border the label there holds.

    Parameters
    ----------
    labels
        Label map.
    index
        Points, in voxels of `grid`.
    grid
        Any grid in the same world.
    """
    voxels = np.rint(labels.space.world_to_voxel(grid.voxel_to_world(index))).astype(np.int64)
    voxels = np.clip(voxels, 0, np.array(labels.space.shape) - 1)
    return labels.data[tuple(voxels.T)].astype(np.uint8)


def cell_grid(grid: Space) -> Space:
    """Give the grid of the middles of all cells between eight grid points."""
    ni, nj, nk = (size - 1 for size in grid.shape)
    affine = grid.affine.copy()
    affine[:3, 3] = grid.voxel_to_world(np.full((1, 3), 0.5))[0]
    return Space((ni, nj, nk), affine)


def labels_along(labels: Volume, grid: Space) -> UInt8[np.ndarray, "i j k"]:
    """Read the nearest label at all points of a grid that has the axes of the label map, axis by axis.

    Parameters
    ----------
    labels
        Label map; beyond the border the label there holds.
    grid
        Of the same world; its axes run along those of the label map.
    """
    shift = labels.space.inverse_affine @ grid.affine
    read = labels.data
    for axis, size in enumerate(grid.shape):
        voxels = np.rint(shift[axis, axis] * np.arange(size) + shift[axis, 3]).astype(np.int64)
        read = read.take(np.clip(voxels, 0, labels.space.shape[axis] - 1), axis=axis)
    return np.ascontiguousarray(read.astype(np.uint8))


def refine(velocity: Float[Tensor, "3 i j k"], grid: Space, onto: Space) -> Float[Tensor, "3 a b c"]:
    """Interpolate a velocity, in voxels of `grid`, onto a finer grid of the same axes, in its voxels."""
    shift = grid.inverse_affine @ onto.affine
    weights = []
    for axis, size in enumerate(grid.shape):
        at = shift[axis, axis] * np.arange(onto.shape[axis]) + shift[axis, 3]
        weights.append(np.stack([np.interp(at, np.arange(size), unit) for unit in np.eye(size)], axis=1))
    weights[0] *= grid.voxel_sizes_mm[0] / onto.voxel_sizes_mm[0]
    i, j, k = (torch.from_numpy(matrix).float().to(velocity.device) for matrix in weights)
    return kernels.separable(velocity.detach(), (i, j, k))


@dataclass(frozen=True)
class LabelPair:
    """A fixed and a moving label map with everything `geometry.kernels.label_votes` needs.

    Parameters
    ----------
    to_grid
        Per axis, scale and offset from a fixed voxel to the displacement's grid.
    fixed, moving
        SegAnat labels.
    maps
        Fixed voxel to moving voxel, and displacement (voxels of its grid) to moving voxels.
    """

    to_grid: Float[Tensor, "3 2"]
    fixed: UInt8[Tensor, "fi fj fk"]
    moving: UInt8[Tensor, "mi mj mk"]
    maps: tuple[Float[Tensor, "3 4"], Float[Tensor, "3 3"]]

    @cached_property
    def fixed_volume(self) -> Float64[Tensor, " n"]:
        """Number of fixed voxels of every label."""
        return kernels.count_labels(self.fixed, N_LABELS)

    @cached_property
    def present(self) -> Tensor:
        """Labels, background left out, that both maps have."""
        both = (self.fixed_volume > 0) & (kernels.count_labels(self.moving, N_LABELS) > 0)
        both[:1].zero_()
        return both


def place(
    fixed: Space, moving: Space, affine: Float64[np.ndarray, "4 4"], grid: Space, device: torch.device | str
) -> tuple[Float[Tensor, "3 2"], tuple[Float[Tensor, "3 4"], Float[Tensor, "3 3"]]]:
    """Say where fixed voxels lie on the grid of the displacement, and how both reach the moving voxels."""
    index_map = moving.inverse_affine @ affine @ fixed.affine
    step_map = (moving.inverse_affine @ affine @ grid.affine)[:3, :3]
    shift = grid.inverse_affine @ fixed.affine
    to_grid = np.stack([np.diag(shift)[:3], shift[:3, 3]], axis=1)

    def tensor(array: np.ndarray) -> Tensor:
        return torch.as_tensor(array, dtype=torch.float32, device=device)

    return tensor(to_grid), (tensor(index_map[:3]), tensor(step_map))


def pair_labels(
    fixed: Volume,
    moving: Volume,
    affine: Float64[np.ndarray, "4 4"],
    grid: Space,
    device: torch.device | str,
) -> LabelPair:
    """Bring two label maps and a displacement grid together through `affine`, fixed world to moving world."""
    to_grid, maps = place(fixed.space, moving.space, affine, grid, device)
    fixed_labels, moving_labels = (
        torch.from_numpy(volume.data.astype(np.uint8)).to(device) for volume in (fixed, moving)
    )
    return LabelPair(to_grid, fixed_labels, moving_labels, maps)
