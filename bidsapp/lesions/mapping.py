"""Lesion -> atlas: where a lesion lies among the structures, and how sure that is."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64
from scipy.ndimage import map_coordinates

from bidsapp.atlas.seganat import N_CLASSES, structures
from bidsapp.geometry.space import Space
from bidsapp.images.alignment import Alignment
from bidsapp.images.volume import Volume
from bidsapp.lesions.instances import Lesion

SPACING_MM = 0.5
"""Lesions are warped onto a grid at least as fine: on a coarser one the smallest of them vanish."""

REACH_MM = 3.0
"""A centroid outside all structures is given to the nearest one within this distance."""

OUTSIDE = "outside"

_MARGIN_MM = 2.0
_CORNERS = np.array(np.meshgrid(*[(-0.5, 0.5)] * 3)).reshape(3, -1).T


@dataclass(frozen=True, slots=True, eq=False)
class WarpedLesion:
    """One lesion in atlas space.

    Parameters
    ----------
    points_mm
        World position of the points of a fine grid inside the lesion: the interpolated mask is at least half
        its largest value there, which is 1 for all but lesions of a few voxels.
    volume_mm3
        Sum of the interpolated mask times the volume of a grid cell: exact under a shift, also for lesions
        of a few voxels. 0 where nothing arrives.
    point_mm
        The native centre of gravity, sent through the alignment.
    """

    points_mm: Float64[np.ndarray, "n 3"]
    volume_mm3: float
    point_mm: Float64[np.ndarray, "3"]

    @property
    def source(self) -> str:
        """What `centre_mm` comes from: "mask", or "point" where the warped mask is empty."""
        return "mask" if len(self.points_mm) else "point"

    @property
    def centre_mm(self) -> Float64[np.ndarray, "3"]:
        """Centre of gravity of the warped mask, or the warped point where the mask is empty."""
        return np.asarray(self.points_mm.mean(axis=0)) if len(self.points_mm) else self.point_mm

    @property
    def discrepancy_mm(self) -> float:
        """Distance between both kinds of centre, NaN where the warped mask is empty."""
        if not len(self.points_mm):
            return float("nan")
        return float(np.linalg.norm(self.points_mm.mean(axis=0) - self.point_mm))


@dataclass(frozen=True, slots=True)
class Location:
    """Where a warped lesion lies among the atlas structures.

    Parameters
    ----------
    centroid
        SegAnat index at the centre of gravity, 0 outside all structures.
    nearest
        The same, or the nearest structure within 3 mm of the centre, or 0.
    majority
        Structure with the largest share of the lesion, 0 if no part of it lies in any.
    overlap
        Share of the lesion in each structure and "outside"; adds up to 1.
    """

    centroid: int
    nearest: int
    majority: int
    overlap: dict[str, float]

    @property
    def overlap_text(self) -> str:
        """`overlap` as JSON, the largest share first."""
        shares = sorted(self.overlap.items(), key=lambda pair: (-pair[1], pair[0]))
        return json.dumps({name: round(share, 4) for name, share in shares})


def warp_lesion(lesion: Lesion, space: Space, alignment: Alignment, fixed: Space) -> WarpedLesion:
    """Pull one lesion onto a fine grid in atlas space.

    Parameters
    ----------
    lesion
        On the grid `space`.
    space
        Grid of the native mask.
    alignment
        From the atlas (fixed) to the patient (moving).
    fixed
        Grid of the atlas; its voxels are divided evenly until they are 0.5 mm or finer.
    """
    point = alignment.moving_to_fixed(lesion.centre_mm[None])[0]
    first = lesion.voxels.min(axis=0) - 1
    indicator = np.zeros(lesion.voxels.max(axis=0) - first + 2, dtype=np.float32)
    indicator[tuple((lesion.voxels - first).T)] = 1
    grid = _grid_around(lesion, space, alignment, fixed)
    points = grid.voxel_centres_mm()
    native = space.world_to_voxel(alignment.fixed_to_moving(points)) - first
    weights = map_coordinates(indicator, native.T, order=1, mode="constant", cval=0.0)
    inside: Bool[np.ndarray, " n"] = (weights > 0) & (weights >= 0.5 * weights.max())
    volume = float(weights.sum(dtype=np.float64)) * grid.voxel_volume_mm3
    return WarpedLesion(points[inside], volume, point)


def warped_instances(lesions: Sequence[Lesion], space: Space, alignment: Alignment, fixed: Space) -> Volume:
    """Draw all lesions on the grid of the atlas, each with its number.

    A voxel belongs to the lesion that fills at least half of it. A lesion that fills half of none keeps the
    voxel it fills most, so that none is lost to the grid; one that nothing of arrives is not drawn.

    Parameters
    ----------
    lesions
        On the grid `space`.
    space
        Grid of the native mask.
    alignment
        From the atlas (fixed) to the patient (moving).
    fixed
        Grid of the atlas.
    """
    drawn = np.zeros(fixed.shape, dtype=np.uint16)
    parts = np.ceil(np.array(fixed.voxel_sizes_mm) / SPACING_MM - 1e-6)
    for lesion in reversed(lesions):
        index = np.rint(fixed.world_to_voxel(warp_lesion(lesion, space, alignment, fixed).points_mm))
        index = index[((index >= 0) & (index < fixed.shape)).all(axis=1)].astype(np.int64)
        if not len(index):
            continue
        voxels, counts = np.unique(index, axis=0, return_counts=True)
        filled = voxels[counts >= min(parts.prod() / 2, counts.max())]
        drawn[tuple(filled.T)] = lesion.index
    return Volume(drawn, fixed)


def locate(warped: WarpedLesion, labels: Volume) -> Location:
    """Find the structures a warped lesion lies in.

    Parameters
    ----------
    warped
        In atlas world space.
    labels
        SegAnat indices of the atlas. Beyond its border is outside.

    References
    ----------
    Wielenberg et al. 2026, section 3.8.2: "in which atlas structure the tumour's centre of gravity lies".
    """
    centre = warped.centre_mm[None]
    centroid = int(labels_at(centre, labels)[0])
    points = warped.points_mm if len(warped.points_mm) else centre
    counts = np.bincount(labels_at(points, labels), minlength=N_CLASSES)
    overlap = {structures()[index].name: counts[index] / len(points) for index in np.flatnonzero(counts)}
    overlap = {OUTSIDE if name == structures()[0].name else name: share for name, share in overlap.items()}
    counts[0] = 0
    majority = int(counts.argmax())
    return Location(centroid, centroid or _nearest(centre[0], labels), majority, overlap)


def labels_at(points_mm: Float64[np.ndarray, "n 3"], labels: Volume) -> np.ndarray:
    """Look up the voxel that holds each world point; 0 beyond the border."""
    index = np.floor(labels.space.world_to_voxel(points_mm) + 0.5).astype(np.int64)
    inside = ((index >= 0) & (index < labels.space.shape)).all(axis=1)
    found = np.zeros(len(points_mm), dtype=np.int64)
    found[inside] = labels.data[tuple(index[inside].T)]
    return found


def _nearest(point_mm: Float64[np.ndarray, "3"], labels: Volume) -> int:
    """Find the structure whose voxel centre is nearest within reach; of equal ones the lowest index."""
    reach = np.ceil(REACH_MM * np.abs(labels.space.inverse_affine[:3, :3]).sum(axis=1)).astype(int)
    middle = np.round(labels.space.world_to_voxel(point_mm[None])[0]).astype(int)
    steps = np.indices(2 * reach + 1).reshape(3, -1).T - reach
    around = labels.space.voxel_to_world((middle + steps).astype(np.float64))
    found = labels_at(around, labels)
    distances = np.linalg.norm(around - point_mm, axis=1)
    candidates = np.flatnonzero((found > 0) & (distances <= REACH_MM))
    if not len(candidates):
        return 0
    order = np.lexsort((found[candidates], np.round(distances[candidates], 6)))
    return int(found[candidates[order[0]]])


def _grid_around(lesion: Lesion, space: Space, alignment: Alignment, fixed: Space) -> Space:
    """Divide the atlas voxels around a lesion's warped corners; the grid may reach beyond the atlas."""
    corners = (lesion.voxels[:, None, :] + _CORNERS).reshape(-1, 3)
    reached = fixed.world_to_voxel(
        alignment.moving_to_fixed(space.voxel_to_world(np.unique(corners, axis=0)))
    )
    margin = (_MARGIN_MM + max(space.voxel_sizes_mm)) / np.array(fixed.voxel_sizes_mm)
    first = np.floor(reached.min(axis=0) - margin)
    n_voxels = np.ceil(reached.max(axis=0) + margin) - first + 1
    parts = np.ceil(np.array(fixed.voxel_sizes_mm) / SPACING_MM - 1e-6)
    affine = fixed.affine.copy()
    affine[:3, :3] = fixed.affine[:3, :3] / parts
    affine[:3, 3] = fixed.voxel_to_world((first - 0.5 + 0.5 / parts)[None])[0]
    shape = (n_voxels * parts).astype(int)
    return Space((int(shape[0]), int(shape[1]), int(shape[2])), affine)
