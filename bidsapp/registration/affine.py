"""The affine start: closed form from the structures' centroids, then refined on their overlap."""

import logging

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from bidsapp.errors import DataError
from bidsapp.geometry import kernels
from bidsapp.geometry.space import Space
from bidsapp.images.volume import Volume
from bidsapp.registration.grids import N_LABELS, coarsen, crop_to_labels, pad, pair_labels
from bidsapp.registration.losses.similarity import label_dissimilarity

_log = logging.getLogger(__name__)
_MIN_STRUCTURES = 6
_MIN_VOLUME_MM3 = 30.0
_ITERATIONS = 40
_LABELS_MM = 2.0


def align_affine(fixed: Volume, moving: Volume, *, device: str = "cpu") -> Float64[np.ndarray, "4 4"]:
    """Find the affine map that lays the fixed structures over the moving ones.

    The centroids of the structures that both maps have give a first answer in closed form, wherever the two
    worlds have their origins and however their grids are turned. Their overlap refines it.

    Parameters
    ----------
    fixed, moving
        SegAnat label maps.
    device
        Where torch computes.

    Returns
    -------
    affine
        Fixed world to moving world, millimetres.

    Raises
    ------
    DataError
        If fewer than six structures are shared, if left and right are swapped in one of the maps, or if the
        structures do not overlap even after alignment.
    """
    start = affine_from_centroids(fixed, moving)
    refined, dissimilarity = _refine(fixed, moving, start, device)
    _log.debug("affine: mean overlap of the structures %.3f at %.0f mm", 1 - dissimilarity, _LABELS_MM)
    if 1 - dissimilarity < 0.15:
        raise DataError(
            f"the label map must show the same brain structures as the atlas, but after the affine alignment "
            f"their mean overlap is {1 - dissimilarity:.2f}; check that it is upright and complete"
        )
    return refined


def affine_from_centroids(fixed: Volume, moving: Volume) -> Float64[np.ndarray, "4 4"]:
    """Fit an affine map to the centroids of the shared structures by weighted least squares.

    A structure weighs as the fourth root of its volume: large ones have the steadier centroid.

    Raises
    ------
    DataError
        If fewer than six structures are shared, or if the fit mirrors the brain.
    """
    targets, sources = _centroids(fixed), _centroids(moving)
    shared = sorted(set(targets) & set(sources))
    if len(shared) < _MIN_STRUCTURES:
        raise DataError(
            f"the label map must share {_MIN_STRUCTURES} structures with the atlas, got {len(shared)}; "
            "check that it is an anatomical segmentation in FreeSurfer or Neuromorphometrics codes"
        )
    weight = np.array([min(targets[label][1], sources[label][1]) for label in shared])[:, None] ** 0.25
    here = np.array([[*targets[label][0], 1.0] for label in shared])
    there = np.array([sources[label][0] for label in shared])
    solution, _, rank, _ = np.linalg.lstsq(here * weight, there * weight, rcond=None)
    affine = np.eye(4)
    affine[:3] = solution.T
    determinant = float(np.linalg.det(affine[:3, :3]))
    if rank < 4 or determinant <= 0:
        raise DataError(
            f"the structures of the label map must be arranged as in the atlas, but the fit has determinant "
            f"{determinant:.2f}: check its orientation, left and right may be swapped"
        )
    return affine


def _centroids(labels: Volume) -> dict[int, tuple[Float64[np.ndarray, "3"], float]]:
    """Centroid (world mm) and volume (mm3) of every structure that is not tiny."""
    _, nj, nk = (np.int32(size) for size in labels.space.shape)
    occupied = np.flatnonzero(labels.data).astype(np.int32)
    label = labels.data.reshape(-1)[occupied]
    row, k = np.divmod(occupied, nk)
    i, j = np.divmod(row, nj)
    counts = np.bincount(label, minlength=N_LABELS)
    sums = np.stack([np.bincount(label, weights=along, minlength=N_LABELS) for along in (i, j, k)], axis=1)
    volumes = counts * labels.space.voxel_volume_mm3
    kept = np.flatnonzero(volumes > _MIN_VOLUME_MM3)
    centres = labels.space.voxel_to_world(sums[kept] / counts[kept, None])
    return {int(one): (centre, float(volumes[one])) for one, centre in zip(kept, centres, strict=True)}


def _refine(
    fixed: Volume, moving: Volume, start: Float64[np.ndarray, "4 4"], device: str
) -> tuple[Float64[np.ndarray, "4 4"], float]:
    """Move the affine uphill on the structures' overlap; keep the best.

    A change of the affine is a displacement that is linear in space: two grid points along each axis hold it.
    """
    coarse = coarsen(crop_to_labels(fixed, 10.0), _LABELS_MM)
    box = np.diag([size - 1.0 for size in coarse.space.shape] + [1.0])
    grid = Space((2, 2, 2), coarse.space.affine @ box)
    pair = pair_labels(coarse, pad(coarsen(moving, _LABELS_MM)), start, grid, device)
    corners = torch.tensor(np.indices((2, 2, 2)) - 0.5, dtype=torch.float32, device=device)
    size = torch.tensor(grid.voxel_sizes_mm, dtype=torch.float32, device=device).reshape(3, 1)
    change = torch.zeros((3, 4), device=device, requires_grad=True)
    optimiser = torch.optim.Adam([change], lr=1.5)
    best, best_change = float("inf"), np.zeros((3, 4))
    fixed_volume, present = pair.fixed_volume, pair.present
    for iteration in range(_ITERATIONS):
        optimiser.param_groups[0]["lr"] = 1.5 * (1 - iteration / _ITERATIONS)
        optimiser.zero_grad()
        displacement = _linear_displacement(change / size, corners)
        overlap, volume = kernels.label_votes(
            displacement, pair.to_grid, pair.fixed, pair.moving, pair.maps, N_LABELS
        )
        loss = label_dissimilarity(overlap, volume, fixed_volume, present)
        if loss.item() < best:
            best, best_change = loss.item(), change.detach().cpu().double().numpy().copy()
        torch.autograd.backward(loss)
        optimiser.step()
    step = np.eye(4)
    in_voxels = best_change / size.cpu().double().numpy()
    step[:3, :3] += in_voxels[:, :3]
    step[:3, 3] = in_voxels[:, 3] - 0.5 * in_voxels[:, :3].sum(axis=1)
    return start @ grid.affine @ step @ grid.inverse_affine, best


def _linear_displacement(change: Tensor, corners: Tensor) -> Tensor:
    return torch.einsum("ab,bijk->aijk", change[:, :3], corners) + change[:, 3].reshape(3, 1, 1, 1)
