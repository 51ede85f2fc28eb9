"""What the network learns from: scans with label maps, and label maps alone, seen on the atlas's grid."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64, UInt8
from torch import Tensor

from bidsapp.geometry.resample import sample_at
from bidsapp.geometry.space import Space
from bidsapp.images.volume import Volume
from bidsapp.registration.network.view import even_out
from bidsapp.registration.paper import distance_map
from bidsapp.training.augmentation import disturb, random_points, synthesise
from bidsapp.training.plan import TrainingPlan


@dataclass(frozen=True)
class TrainingScan:
    """One head.

    Parameters
    ----------
    name
        Of the scan or the file.
    participant
        Label without "sub-"; None for a label map alone.
    image
        Intensities; None for a label map alone.
    labels
        SegAnat, on the native grid.
    codes
        What contrasts are synthesised from, on the grid of `labels`: SegAnat again, or finer codes.
    depth
        Distance map of `labels`, as in the paper.
    affine
        Atlas world to the scan's world, millimetres.
    """

    name: str
    participant: str | None
    image: Volume | None
    labels: Volume
    codes: Volume
    depth: Volume
    affine: Float64[np.ndarray, "4 4"]


@dataclass(frozen=True)
class Sight:
    """A head, or the atlas, as it appears on the grid of the velocity.

    Parameters
    ----------
    image
        Intensities near 0 to 1.
    labels
        SegAnat.
    depth
        Distance map.
    """

    image: Float[Tensor, "i j k"]
    labels: UInt8[Tensor, "i j k"]
    depth: Float[Tensor, "i j k"]

    def to(self, device: str) -> "Sight":
        """Give the same on another device."""
        return Sight(self.image.to(device), self.labels.to(device), self.depth.to(device))


def see_atlas(template: Volume, labels: Volume, grid: Space) -> Sight:
    """Look at the atlas, as it is."""
    scan = TrainingScan(
        name="atlas",
        participant=None,
        image=template,
        labels=labels,
        codes=labels,
        depth=distance_map(labels),
        affine=np.eye(4),
    )
    return see_plain(scan, grid)


def see_plain(scan: TrainingScan, grid: Space) -> Sight:
    """Look at a scan as it is, through its affine only."""
    return _see(scan, grid, grid.voxel_centres_mm(), None)


def see_changed(scan: TrainingScan, grid: Space, plan: TrainingPlan, rng: np.random.Generator) -> Sight:
    """Look at a scan bent, turned, of another contrast and disturbed, all at random.

    Parameters
    ----------
    scan
        A label map alone always gets a synthetic contrast.
    grid
        Of the velocity.
    plan
        How strong, how often.
    rng
        Source of all choices.
    """
    points = random_points(grid, plan.largest_bend_mm, rng)
    is_synthetic = rng.uniform() < plan.synthetic_fraction
    sight = _see(scan, grid, points, rng if is_synthetic or scan.image is None else None)
    disturbed = disturb(sight.image.numpy(), grid.voxel_sizes_mm[0], rng)
    return Sight(torch.from_numpy(disturbed), sight.labels, sight.depth)


def _see(
    scan: TrainingScan,
    grid: Space,
    points: Float64[np.ndarray, "n 3"],
    synthesis: np.random.Generator | None,
) -> Sight:
    """Sample once; labels and depth nearest, because they are what a warped atlas is compared with."""
    moved = points @ scan.affine[:3, :3].T + scan.affine[:3, 3]
    at_labels = scan.labels.space.world_to_voxel(moved)
    labels = sample_at(scan.labels.data, at_labels, "nearest").reshape(grid.shape)
    within = np.clip(at_labels, 0, np.array(scan.depth.space.shape) - 1.0)
    depth = sample_at(scan.depth.data, within, "nearest").reshape(grid.shape)
    if synthesis is not None or scan.image is None:
        rng = synthesis or np.random.default_rng(0)
        codes = sample_at(scan.codes.data, at_labels, "nearest").reshape(grid.shape)
        image = synthesise(codes.astype(np.int64), rng)
    else:
        at_image = scan.image.space.world_to_voxel(moved)
        image = sample_at(scan.image.data, at_image, "linear").reshape(grid.shape)
    return Sight(
        torch.from_numpy(even_out(image)),
        torch.from_numpy(labels.astype(np.uint8)),
        torch.from_numpy(depth.astype(np.float32)),
    )
