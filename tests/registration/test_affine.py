"""The affine start needs no luck: far origins, turned heads, odd grids."""

import numpy as np
import pytest

from bidsapp.errors import DataError
from bidsapp.images.volume import Volume
from bidsapp.registration.affine import affine_from_centroids, align_affine
from tests.registration.conftest import FIXED, rotation, scanner, seen_through

GRIDS = {
    "standard": np.diag([1.5, 1.5, 1.5]),
    "left-handed": np.diag([-1.5, 1.5, 1.5]),
    "axes permuted": np.array([[0.0, 0, 1.5], [-1.5, 0, 0], [0, 1.5, 0]]),
    "oblique and thick": rotation((12, -20, 8)) @ np.diag([0.9, 0.9, 3.0]),
}


def moved(degrees: tuple[float, float, float], shift_mm: tuple[float, float, float]) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = rotation(degrees) @ np.array([[1.08, 0.05, 0], [0, 0.94, 0.04], [0, 0, 1.03]])
    affine[:3, 3] = shift_mm
    return affine


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize(
    ("degrees", "shift_mm"),
    [((0, 0, 0), (3, -4, 5)), ((30, 0, 0), (0, 300, -250)), ((-20, 25, 30), (310, -40, 280))],
)
def test_the_affine_that_moved_the_brain_is_found(
    fixed: Volume, grid: str, degrees: tuple[float, float, float], shift_mm: tuple[float, float, float]
) -> None:
    truth = moved(degrees, shift_mm)
    moving = seen_through(truth, scanner(truth, GRIDS[grid]))
    found = align_affine(fixed, moving)
    points = FIXED.voxel_centres_mm()[(fixed.data > 0).ravel()]
    apart = (points @ (found - truth)[:3, :3].T) + (found - truth)[:3, 3]
    assert np.linalg.norm(apart, axis=1).mean() < 0.6
    assert np.linalg.norm(apart, axis=1).max() < 2.0


def test_refining_on_the_overlap_improves_on_the_closed_form(fixed: Volume) -> None:
    truth = moved((5, 5, 5), (10, 20, 30))
    moving = seen_through(truth, scanner(truth, np.diag([2.0, 2.0, 2.0])))
    # cut the moving brain off, so that centroids are wrong and overlap is not
    data = moving.data.copy()
    data[:, :, :18] = 0
    cut = Volume(data, moving.space)
    points = FIXED.voxel_centres_mm()[(fixed.data > 0).ravel()]

    def error(found: np.ndarray) -> float:
        apart = (points @ (found - truth)[:3, :3].T) + (found - truth)[:3, 3]
        return float(np.linalg.norm(apart, axis=1).mean())

    assert error(align_affine(fixed, cut)) < 0.8 * error(affine_from_centroids(fixed, cut))


def test_renumbered_labels_that_no_longer_match_are_refused(fixed: Volume) -> None:
    rng = np.random.default_rng(0)
    noise = rng.choice(np.unique(fixed.data), FIXED.shape).astype(np.uint8)
    with pytest.raises(
        DataError, match=r"label map must (show|share)|structures .* arranged as in the atlas"
    ):
        align_affine(fixed, Volume(noise, FIXED))


def test_swapped_sides_are_refused(fixed: Volume) -> None:
    swap = np.arange(35, dtype=np.uint8)
    for left in (1, 3, 5, 13, 17, 21):
        swap[left], swap[left + 1] = left + 1, left
    with pytest.raises(DataError, match="left and right may be swapped"):
        align_affine(fixed, Volume(swap[fixed.data], FIXED))


def test_too_few_shared_structures_are_refused(fixed: Volume) -> None:
    only_two = np.where(fixed.data <= 2, fixed.data, 0).astype(np.uint8)
    with pytest.raises(DataError, match=r"must share 6 structures with the atlas, got 2"):
        align_affine(fixed, Volume(only_two, FIXED))
