"""Two groups of patients compared voxel by voxel."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from bidsapp.geometry.space import Space
from bidsapp.images.volume import Volume
from bidsapp.settings import Contrast
from bidsapp.statistics.voxelwise import compare_voxels, fewest_patients


@dataclass(frozen=True)
class ContrastAnalysis:
    """Where one group of patients has lesions more often than the other.

    Parameters
    ----------
    contrast
        The two groups.
    n_first, n_second
        Patients of each, those without lesions included.
    fewest_patients
        A voxel needs this many patients with a lesion to be tested.
    n_voxels, n_significant
        Tested, and with a corrected p-value below 0.05.
    smallest_p_value
        Of all voxels, corrected for all; None without a test.
    n_permutations
        Exchanges of whole patients; 0 without a test.
    difference, log_p
        Share in the first group less that in the second, and -log10 of the corrected p-value, both 0 where
        nothing was tested; None without a test.
    reason
        Why there is no test; empty if there is one.
    """

    contrast: Contrast
    n_first: int
    n_second: int
    fewest_patients: int
    n_voxels: int = 0
    n_significant: int = 0
    smallest_p_value: float | None = None
    n_permutations: int = 0
    difference: Volume | None = None
    log_p: Volume | None = None
    reason: str = ""


def analyse_contrast(
    contrast: Contrast,
    masks: Callable[[], Iterable[Bool[np.ndarray, "i j k"]]],
    is_first: Bool[np.ndarray, " n"],
    space: Space,
    *,
    seed: int,
) -> ContrastAnalysis:
    """Compare the lesion masks of two groups of patients.

    Null hypothesis: patients are exchangeable between the groups. Two-sided, corrected for all voxels
    tested.

    Parameters
    ----------
    contrast
        The two groups.
    masks
        Gives the patients' masks on the grid of the atlas, one after the other; called twice.
    is_first
        Whether each patient belongs to the first group.
    space
        Grid of the atlas.
    seed
        Of the permutations.
    """
    n_first, n_second = int(is_first.sum()), int((~is_first).sum())
    n_patients = n_first + n_second
    least = fewest_patients(n_patients)
    found = ContrastAnalysis(contrast, n_first, n_second, least)
    if min(n_first, n_second) < 2:
        return _without(found, f"{n_first} and {n_second} patients: each group needs two")
    counts = np.zeros(space.shape, dtype=np.int32)
    for mask in masks():
        counts += mask
    tested = (counts >= least) & (counts < n_patients)
    if not tested.any():
        return _without(found, f"no voxel has lesions of {least} patients: lesions overlap too little")
    hits = np.array([mask[tested] for mask in masks()])
    result = compare_voxels(hits, is_first, seed=seed)
    difference, log_p = (np.zeros(space.shape, dtype=np.float32) for _ in range(2))
    difference[tested], log_p[tested] = result.difference, -np.log10(result.p_value)
    return ContrastAnalysis(
        contrast,
        n_first,
        n_second,
        least,
        n_voxels=int(tested.sum()),
        n_significant=int((result.p_value < 0.05).sum()),
        smallest_p_value=float(result.p_value.min()),
        n_permutations=result.n_permutations,
        difference=Volume(difference, space),
        log_p=Volume(log_p, space),
    )


def _without(found: ContrastAnalysis, reason: str) -> ContrastAnalysis:
    return ContrastAnalysis(
        found.contrast, found.n_first, found.n_second, found.fewest_patients, reason=reason
    )
