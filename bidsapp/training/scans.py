"""What the network learns from: scans with label maps, and label maps alone, seen on the atlas's grid."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Float64, UInt8
from torch import Tensor
from torch.nn import functional

from bidsapp.atlas.seganat import other_side
from bidsapp.geometry.resample import sample_at
from bidsapp.geometry.space import Space
from bidsapp.images.volume import Volume
from bidsapp.registration.network.view import even_out, halved, shares
from bidsapp.registration.paper import INDEX_WEIGHT, distance_map
from bidsapp.training.augmentation import disturb, random_points, synthesise
from bidsapp.training.plan import TrainingPlan

_MIRRORED = 0.5


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
    fine
        SegAnat on a grid twice as fine.
    """

    image: Float[Tensor, "i j k"]
    labels: UInt8[Tensor, "i j k"]
    depth: Float[Tensor, "i j k"]
    fine: UInt8[Tensor, "a b c"]

    def to(self, device: str) -> "Sight":
        """Give the same on another device."""
        return Sight(*(part.to(device) for part in (self.image, self.labels, self.depth, self.fine)))

    def shown(self, sees: str) -> Float[Tensor, "c i j k"]:
        """Give what a network sees of it: "images" or "labels"."""
        return self.image[None] if sees == "images" else shares(self.fine)


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
    return _see(scan, grid, _points(grid, grid.voxel_centres_mm()), None)


def see_changed(scan: TrainingScan, grid: Space, plan: TrainingPlan, rng: np.random.Generator) -> Sight:
    """Look at a scan bent, turned, mirrored, of another contrast and disturbed, all at random.

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
    points = _points(grid, random_points(grid, plan.largest_bend_mm, rng))
    is_mirrored = rng.uniform() < _MIRRORED
    if is_mirrored:
        points = _mirror(points)
    is_synthetic = rng.uniform() < plan.synthetic_fraction
    sight = _see(scan, grid, points, rng if is_synthetic or scan.image is None else None)
    if is_mirrored:
        sight = _swap_sides(sight)
    disturbed = disturb(sight.image.numpy(), grid.voxel_sizes_mm[0], rng)
    return replace(sight, image=torch.from_numpy(disturbed))


_Points = tuple[Float64[np.ndarray, "n 3"], Float64[np.ndarray, "m 3"]]


def _points(grid: Space, moved: Float64[np.ndarray, "n 3"]) -> _Points:
    """Add to where the voxels go where those of a grid twice as fine go, interpolated between them."""
    half = halved(grid)
    displacement = torch.from_numpy((moved - grid.voxel_centres_mm()).T.reshape(1, 3, *grid.shape))
    between = functional.interpolate(displacement, half.shape, mode="trilinear", align_corners=False)
    return moved, half.voxel_centres_mm() + between[0].numpy().reshape(3, -1).T


def _mirror(points: _Points) -> _Points:
    """Exchange left and right about the middle of all points."""
    middle = points[0][:, 0].min() + points[0][:, 0].max()
    first, second = (np.stack([middle - part[:, 0], part[:, 1], part[:, 2]], axis=1) for part in points)
    return first, second


def _swap_sides(sight: Sight) -> Sight:
    """Call left what was right, in the distance map, too, which tells labels by their number."""
    other = torch.tensor(other_side(), dtype=torch.uint8)
    labels = other[sight.labels.long()]
    renumbered = INDEX_WEIGHT * (labels.float() - sight.labels.float())
    return replace(sight, labels=labels, depth=sight.depth + renumbered, fine=other[sight.fine.long()])


def _see(
    scan: TrainingScan,
    grid: Space,
    points: _Points,
    synthesis: np.random.Generator | None,
) -> Sight:
    """Sample once; labels and depth nearest, because they are what a warped atlas is compared with."""
    moved, moved_fine = (part @ scan.affine[:3, :3].T + scan.affine[:3, 3] for part in points)
    at_labels = scan.labels.space.world_to_voxel(moved)
    labels = sample_at(scan.labels.data, at_labels, "nearest").reshape(grid.shape)
    at_fine = scan.labels.space.world_to_voxel(moved_fine)
    fine = sample_at(scan.labels.data, at_fine, "nearest").reshape(halved(grid).shape)
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
        torch.from_numpy(fine.astype(np.uint8)),
    )
