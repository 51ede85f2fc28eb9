"""Two T1-weighted images, prepared to be compared where the labels say nothing."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Float64
from scipy.ndimage import binary_dilation, binary_fill_holes, gaussian_filter1d
from torch import Tensor

from bidsapp.geometry import kernels
from bidsapp.geometry.space import Space
from bidsapp.images.box import box_around
from bidsapp.images.volume import Volume
from bidsapp.registration.grids import coarsen, place, thinned

RADIUS = 2
"""Boxes of the local correlation have 5 voxels along each axis."""
_REACH_MM = 3.0
_TOUCHED = 0.1


@dataclass(frozen=True)
class Intensities:
    """What both brains look like.

    Parameters
    ----------
    fixed
        Template, on the grid of the fixed labels.
    moving
        Native scan.
    lesions
        Native mask whose voxels, and those close by, have no counterpart in the template; None without one.
    """

    fixed: Volume
    moving: Volume
    lesions: Volume | None = None

    @cached_property
    def close_to_lesions(self) -> Float32[np.ndarray, "i j k"]:
        """1 in lesions, in what they enclose, and close by, 0 elsewhere; on the mask's grid."""
        if self.lesions is None:
            return np.zeros(self.moving.space.shape, dtype=np.float32)
        return _close_to(self.lesions).astype(np.float32)


@dataclass(frozen=True)
class ImagePair:
    """A fixed and a moving image with everything `geometry.kernels.sample_image` needs.

    Parameters
    ----------
    to_grid
        Per axis, scale and offset from a fixed voxel to the displacement's grid.
    fixed
        Intensities to be met.
    moving
        Intensities to be moved.
    maps
        Fixed voxel to moving voxel, and displacement (voxels of its grid) to moving voxels.
    counted
        Fixed voxels that are compared: in the brain or close by, not in a lesion.
    """

    to_grid: Float[Tensor, "3 2"]
    fixed: Float[Tensor, "fi fj fk"]
    moving: Float[Tensor, "mi mj mk"]
    maps: tuple[Float[Tensor, "3 4"], Float[Tensor, "3 3"]]
    counted: Bool[Tensor, "fi fj fk"]

    def correlation(self, displacement: Float[Tensor, "3 i j k"]) -> Float64[Tensor, ""]:
        """Compare the images locally, the moving one read through a displacement in voxels of its grid."""
        i, j, k = self.fixed.shape
        warped = kernels.sample_image(displacement, self.to_grid, self.moving, self.maps, (i, j, k))
        return kernels.local_correlation(self.fixed, warped, self.counted, RADIUS)


@dataclass(frozen=True)
class ImageLevel:
    """Both images at about one spacing and where they count; each is made once, and only if it is asked for.

    Parameters
    ----------
    images
        The template and the scan.
    labels
        The fixed labels, cut to the brain, and the moving ones after the affine step, on one box of the
        template's grid: images count where they are labelled, and within 3 mm.
    affine
        Fixed world to moving world, millimetres.
    spacing_mm
        Both images are blurred to it and thinned out.
    device
        Where torch computes.
    """

    images: Intensities
    labels: tuple[Volume, Volume]
    affine: Float64[np.ndarray, "4 4"]
    spacing_mm: float
    device: str

    def from_atlas(self, found: tuple[Float[Tensor, "3 i j k"], Space]) -> ImagePair:
        """Look from the template at the scan.

        Parameters
        ----------
        found
            Displacement so far (voxels) and its grid: voxels that it sends close to a lesion do not count.
        """
        (template, here), (scan, there) = self._template, self._scan
        to_grid, maps = place(here, there, self.affine, found[1], self.device)
        return ImagePair(to_grid, template, scan, maps, self._brains[0] & self._is_healthy(*found))

    def from_patient(self, grid: Space) -> ImagePair:
        """Look from the scan, after the affine step, at the template.

        Parameters
        ----------
        grid
            Of the displacement.
        """
        (template, here), (scan, there) = self._template, self._scan
        still = torch.zeros((3, *grid.shape), device=self.device)
        to_grid, maps = place(here, there, self.affine, grid, self.device)
        seen = kernels.sample_image(still, to_grid, scan, maps, here.shape)
        _, maps = place(here, here, np.eye(4), grid, self.device)
        return ImagePair(to_grid, seen, template, maps, self._brains[1] & self._is_healthy(still, grid))

    def _is_healthy(self, displacement: Float[Tensor, "3 i j k"], grid: Space) -> Bool[Tensor, "fi fj fk"]:
        """Flag voxels of the template that land well away from lesions."""
        here, lesions = self._template[1], self.images.lesions
        if lesions is None:
            return torch.ones(here.shape, dtype=torch.bool, device=self.device)
        near = torch.from_numpy(self.images.close_to_lesions).to(self.device)
        to_grid, maps = place(here, lesions.space, self.affine, grid, self.device)
        return kernels.sample_image(displacement, to_grid, near, maps, here.shape) < _TOUCHED

    @cached_property
    def _template(self) -> tuple[Float[Tensor, "fi fj fk"], Space]:
        return thin_out(_cut(self.images.fixed, self.labels[0].space), self.spacing_mm, self.device)

    @cached_property
    def _scan(self) -> tuple[Float[Tensor, "mi mj mk"], Space]:
        return thin_out(self.images.moving, self.spacing_mm, self.device)

    @cached_property
    def _brains(self) -> tuple[Bool[Tensor, "fi fj fk"], Bool[Tensor, "fi fj fk"]]:
        fixed, laid = (
            torch.from_numpy(_close_to(coarsen(labels, self.spacing_mm))).to(self.device)
            for labels in self.labels
        )
        return fixed, laid


def thin_out(
    image: Volume, spacing_mm: float, device: torch.device | str
) -> tuple[Float[Tensor, "i j k"], Space]:
    """Blur an image so that `spacing_mm` can hold it, keep every n-th voxel along each axis, give both."""
    kept, space = thinned(image.space, spacing_mm)
    weights = []
    for size, size_mm, along in zip(image.space.shape, image.space.voxel_sizes_mm, kept, strict=True):
        factor, every = max(1, round(spacing_mm / size_mm)), np.eye(size)
        blurred = gaussian_filter1d(every, 0.5 * (factor - 1), axis=0) if factor > 1 else every
        weights.append(torch.from_numpy(blurred[along]).float().to(device))
    data = torch.from_numpy(image.data.astype(np.float32)).to(device)
    i, j, k = weights
    return kernels.separable(data[None], (i, j, k))[0], space


def _close_to(labels: Volume) -> Bool[np.ndarray, "i j k"]:
    """Flag all voxels that are labelled, those within reach, and the holes they enclose."""
    iterations = max(1, round(_REACH_MM / min(labels.space.voxel_sizes_mm)))
    flags: np.ndarray = labels.data != 0
    if flags.any():
        box = box_around(flags, (iterations + 1, iterations + 1, iterations + 1))
        flags[box] = binary_fill_holes(binary_dilation(flags[box], iterations=iterations))
    return flags


def _cut(image: Volume, space: Space) -> Volume:
    """Cut an image to a box of its own grid."""
    start = np.rint(image.space.world_to_voxel(space.affine[:3, 3][None])[0]).astype(int)
    box = tuple(slice(low, low + size) for low, size in zip(start, space.shape, strict=True))
    return Volume(np.ascontiguousarray(image.data[box]), space)
