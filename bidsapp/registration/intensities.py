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
from bidsapp.images.regrid import on_grid
from bidsapp.images.volume import Volume
from bidsapp.registration.grids import coarsen, lay, place, thinned

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


def pair_images(
    images: Intensities,
    box: Volume,
    spacing_mm: float,
    affine: Float64[np.ndarray, "4 4"],
    found: tuple[Float[Tensor, "3 i j k"], Space],
) -> ImagePair:
    """Bring two images to about the same spacing and note which voxels may be compared.

    Parameters
    ----------
    images
        The template and the scan.
    box
        The fixed labels, cut to the brain; images count where they are labelled, and within 3 mm.
    spacing_mm
        Both images are blurred to it and thinned out.
    affine
        Fixed world to moving world, millimetres.
    found
        Displacement so far (voxels) and its grid: fixed voxels that it sends into a lesion do not count.
    """
    displacement, grid = found
    device = displacement.device
    fixed = thin_out(_cut(images.fixed, box.space), spacing_mm)
    moving = thin_out(images.moving, spacing_mm)
    to_grid, maps = place(fixed.space, moving.space, affine, grid, device)
    counted = torch.from_numpy(_close_to(coarsen(box, spacing_mm))).to(device)
    if images.lesions is not None:
        near = torch.from_numpy(images.close_to_lesions).to(device)
        maps_to_mask = place(fixed.space, images.lesions.space, affine, grid, device)[1]
        covered = kernels.sample_image(displacement, to_grid, near, maps_to_mask, fixed.space.shape)
        counted = counted & (covered < _TOUCHED)
    fixed_image, moving_image = (torch.from_numpy(image.data).to(device) for image in (fixed, moving))
    return ImagePair(to_grid, fixed_image, moving_image, maps, counted)


def pair_images_back(
    images: Intensities,
    laid: Volume,
    spacing_mm: float,
    affine: Float64[np.ndarray, "4 4"],
    onto: tuple[Space, torch.device | str],
) -> ImagePair:
    """Do the same looking from the scan, after the affine step, at the template.

    Parameters
    ----------
    images
        The template and the scan.
    laid
        The moving labels after the affine step, on a box of the template's grid; images count where they are
        labelled, and within 3 mm, but not close to lesions.
    spacing_mm
        Both images are blurred to it and thinned out.
    affine
        Fixed world to moving world, millimetres.
    onto
        Grid of the displacement, and where torch computes.
    """
    grid, device = onto
    template = thin_out(_cut(images.fixed, laid.space), spacing_mm)
    scan = on_grid(lay(thin_out(images.moving, spacing_mm), affine), template.space, "linear")
    counted = _close_to(coarsen(laid, spacing_mm))
    if images.lesions is not None:
        near = lay(Volume(images.close_to_lesions, images.lesions.space), affine)
        counted &= on_grid(near, template.space, "linear").data < _TOUCHED
    to_grid, maps = place(template.space, template.space, np.eye(4), grid, device)
    seen, met, compared = (torch.from_numpy(data).to(device) for data in (scan.data, template.data, counted))
    return ImagePair(to_grid, seen, met, maps, compared)


def thin_out(image: Volume, spacing_mm: float) -> Volume:
    """Blur an image so that `spacing_mm` can hold it, then keep every n-th voxel along each axis.

    One axis after the other, so that the second and third are blurred only where they are kept.
    """
    kept, space = thinned(image.space, spacing_mm)
    data = image.data.astype(np.float32)
    for axis, size_mm in enumerate(image.space.voxel_sizes_mm):
        factor = max(1, round(spacing_mm / size_mm))
        if factor > 1:
            data = gaussian_filter1d(data, 0.5 * (factor - 1), axis=axis)
        data = data[(slice(None),) * axis + (kept[axis],)]
    return Volume(np.ascontiguousarray(data), space)


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
