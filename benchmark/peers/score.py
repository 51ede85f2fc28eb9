"""One scorer for all tools: native labels, sampled once by nearest neighbour, both ways."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float32, Float64

from benchmark.peers.cases import FIRST_PARCEL, Case
from benchmark.peers.common_grid import still
from bidsapp.geometry import kernels
from bidsapp.geometry.resample import sample_at
from bidsapp.geometry.space import Space
from bidsapp.images.alignment import Alignment
from bidsapp.images.volume import Volume
from bidsapp.metrics.deformation import Regularity, regularity
from bidsapp.metrics.overlap import dice, voxel_counts
from bidsapp.metrics.surface import surface_distances

_CHUNK = 1_000_000
_MARGIN_VOXELS = 8
_N_CODES = 256


def score(case: Case, alignment: Alignment, grid: Space) -> dict[str, float | int]:
    """Measure an alignment that was driven by all labels, or by none.

    Means are over the structures that both brains have. Folds and spread are looked at on the common grid,
    inside the fixed brain, whatever grid the tool works on.

    Parameters
    ----------
    case
        Both brains.
    alignment
        Fixed world to moving world.
    grid
        The common grid.
    """
    fixed, warped = to_fixed(case.fixed.labels, case.moving.labels, alignment)
    moving, returned = to_moving(case.moving.labels, case.fixed.labels, alignment)
    shared = shared_structures(case)
    shape = regularity_in_brain(case.fixed.labels, alignment, grid)
    return {
        "n_structures": len(shared),
        "dsc_mean": _mean(dice(fixed, warped), shared),
        "dsc_back_mean": _mean(dice(moving, returned), shared),
        "assd_mm_mean": _mean(surface_distances(fixed, warped).assd_mm, shared),
        "sd_log_jacobian": round(shape.sd_log_jacobian, 5),
        "folded_fraction": float(f"{shape.folded_fraction:.3g}"),
        "ndv_percent": float(f"{shape.ndv_percent:.3g}") + 0.0,
    }


def regularity_in_brain(labels: Volume, alignment: Alignment, grid: Space) -> Regularity:
    """Look for folds of a deformation, read on a grid of the fixed world, inside the fixed brain."""
    field = sample_field(alignment.displacement, alignment.space, grid)
    brain = still(np.eye(4), grid).resample(labels, onto=grid, interpolation="nearest").data > 0
    return regularity(field, grid, brain)


def dice_mean(case: Case, alignment: Alignment) -> float:
    """Give the mean Dice of the structures that both brains have, on the fixed grid."""
    return _mean(dice(*to_fixed(case.fixed.labels, case.moving.labels, alignment)), shared_structures(case))


def score_structures(case: Case, alignment: Alignment, structures: tuple[int, ...]) -> dict[str, float]:
    """Give the mean Dice of some structures, both ways."""
    fixed, warped = to_fixed(case.fixed.labels, case.moving.labels, alignment)
    moving, returned = to_moving(case.moving.labels, case.fixed.labels, alignment)
    shared = [index for index in shared_structures(case) if index in structures]
    return {
        "dsc_mean": _mean(dice(fixed, warped), shared),
        "dsc_back_mean": _mean(dice(moving, returned), shared),
    }


def score_parcels(case: Case, alignment: Alignment) -> dict[str, float]:
    """Give the mean Dice of the cortical parcels that both brains have, both ways."""
    if case.fixed.parcels is None or case.moving.parcels is None:
        return {}
    ways = (
        to_fixed(case.fixed.parcels, case.moving.parcels, alignment),
        to_moving(case.moving.parcels, case.fixed.parcels, alignment),
    )
    there, back = (round(parcel_dice(one.data, other.data), 5) for one, other in ways)
    return {"dsc_mean": there, "dsc_back_mean": back}


def parcel_dice(first: np.ndarray, second: np.ndarray) -> float:
    """Give the mean Dice of the parcel codes that occur in both of two maps on one grid.

    Examples
    --------
    >>> parcel_dice(np.array([100, 100, 101, 7]), np.array([100, 101, 101, 7]))
    0.6666666666666666
    """
    counts = [np.bincount(codes.ravel(), minlength=_N_CODES) for codes in (first, second)]
    same = np.bincount(first[first == second].ravel(), minlength=_N_CODES)
    both = np.flatnonzero((counts[0] > 0) & (counts[1] > 0))
    both = both[both >= FIRST_PARCEL]
    return float(np.mean(2 * same[both] / (counts[0] + counts[1])[both]))


def to_fixed(fixed: Volume, moving: Volume, alignment: Alignment) -> tuple[Volume, Volume]:
    """Give the fixed labels, cut to their box, and the moving ones on the same grid."""
    box = crop(fixed)
    return box, alignment.resample(moving, onto=box.space, interpolation="nearest")


def to_moving(moving: Volume, fixed: Volume, alignment: Alignment) -> tuple[Volume, Volume]:
    """Give the moving labels, cut to their box, and the fixed ones brought back to the same grid.

    The way back is the exact inverse of the way there, found by Newton steps, also for tools that give no
    inverse or one that misses.
    """
    box = crop(moving)
    points = box.space.voxel_centres_mm()
    parts = [
        sample_at(fixed.data, fixed.space.world_to_voxel(alignment.moving_to_fixed(part)), "nearest")
        for part in (points[first : first + _CHUNK] for first in range(0, len(points), _CHUNK))
    ]
    return box, Volume(np.concatenate(parts).reshape(box.space.shape), box.space)


def crop(labels: Volume) -> Volume:
    """Cut a label map to the box of its labels and a margin."""
    occupied = np.argwhere(labels.data > 0)
    low = np.maximum(occupied.min(axis=0) - _MARGIN_VOXELS, 0)
    high = occupied.max(axis=0) + 1 + _MARGIN_VOXELS
    data = np.ascontiguousarray(labels.data[tuple(map(slice, low, high))])
    affine = labels.space.affine.copy()
    affine[:3, 3] = labels.space.voxel_to_world(low[None].astype(np.float64))[0]
    return Volume(data, Space((data.shape[0], data.shape[1], data.shape[2]), affine))


def shared_structures(case: Case) -> list[int]:
    """List the structures that both native maps have."""
    here, there = voxel_counts(case.fixed.labels), voxel_counts(case.moving.labels)
    return [int(index) for index in np.flatnonzero((here > 0) & (there > 0)) if index]


def sample_field(
    displacement: Float32[np.ndarray, "3 i j k"], space: Space, onto: Space
) -> Float32[np.ndarray, "3 a b c"]:
    """Read a displacement at the voxel centres of another grid of the same world."""
    if space.matches(onto, tolerance_mm=1e-6):
        return displacement
    points = space.world_to_voxel(onto.voxel_centres_mm())
    sampled = kernels.sample_vectors(displacement, points)
    return np.ascontiguousarray(sampled.T.reshape(3, *onto.shape), dtype=np.float32)


def means(rows: Mapping[str, Mapping[str, float]], key: str) -> float:
    """Average one number over rows."""
    return float(np.mean([row[key] for row in rows.values()]))


def _mean(values: Float64[np.ndarray, " n"], indices: list[int]) -> float:
    """Average over structures; one without a surface on either side takes no part."""
    return round(float(np.nanmean(values[indices])), 5)
