"""Volume = data + Space: no array walks alone."""

from dataclasses import dataclass

import numpy as np

from bidsapp.errors import ShapeError
from bidsapp.geometry.space import Space


@dataclass(frozen=True)
class Volume:
    """A three-dimensional image or label map with the grid it sits on.

    Parameters
    ----------
    data
        Intensities (floating point), labels (integers) or a mask (booleans), one value a voxel of `space`.
    space
        Where the voxels are.

    Raises
    ------
    ShapeError
        If the sizes of `data` are not ``space.shape``.
    """

    data: np.ndarray
    space: Space

    def __post_init__(self) -> None:
        if self.data.shape != self.space.shape:
            raise ShapeError(f"data must lie on its space's grid {self.space.shape}, got {self.data.shape}")
