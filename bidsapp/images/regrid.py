"""Bring an image to another grid of the same world."""

import numpy as np
from scipy.ndimage import affine_transform

from bidsapp.geometry.resample import Interpolation
from bidsapp.geometry.space import Space
from bidsapp.images.volume import Volume


def on_grid(volume: Volume, space: Space, interpolation: Interpolation = "nearest") -> Volume:
    """Read an image at the voxel centres of another grid of the same world frame; 0 beyond its border.

    Parameters
    ----------
    volume
        Whole numbers for "nearest"; floating point for "linear".
    space
        The grid to fill.
    interpolation
        "nearest" reaches half a voxel beyond the outermost voxel centres; both keep the type of the image.

    Examples
    --------
    >>> labels = Volume(np.array([[[1, 2, 3]]], dtype=np.uint8), Space((1, 1, 3), np.eye(4)))
    >>> on_grid(labels, Space((1, 1, 5), np.diag([1.0, 1.0, 0.8, 1.0]))).data.tolist()
    [[[1, 2, 3, 3, 0]]]
    """
    if volume.space.matches(space, tolerance_mm=0.0):
        return volume
    to_voxels = volume.space.inverse_affine @ space.affine
    matrix = to_voxels[:3, :3]
    if np.array_equal(matrix, np.diag(np.diag(matrix))):  # the same axes: one after the other is quicker
        matrix = np.diag(matrix)
    data = affine_transform(
        volume.data,
        matrix,
        to_voxels[:3, 3],
        output_shape=space.shape,
        order=1 if interpolation == "linear" else 0,
        mode="grid-constant",
        cval=0,
    )
    return Volume(data, space)
