"""Other starts for the same alignment: what differs in the end was not decided by the images."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float64
from scipy.spatial.transform import Rotation

from bidsapp.images.volume import Volume

SHIFT_MM = 1.0
TURN_DEGREES = 1.0


def perturbed_starts(
    start: Float64[np.ndarray, "4 4"],
    fixed: Volume,
    *,
    n: int,
    seed: int,
    shift_mm: float = SHIFT_MM,
    turn_degrees: float = TURN_DEGREES,
) -> Iterator[Float64[np.ndarray, "4 4"]]:
    """Shift and turn an affine start a little, at random.

    Parameters
    ----------
    start
        From the fixed to the moving world, millimetres.
    fixed
        Label map; the turn is about the middle of its structures.
    n
        Starts wanted.
    seed
        The same seed gives the same starts, however many are wanted.
    shift_mm, turn_degrees
        Standard deviation of the shift along each world axis and of the turn about each.
    """
    rng = np.random.default_rng(seed)
    middle = fixed.space.voxel_to_world(np.argwhere(fixed.data > 0).mean(axis=0)[None])[0]
    for _ in range(n):
        moved = np.eye(4)
        turn = Rotation.from_rotvec(rng.normal(0, turn_degrees, 3), degrees=True).as_matrix()
        moved[:3, :3] = turn
        moved[:3, 3] = middle - turn @ middle + rng.normal(0, shift_mm, 3)
        yield start @ moved
