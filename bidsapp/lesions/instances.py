"""Mask -> one record per lesion, in native space, before anything is warped.

Warping merges, splits and drops components; the number of lesions must not depend on the registration.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64
from scipy.ndimage import find_objects, generate_binary_structure, label

from bidsapp.errors import DataError, UsageError
from bidsapp.geometry.space import Space
from bidsapp.images.volume import Volume

logger = logging.getLogger(__name__)

TOUCHING = generate_binary_structure(3, 3)
"""Voxels that share a face, an edge or a corner belong to one lesion (26 neighbours)."""

SIZE_CLASSES = (("micro", 25.0), ("small", 125.0), ("medium", 1000.0))
"""Name and upper limit (mm3, excluded) of each size class; beyond the last one a lesion is large."""


@dataclass(frozen=True, slots=True, eq=False)
class Lesion:
    """One lesion on the grid of its mask.

    Parameters
    ----------
    index
        1 for the largest, counting up; equal sizes are ordered by the position of their centres.
    voxels
        Indices (i, j, k), one row a voxel.
    centre_mm
        Centre of gravity, world RAS+.
    volume_mm3
        Number of voxels times the volume of one.
    """

    index: int
    voxels: Int64[np.ndarray, "n 3"]
    centre_mm: Float64[np.ndarray, "3"]
    volume_mm3: float

    def __post_init__(self) -> None:
        if self.index < 1 or len(self.voxels) == 0 or not self.volume_mm3 > 0:
            raise DataError(
                f"a lesion needs an index from 1 up, voxels and a volume, got {self.index}, "
                f"{len(self.voxels)} voxels, {self.volume_mm3} mm3"
            )
        self.voxels.flags.writeable = False
        self.centre_mm.flags.writeable = False

    @property
    def diameter_mm(self) -> float:
        """Diameter of the ball of the same volume."""
        return float((6 * self.volume_mm3 / np.pi) ** (1 / 3))

    @property
    def size_class(self) -> str:
        """One of micro (< 25 mm3), small (< 125), medium (< 1000) and large.

        References
        ----------
        Patel et al. 2023 (SPIRS).
        """
        return next((name for name, limit in SIZE_CLASSES if self.volume_mm3 < limit), "large")


def find_lesions(mask: Volume, kind: str) -> tuple[Lesion, ...]:
    """Split a lesion mask into its lesions, the largest first.

    An empty mask gives no lesion.

    Parameters
    ----------
    mask
        On any grid. Zero is healthy.
    kind
        "binary": voxels that touch, be it by a corner, are one lesion; "instances": each number is one
        lesion, whether or not it hangs together.

    Raises
    ------
    UsageError
        If `kind` is neither.
    DataError
        If a binary mask has several values besides 0, or an instance map has negative or broken ones.

    Examples
    --------
    >>> data = np.zeros((4, 5, 6), dtype=bool)
    >>> data[0, 0, 0] = data[1, 1, 1] = data[3, 3, 3] = True
    >>> lesions = find_lesions(Volume(data, Space((4, 5, 6), np.eye(4))), "binary")
    >>> [(lesion.index, lesion.volume_mm3, lesion.centre_mm.tolist()) for lesion in lesions]
    [(1, 2.0, [0.5, 0.5, 0.5]), (2, 1.0, [3.0, 3.0, 3.0])]
    """
    if kind == "binary":
        instances = _components(mask)
    elif kind == "instances":
        instances = _instances(mask)
    else:
        raise UsageError(f"a lesion mask is of kind binary or instances, got {kind!r}")
    volume = mask.space.voxel_volume_mm3
    found = [
        (voxels, mask.space.voxel_to_world(voxels.mean(axis=0)[None])[0]) for voxels in _split(instances)
    ]
    found.sort(key=lambda pair: (-len(pair[0]), *pair[1].tolist()))
    return tuple(
        Lesion(index, voxels, centre, len(voxels) * volume) for index, (voxels, centre) in enumerate(found, 1)
    )


def instance_map(lesions: Sequence[Lesion], space: Space) -> Volume:
    """Paint lesions with their indices on the grid they were found on.

    Raises
    ------
    DataError
        If a lesion does not fit on `space`.

    Examples
    --------
    >>> space = Space((4, 5, 6), np.eye(4))
    >>> instance_map((), space).data.any()
    np.False_
    """
    data = np.zeros(space.shape, dtype=np.uint16)
    for lesion in lesions:
        if (lesion.voxels.max(axis=0) >= space.shape).any():
            raise DataError(f"lesion {lesion.index} must lie on its own grid, got a grid of {space.shape}")
        data[tuple(lesion.voxels.T)] = lesion.index
    return Volume(data, space)


def _components(mask: Volume) -> np.ndarray:
    values = np.unique(mask.data)
    if np.count_nonzero(values) > 1:
        raise DataError(
            f"a binary lesion mask must hold one value besides 0, got {values[:6].tolist()}: "
            "say in its sidecar or on the command line whether the numbers are instances"
        )
    components, _ = label(mask.data != 0, structure=TOUCHING)
    return np.asarray(components)


def _instances(mask: Volume) -> np.ndarray:
    if mask.data.dtype == np.bool_:
        return mask.data.astype(np.int64)
    whole = np.round(mask.data)
    if (whole != mask.data).any() or (whole < 0).any():
        raise DataError("an instance map must hold whole numbers from 0 up, got others: check the mask")
    _, inverse = np.unique(np.append(whole.astype(np.int64).ravel(), 0), return_inverse=True)
    numbers = inverse[:-1].reshape(mask.data.shape)
    n_pieces = label(numbers != 0, structure=TOUCHING)[1]
    if n_pieces > numbers.max():
        logger.warning("%d lesions of the instance map lie in %d pieces", numbers.max(), n_pieces)
    return np.asarray(numbers)


def _split(instances: np.ndarray) -> Iterator[Int64[np.ndarray, "n 3"]]:
    """List the voxels of each number, looking only into its bounding box."""
    for number, box in enumerate(find_objects(instances), 1):
        corner = [side.start for side in box]
        yield np.argwhere(instances[box] == number).astype(np.int64) + corner
