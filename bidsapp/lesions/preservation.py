"""Volume factor and Jacobian ratio: whether a lesion keeps its size on the way to the atlas.

Both are 1 when the deformable step leaves the lesion as large as the affine step made it, below 1 when it
shrinks the lesion.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float64, Int64
from scipy.ndimage import distance_transform_edt

from bidsapp.geometry.space import Space
from bidsapp.images.alignment import Alignment
from bidsapp.images.volume import Volume
from bidsapp.lesions.instances import Lesion

RING_MM = 10.0


def volume_factor(native_mm3: float, atlas_mm3: float, affine: Float64[np.ndarray, "4 4"]) -> float:
    """Volume after the deformable step over volume after the affine step.

    1 means preserved, below 1 shrunk, 0 lost on the way.

    Parameters
    ----------
    native_mm3
        Volume in the patient, above 0.
    atlas_mm3
        Volume after the full alignment, in atlas space.
    affine
        Fixed (atlas) world to moving (patient) world.

    References
    ----------
    Wielenberg et al. 2026, table 3 ("tumour volume factor"; the paper leaves its direction open).

    Examples
    --------
    An affine that halves every length on the way to the atlas, and no deformation:

    >>> round(volume_factor(80.0, 10.0, np.diag([2.0, 2.0, 2.0, 1.0])), 6)
    1.0
    """
    after_affine = native_mm3 / float(abs(np.linalg.det(affine[:3, :3])))
    return atlas_mm3 / after_affine


def jacobian_ratio(
    lesion: Lesion,
    lesions: Sequence[Lesion],
    space: Space,
    alignment: Alignment,
    brain: Volume | None = None,
) -> float:
    """Mean growth inside a lesion over mean growth in the 10 mm of tissue around it.

    Below 1 means that the lesion shrinks more than its neighbourhood. NaN when the ring is empty (the
    lesion fills the brain, or lies outside it) or its mean growth is not above 0.

    Parameters
    ----------
    lesion
        The one looked at.
    lesions
        All lesions of the patient; none of them belongs to the ring.
    space
        Grid of the native mask; the ring is measured on it and ends at its border.
    alignment
        From the atlas (fixed) to the patient (moving).
    brain
        Labels or mask on any grid in the patient's world; the ring keeps to its non-zero voxels. None: the
        ring takes whatever surrounds the lesion.

    References
    ----------
    Wielenberg et al. 2026, table 3 ("Jacobian ratio").
    """
    inside = alignment.growth_at(space.voxel_to_world(lesion.voxels.astype(np.float64)))
    ring = space.voxel_to_world(ring_voxels(lesion, lesions, space).astype(np.float64))
    if brain is not None:
        ring = ring[_is_inside(ring, brain)]
    if not len(ring):
        return float("nan")
    around = float(alignment.growth_at(ring).mean())
    return float(inside.mean()) / around if around > 0 else float("nan")


def ring_voxels(lesion: Lesion, lesions: Sequence[Lesion], space: Space) -> Int64[np.ndarray, "n 3"]:
    """List the voxels within 10 mm of a lesion (centre to nearest centre) that belong to no lesion."""
    sizes = np.array(space.voxel_sizes_mm)
    reach = np.ceil(RING_MM / sizes).astype(int)
    first = np.maximum(lesion.voxels.min(axis=0) - reach, 0)
    shape = np.minimum(lesion.voxels.max(axis=0) + reach + 1, space.shape) - first
    is_lesion = np.zeros(shape, dtype=bool)
    is_lesion[tuple((lesion.voxels - first).T)] = True
    distance = distance_transform_edt(~is_lesion, sampling=sizes)
    ring = (distance > 0) & (distance <= RING_MM)
    for other in lesions:
        local = other.voxels - first
        local = local[((local >= 0) & (local < shape)).all(axis=1)]
        ring[tuple(local.T)] = False
    return np.asarray(np.argwhere(ring) + first, dtype=np.int64)


def _is_inside(points_mm: Float64[np.ndarray, "n 3"], brain: Volume) -> Bool[np.ndarray, " n"]:
    index = np.floor(brain.space.world_to_voxel(points_mm) + 0.5).astype(np.int64)
    within = ((index >= 0) & (index < brain.space.shape)).all(axis=1)
    inside = np.zeros(len(points_mm), dtype=np.bool_)
    inside[within] = brain.data[tuple(index[within].T)] > 0
    return inside
