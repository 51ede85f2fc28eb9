"""The last touch on a velocity: every lesion grows as the tissue around it does."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Float64, Int64
from scipy.ndimage import distance_transform_edt, find_objects, label, map_coordinates
from scipy.signal import fftconvolve
from torch import Tensor

from bidsapp.geometry import kernels
from bidsapp.geometry.resample import sample_at
from bidsapp.geometry.space import Space
from bidsapp.geometry.spline import slopes_at
from bidsapp.geometry.velocity import exponentiate_voxels
from bidsapp.images.volume import Volume
from bidsapp.registration.flow import Flow
from bidsapp.registration.grids import labels_at, lay
from bidsapp.registration.lesion_places import TOUCHING, spline_weights
from bidsapp.registration.preparation import Brains

RING_MM = 10.0
"""How far the tissue reaches that a lesion is levelled with: as far as the ring of the Jacobian ratio."""
CHARGE_MM = 20.0
"""How far the field of a point reaches that pushes its surroundings away."""
_ROUNDS = 2
_TIMES = (0.0, 0.25, 0.5, 0.75, 1.0)
_MOST_POINTS = 500
_FEWEST_CELLS = 10
_MOST_GROWTH = 1.0
"""Log of the growth that one round makes up for at most."""
_STRETCHED = 1.6
"""How many times longer the ring is taken to be in the atlas, at most."""
_LEAST = 0.01


@dataclass(frozen=True)
class _Site:
    """A lesion as the affine step lays it, and the tissue around it.

    Parameters
    ----------
    laid
        Its voxels, or an even choice of them, on the velocity's grid.
    apart
        Millimetres to its nearest voxel in the part of the native grid around it; 0 in lesions. Laid by the
        affine step.
    """

    laid: Float64[np.ndarray, "n 3"]
    apart: Volume

    def is_around(self, laid_mm: Float64[np.ndarray, "m 3"]) -> Bool[np.ndarray, " m"]:
        """Tell which points of the laid world are in the ring."""
        apart = sample_at(self.apart.data, self.apart.space.world_to_voxel(laid_mm), "nearest")
        return (apart > 0) & (apart <= RING_MM)


@dataclass(frozen=True)
class _Way:
    """Where points of the atlas go at the moment.

    Parameters
    ----------
    grid
        Of the velocity.
    spline
        Displacement, in voxels: the coefficients of a cubic B-spline.
    seen
        Its values at the points of the grid.
    step
        Over how many voxels to either side it is differentiated.
    """

    grid: Space
    spline: Float32[np.ndarray, "3 i j k"]
    seen: Float32[np.ndarray, "3 i j k"]
    step: float

    def back(self, laid: Float64[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n 3"]:
        """Find the points of the atlas that land here."""
        return kernels.invert_at(self.seen, laid, laid - kernels.sample_vectors(self.seen, laid))

    def determinants(self, points: Float64[np.ndarray, "n 3"]) -> Float64[np.ndarray, " n"]:
        """Say how many times larger the patient is than the atlas at points of the atlas."""
        found: np.ndarray = np.linalg.det(np.eye(3) + slopes_at(self.spline, points, self.step))
        return found


def level_lesions(velocity: Float[Tensor, "3 i j k"], flow: Flow, brains: Brains) -> Float[Tensor, "3 i j k"]:
    """Let every lesion grow, on average, as the 10 mm of brain around it: its Jacobian ratio becomes 1.

    What over-fitting leaves is uneven where a lesion is as small as a cell of the velocity's grid. A field is
    added that diverges in the lesion and next to nowhere else: that of a charged body. The body is smeared
    along the way from the atlas to the patient, since a stationary velocity acts wherever a lesion passes.
    How much of it is added follows from what it does to the lesion and to its ring, to first order; a second
    round takes what that left.

    Parameters
    ----------
    velocity
        In voxels of the flow's grid, over-fitted.
    flow
        To the displacement that is kept.
    brains
        The lesions, and where brain is. Without lesions the velocity is given back.
    """
    if brains.lesions is None:
        return velocity
    sites = _find_sites(brains.lesions, brains.start, flow.grid)
    tissue = lay(brains.padded, brains.start)
    step = flow.fine.voxel_sizes_mm[0] / flow.grid.voxel_sizes_mm[0]
    for _ in range(_ROUNDS):
        there = exponentiate_voxels(velocity, squaring_steps=flow.squaring_steps)
        seen = kernels.smooth(there, spline_weights(there.device))
        way = _Way(flow.grid, there.cpu().numpy(), seen.cpu().numpy(), step)
        change = np.zeros_like(way.spline)
        for site in sites:
            _level(change, site, way, tissue)
        velocity = velocity + torch.from_numpy(change).to(velocity.device)
    return velocity


def _find_sites(mask: Volume, start: Float64[np.ndarray, "4 4"], grid: Space) -> list[_Site]:
    """Tell lesions apart (26 neighbours), and measure how far the voxels around each are from it."""
    laid = lay(mask, start).space
    pieces, _ = label(mask.data != 0, structure=TOUCHING)
    margin = np.ceil(RING_MM / np.array(mask.space.voxel_sizes_mm)).astype(int)
    sites = []
    for number, box in enumerate(find_objects(pieces), start=1):
        first = np.maximum([along.start for along in box] - margin, 0)
        i, j, k = (
            slice(int(low), along.stop + int(more))
            for low, along, more in zip(first, box, margin, strict=True)
        )
        part = pieces[i, j, k]
        apart = distance_transform_edt(part != number, sampling=mask.space.voxel_sizes_mm)
        affine = laid.affine.copy()
        affine[:3, 3] = laid.voxel_to_world(first[None].astype(np.float64))[0]
        space = Space(part.shape, affine)
        voxels = np.argwhere(part == number).astype(np.float64)
        chosen = voxels[:: -(-len(voxels) // _MOST_POINTS)]
        sites.append(
            _Site(
                grid.world_to_voxel(space.voxel_to_world(chosen)),
                Volume(np.where(part > 0, 0, apart).astype(np.float32), space),
            )
        )
    return sites


def _level(change: Float32[np.ndarray, "3 i j k"], site: _Site, way: _Way, tissue: Volume) -> None:
    """Add what brings a lesion's growth to that of its ring; nothing where there is no ring to go by."""
    inside = way.back(site.laid)
    around = _ring(site, inside, way, tissue)
    if len(around) < _FEWEST_CELLS:
        return
    grown = (1 / way.determinants(inside).clip(_LEAST)).mean()
    meant = 1 / way.determinants(around).mean().clip(_LEAST)
    path = np.stack([(1 - time) * inside + time * site.laid for time in _TIMES])
    push, corner = _push(path.reshape(-1, 3), way.grid.voxel_sizes_mm[0])
    diverges = np.sum([np.gradient(push[axis], axis=axis) for axis in range(3)], axis=0)
    answer = _on_spline(diverges, path.reshape(-1, 3) - corner) - _on_spline(diverges, around - corner)
    if answer > 0:
        amount = np.clip(np.log(grown / meant), -_MOST_GROWTH, _MOST_GROWTH) / answer
        _add(change, np.float32(amount) * push, corner)


