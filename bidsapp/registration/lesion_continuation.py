"""How a lesion is moved: as the tissue that touches it, continued into it."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from scipy.spatial.distance import cdist
from torch import Tensor

from bidsapp.geometry.space import Space
from bidsapp.images.volume import Volume
from bidsapp.registration.grids import grid_points, labels_along
from bidsapp.registration.lesion_places import landed, nearest_lesion

HEM_MM = 3.0
"""How far the tissue reaches that touches a lesion; at least to the next point of the grid."""
REACH_VOXELS = 0.5
"""Points so far from a lesion lie in it: that is how far its outermost voxels reach."""
_POWER = 3.0
_FEWEST = 4
_MOST_PARTS = 2048
_MOST_WEIGHTS = 20_000_000


@dataclass(frozen=True)
class Hem:
    """One lesion and the tissue that touches it, on the points of a grid.

    Parameters
    ----------
    inside
        Points of the lesion, counted in C order.
    around
        Points of the tissue.
    parts
        Which part of the tissue each of `around` belongs to.
    weights
        What every part's mean weighs at every point of the lesion; they sum to 1.
    """

    inside: Int64[Tensor, " n"]
    around: Int64[Tensor, " m"]
    parts: Int64[Tensor, " m"]
    weights: Float[Tensor, "p n"]

    def values(self, flat: Float[Tensor, "3 v"]) -> Float[Tensor, "3 n"]:
        """Continue a field into the lesion."""
        sums = flat.new_zeros((3, len(self.weights)))
        sums = sums.index_add(1, self.parts, flat.index_select(1, self.around))
        return (sums / self._sizes) @ self.weights

    @cached_property
    def _sizes(self) -> Float[Tensor, " p"]:
        ones = torch.ones(len(self.parts), device=self.parts.device)
        return ones.new_zeros(len(self.weights)).index_add(0, self.parts, ones)


@dataclass(frozen=True)
class Continuation:
    """Replaces a field inside lesions by what surrounds them.

    Nothing inside a lesion tells where it belongs. Left to the terms of the objective it would drift; so it
    goes where the tissue goes that touches it, and only that tissue is asked.

    Parameters
    ----------
    hems
        One for every lesion that has points on the grid, and tissue around them.
    """

    hems: tuple[Hem, ...] = ()

    def __call__(self, field: Float[Tensor, "3 i j k"]) -> Float[Tensor, "3 i j k"]:
        """Give the field with lesions continued from around; it is differentiable."""
        if not self.hems:
            return field
        flat = field.flatten(1)
        values = torch.cat([hem.values(flat) for hem in self.hems], dim=1)
        return flat.index_copy(1, self._inside, values).reshape(field.shape)

    @cached_property
    def _inside(self) -> Int64[Tensor, " n"]:
        return torch.cat([hem.inside for hem in self.hems])


def continue_into_lesions(
    mask: Volume,
    box: Volume,
    affine: Float64[np.ndarray, "4 4"],
    found: tuple[Float[Tensor, "3 i j k"], Space],
) -> Continuation:
    """Weigh for every lesion the tissue that touches it.

    A lesion is one piece of the mask (26 neighbours). The weights fall with the third power of the distance:
    in a ball that is the harmonic continuation from its surface (Poisson's kernel). Where a large lesion has
    more than two thousand points of tissue around it, blocks of them are averaged first.

    Parameters
    ----------
    mask
        Lesions (not 0) on the patient's native grid.
    box
        The fixed labels; only labelled tissue is asked.
    affine
        Fixed world to moving world, millimetres.
    found
        Displacement so far (spline coefficients, voxels) and its grid.
    """
    displacement, grid = found
    spacing_mm = max(grid.voxel_sizes_mm)
    reach = REACH_VOXELS * spacing_mm
    farthest = reach + max(HEM_MM, np.nextafter(spacing_mm, np.inf))
    points = grid_points(grid)
    farthest_mm = np.full(len(points), farthest)
    nearest, distance = nearest_lesion(mask, landed(points, affine, found), farthest_mm)
    is_brain = labels_along(box, grid).reshape(-1) > 0
    hems = []
    for number in range(1, int(nearest.max(initial=0)) + 1):
        inside = np.flatnonzero((nearest == number) & (distance <= reach))
        around = np.flatnonzero((nearest == number) & (distance > reach) & is_brain)
        if len(inside) and len(around) >= _FEWEST:
            hems.append(_hem(points, inside, around, displacement.device))
    return Continuation(tuple(hems))


def _hem(
    points: Float64[np.ndarray, "v 3"],
    inside: Int64[np.ndarray, " n"],
    around: Int64[np.ndarray, " m"],
    device: torch.device,
) -> Hem:
    parts = _parts(points[around], min(_MOST_PARTS, max(_FEWEST, _MOST_WEIGHTS // len(inside))))
    sizes = np.bincount(parts).astype(np.float64)
    middles = np.stack([np.bincount(parts, weights=along) for along in points[around].T], axis=1)
    apart = np.maximum(cdist(middles / sizes[:, None], points[inside]), 0.5)
    weights = sizes[:, None] * apart**-_POWER
    weights /= weights.sum(axis=0)
    at, among, part = (torch.from_numpy(index).to(device) for index in (inside, around, parts))
    return Hem(at, among, part, torch.from_numpy(weights.astype(np.float32)).to(device))


def _parts(points: Float64[np.ndarray, "m 3"], most: int) -> Int64[np.ndarray, " m"]:
    """Divide points into blocks, as small as leaves no more than `most` of them."""
    parts, edge = np.arange(len(points)), 1
    while parts.max() >= most:
        edge += 1
        parts = np.unique(points // edge, axis=0, return_inverse=True)[1].reshape(-1)
    return parts.astype(np.int64)
