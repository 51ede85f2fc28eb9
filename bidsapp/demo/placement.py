"""Where tumours may go: in their structure, inside the brain, clear of each other."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float64
from scipy.ndimage import binary_dilation

from bidsapp.atlas.seganat import structures
from bidsapp.demo.plan import JUNCTION, Tumour
from bidsapp.demo.shape import LARGEST_BULGE, sphere_directions
from bidsapp.errors import DataError
from bidsapp.images.volume import Volume

N_CANDIDATES = 200
LEAST_INSIDE_FRACTION = 0.6
LEAST_INSIDE_FRACTION_IF_GIVEN = 0.2

Candidates = Callable[[Tumour], Float64[np.ndarray, "n 3"]]


def structure_voxels(labels: Volume, name: str) -> Float64[np.ndarray, "n 3"]:
    """Find the voxels of a region (both sides) or of the junction of cortex and white matter.

    Parameters
    ----------
    labels
        SegAnat label map.
    name
        A region, or "Grey-White Junction": cerebral white matter that touches cerebral cortex.

    Raises
    ------
    DataError
        If the label map has no such voxel.
    """
    if name == JUNCTION:
        white = _region_mask(labels, "Cerebral White Matter")
        found = white & binary_dilation(_region_mask(labels, "Cerebral Cortex"))
    else:
        found = _region_mask(labels, name)
    index = np.argwhere(found).astype(np.float64)
    if not len(index):
        raise DataError(f"the label map has no voxel of {name}: place the tumour in another structure")
    return index


def region_volumes_mm3(labels: Volume) -> dict[str, float]:
    """Measure every region of a SegAnat label map."""
    counts = np.bincount(labels.data.ravel(), minlength=len(structures()))
    volumes: dict[str, float] = {}
    for structure in structures()[1:]:
        volume = float(counts[structure.index]) * labels.space.voxel_volume_mm3
        volumes[structure.region] = volumes.get(structure.region, 0.0) + volume
    return volumes


def structure_candidates(labels: Volume, rng: np.random.Generator) -> Candidates:
    """Draw possible centres evenly over a tumour's structure, in world millimetres."""

    def draw(tumour: Tumour) -> Float64[np.ndarray, "n 3"]:
        if tumour.centre_mm is not None:
            return np.array([tumour.centre_mm], dtype=np.float64)
        index = structure_voxels(labels, tumour.structure)
        chosen = index[rng.integers(len(index), size=N_CANDIDATES)]
        return labels.space.voxel_to_world(chosen + rng.uniform(-0.5, 0.5, chosen.shape))

    return draw


def place_tumours(
    tumours: Sequence[Tumour], brain: Volume, candidates: Candidates
) -> Float64[np.ndarray, "n 3"]:
    """Give every tumour a centre, the largest choosing first.

    A centre is good when at least 60 % of the tumour lies in the brain (20 % where the plan gives the
    centre) and a gap of two voxel diagonals to every other tumour remains, so that no two masks touch. The
    first good candidate is taken, which keeps the spatial preference of the candidates among the places
    that can hold the tumour at all.

    Parameters
    ----------
    tumours
        What to place.
    brain
        Boolean mask of the tissue.
    candidates
        Gives possible centres of a tumour in world millimetres, in random order.

    Raises
    ------
    DataError
        If no candidate of a tumour is good.
    """
    gap_mm = 2 * float(np.linalg.norm(brain.space.voxel_sizes_mm))
    centres = np.full((len(tumours), 3), np.nan)
    for number in sorted(range(len(tumours)), key=lambda place: -tumours[place].diameter_mm):
        tumour = tumours[number]
        options = candidates(tumour)
        least = LEAST_INSIDE_FRACTION if tumour.centre_mm is None else LEAST_INSIDE_FRACTION_IF_GIVEN
        good = inside_fraction(options, tumour.diameter_mm / 2, brain) >= least
        for other in np.flatnonzero(np.isfinite(centres[:, 0])).tolist():
            reach = LARGEST_BULGE * (tumour.diameter_mm + tumours[other].diameter_mm) / 2 + gap_mm
            good &= np.linalg.norm(options - centres[other], axis=1) > reach
        if not good.any():
            raise DataError(
                f"found no place for a tumour of {tumour.diameter_mm:.1f} mm in {tumour.structure} that lies "
                "in the brain and clear of the others: ask for fewer or smaller tumours"
            )
        centres[number] = options[int(np.argmax(good))]
    return centres


def inside_fraction(
    centres_mm: Float64[np.ndarray, "n 3"], radius_mm: float, brain: Volume
) -> Float64[np.ndarray, " n"]:
    """Estimate which part of a ball around each centre lies in the brain, from 120 points."""
    depth = ((np.arange(120) + 0.5) / 120) ** (1 / 3)
    ball = radius_mm * sphere_directions(120) * np.random.default_rng(0).permutation(depth)[:, None]
    points = (centres_mm[:, None] + ball[None]).reshape(-1, 3)
    index = np.rint(brain.space.world_to_voxel(points)).astype(int)
    on_grid = ((index >= 0) & (index < brain.space.shape)).all(axis=1)
    inside = np.zeros(len(points), dtype=bool)
    inside[on_grid] = brain.data[tuple(index[on_grid].T)] != 0
    return np.asarray(inside.reshape(len(centres_mm), -1).mean(axis=1))


def _region_mask(labels: Volume, region: str) -> np.ndarray:
    wanted = np.array([structure.region == region for structure in structures()])
    return np.asarray(wanted[labels.data])
