"""Two groups of patients compared voxel by voxel: where one has lesions more often than the other."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64
from nilearn.mass_univariate import permuted_ols

from bidsapp.errors import DataError

N_PERMUTATIONS = 999
FEWEST_PATIENTS = 5
SMALLEST_SHARE = 0.02


@dataclass(frozen=True, slots=True, eq=False)
class VoxelwiseContrast:
    """Difference of two groups at every voxel tested.

    Parameters
    ----------
    difference
        Share of patients with a lesion in the first group less that in the second.
    t
        Student's t of the difference, positive where the first group has more.
    p_value
        Two-sided, corrected for all voxels by the largest t of each permutation.
    n_permutations
        The smallest possible p-value is ``1 / (n_permutations + 1)``.
    """

    difference: Float64[np.ndarray, " v"]
    t: Float64[np.ndarray, " v"]
    p_value: Float64[np.ndarray, " v"]
    n_permutations: int


def fewest_patients(n_patients: int) -> int:
    """Give the number of patients with a lesion that a voxel needs to be tested: 5, or 2 % if that is more.

    Examples
    --------
    >>> fewest_patients(100), fewest_patients(1000)
    (5, 20)
    """
    return max(FEWEST_PATIENTS, int(np.ceil(SMALLEST_SHARE * n_patients)))


def compare_voxels(
    hits: Bool[np.ndarray, "n v"],
    is_first: Bool[np.ndarray, " n"],
    *,
    n_permutations: int = N_PERMUTATIONS,
    seed: int = 0,
) -> VoxelwiseContrast:
    """Compare two groups at every voxel, corrected for all voxels together.

    Null hypothesis: patients are exchangeable between the groups. Two-sided, family-wise error controlled
    by the permutation distribution of the largest absolute t.

    Parameters
    ----------
    hits
        Whether each patient (row) has a lesion at each voxel (column); a column must not be constant.
    is_first
        Whether each patient belongs to the first group.
    n_permutations
        Random exchanges of whole patients.
    seed
        Of the permutations.

    Raises
    ------
    DataError
        If a group has fewer than two patients, there is no voxel, or a voxel is the same in all patients.

    References
    ----------
    Winkler et al. 2014, NeuroImage 92:381-397. doi:10.1016/j.neuroimage.2014.01.060
    """
    if min(is_first.sum(), (~is_first).sum()) < 2 or not hits.shape[1]:
        raise DataError(
            f"two patients in each group and one voxel are needed, got {int(is_first.sum())} and "
            f"{int((~is_first).sum())} patients and {hits.shape[1]} voxels"
        )
    if (hits == hits[:1]).all(axis=0).any():
        raise DataError("a voxel with the same value in all patients cannot be compared: leave it out")
    values = hits.astype(np.float64)
    found = permuted_ols(
        is_first.astype(np.float64)[:, None],
        values,
        model_intercept=True,
        n_perm=n_permutations,
        two_sided_test=True,
        random_state=seed,
        n_jobs=1,
        output_type="dict",
    )
    return VoxelwiseContrast(
        values[is_first].mean(axis=0) - values[~is_first].mean(axis=0),
        np.asarray(found["t"][0], dtype=np.float64),
        np.asarray(10.0 ** -found["logp_max_t"][0], dtype=np.float64),
        n_permutations,
    )