def _ring(
    site: _Site, inside: Float64[np.ndarray, "n 3"], way: _Way, tissue: Volume
) -> Float64[np.ndarray, "m 3"]:
    """List the middles of the velocity's cells that land in the ring."""
    reach = _STRETCHED * RING_MM / way.grid.voxel_sizes_mm[0]
    low = np.maximum(np.floor(inside.min(axis=0) - reach), 0)
    high = np.minimum(np.ceil(inside.max(axis=0) + reach), np.array(way.grid.shape) - 1)
    middles = np.indices((high - low).astype(int).clip(0), dtype=np.float64).reshape(3, -1).T + low + 0.5
    laid = middles + kernels.sample_vectors(way.seen, middles)
    is_near = site.is_around(way.grid.voxel_to_world(laid))
    near = middles[is_near]
    return near[labels_at(tissue, laid[is_near], way.grid) > 0]


def _push(
    points: Float64[np.ndarray, "n 3"], spacing_mm: float
) -> tuple[Float32[np.ndarray, "3 a b c"], Int64[np.ndarray, " 3"]]:
    """Give the field of a body with an even charge, on a part of the grid, and where that part begins.

    Every charge pushes away from itself and has its opposite spread evenly over the ball that its field
    fills: at the ball's surface the field ends.
    """
    kernel = _charge(CHARGE_MM / spacing_mm)
    radius = kernel.shape[1] // 2
    voxels = np.rint(points).astype(np.int64)
    first = voxels.min(axis=0)
    body = np.zeros(voxels.max(axis=0) - first + 1, dtype=np.float32)
    np.add.at(body, tuple((voxels - first).T), np.float32(1 / len(points)))
    return np.stack([fftconvolve(body, along) for along in kernel]), first - radius


@cache
def _charge(reach: float) -> Float32[np.ndarray, "3 w w w"]:
    """Give the field of one charge, softened over a voxel, to where it ends."""
    radius = int(reach)
    apart = (np.indices((2 * radius + 1,) * 3) - radius).astype(np.float32)
    distance = np.sqrt((apart**2).sum(axis=0))
    strength = 1 / (distance**3 + 1) - 1 / (reach**3 + 1)
    field: np.ndarray = apart * strength.clip(0)
    return field


def _on_spline(coefficients: Float32[np.ndarray, "a b c"], points: Float64[np.ndarray, "n 3"]) -> float:
    """Average a cubic B-spline over points."""
    values = map_coordinates(coefficients, points.T, order=3, prefilter=False, mode="nearest")
    return float(values.mean())


def _add(
    whole: Float32[np.ndarray, "3 i j k"],
    part: Float32[np.ndarray, "3 a b c"],
    corner: Int64[np.ndarray, " 3"],
) -> None:
    """Add a field to a larger one, as far as it lies on its grid."""
    low = np.maximum(corner, 0)
    high = np.minimum(corner + part.shape[1:], whole.shape[1:])
    there = tuple(slice(*ends) for ends in zip(low, high, strict=True))
    here = tuple(slice(*ends) for ends in zip(low - corner, high - corner, strict=True))
    whole[(slice(None), *there)] += part[(slice(None), *here)]
