"""What a growing tumour does to its neighbours: a smooth push outwards that folds nothing."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from scipy.ndimage import map_coordinates

from bidsapp.demo.shape import ball_box, box_index
from bidsapp.errors import DataError
from bidsapp.geometry.space import Space

REACH_RADII = 3.0
LARGEST_PUSH_RADII = 0.5
_POWER = (REACH_RADII**2 - 1) / 2


@dataclass(frozen=True)
class MassEffect:
    """A radial push that is largest at the tumour's surface and ends at three tumour radii.

    Tissue seen at distance r = s R from the centre lay at r - u(r) before the tumour grew, with
    u = a s ((9 - s^2) / 8)^4 for s < 3 and 0 beyond. u(R) = a is the maximum, and dr_before/dr stays
    positive for a < 0.62 R, so no tissue folds.

    Parameters
    ----------
    centre_mm
        Centre of the tumour, world RAS+ millimetres.
    radius_mm
        Radius R of the tumour.
    amplitude_mm
        Push a at its surface; at most half the radius.

    Raises
    ------
    DataError
        If the push is negative or would come near to folding.

    Examples
    --------
    >>> effect = MassEffect(np.zeros(3), 10.0, 3.0)
    >>> effect.undo(np.array([[10.0, 0, 0], [31.0, 0, 0]])).tolist()
    [[7.0, 0.0, 0.0], [31.0, 0.0, 0.0]]
    """

    centre_mm: Float64[np.ndarray, "3"]
    radius_mm: float
    amplitude_mm: float

    def __post_init__(self) -> None:
        most = LARGEST_PUSH_RADII * self.radius_mm
        if not 0 <= self.amplitude_mm <= most:
            raise DataError(
                f"a tumour of radius {self.radius_mm:.1f} mm can push its surroundings by 0 to {most:.1f} mm,"
                f" got {self.amplitude_mm:.1f} mm: ask for a smaller mass effect"
            )

    @property
    def reach_mm(self) -> float:
        """Distance from the centre beyond which nothing moves."""
        return REACH_RADII * self.radius_mm

    def undo(self, points_mm: Float64[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n 3"]:
        """Send points of the pushed tissue to where they lay before the tumour grew."""
        away = points_mm - self.centre_mm
        s_squared = (away**2).sum(axis=1) / self.radius_mm**2
        fading = np.maximum(0, (REACH_RADII**2 - s_squared) / (REACH_RADII**2 - 1)) ** _POWER
        return np.asarray(points_mm - (self.amplitude_mm / self.radius_mm * fading)[:, None] * away)


def undo_all(
    effects: Sequence[MassEffect], points_mm: Float64[np.ndarray, "n 3"]
) -> Float64[np.ndarray, "n 3"]:
    """Take back the pushes of all tumours, the first of the list first."""
    for effect in effects:
        points_mm = effect.undo(points_mm)
    return points_mm


def push(data: np.ndarray, space: Space, effects: Sequence[MassEffect], *, interpolation: str) -> np.ndarray:
    """Show an image or label map as it looks once the tumours have pushed it aside.

    Parameters
    ----------
    data
        Values on the grid of `space`.
    space
        Where they sit.
    effects
        The pushes; voxels that none reaches keep their value to the bit.
    interpolation
        "linear" for intensities, "nearest" for labels.
    """
    moved = np.zeros(space.shape, dtype=bool)
    for effect in effects:
        box = ball_box(effect.centre_mm, effect.reach_mm, space)
        distance = np.linalg.norm(space.voxel_to_world(box_index(box)) - effect.centre_mm, axis=1)
        moved[box] |= (distance < effect.reach_mm).reshape(moved[box].shape)
    index = np.argwhere(moved).astype(np.float64)
    before = space.world_to_voxel(undo_all(effects, space.voxel_to_world(index)))
    pushed = data.copy()
    if interpolation == "linear":
        pushed[moved] = map_coordinates(data, before.T, order=1, mode="nearest")
    else:
        pushed[moved] = map_coordinates(data, before.T, order=0, mode="nearest")
    return pushed
