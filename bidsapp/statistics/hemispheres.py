"""Left against right: whether the hemispheres may be merged."""

from dataclasses import dataclass, replace

import pandas as pd
from scipy.stats import binomtest

from bidsapp.errors import DataError
from bidsapp.statistics.beta_binomial import clustered_p_value
from bidsapp.statistics.clustered import estimate_clustering


@dataclass(frozen=True, slots=True)
class HemisphereTest:
    """Lesions on the left and right, and how surprising their split is.

    Parameters
    ----------
    n_left, n_right
        Lesions in paired structures; those of the midline take no part.
    expected_left_fraction
        The left side's share of the volume.
    p_value
        Exact binomial, two-sided; None when nothing can be tested.
    reason
        Why there is no p-value; empty when there is one.
    clustered_p_value
        The same with the lesions of a patient kept together; None with fewer than two patients.
    """

    n_left: int
    n_right: int
    expected_left_fraction: float | None
    p_value: float | None
    reason: str = ""
    clustered_p_value: float | None = None


def hemisphere_test(
    n_left: int, n_right: int, left_volume_mm3: float, right_volume_mm3: float
) -> HemisphereTest:
    """Test whether lesions prefer one side beyond what the volumes of the sides explain.

    Null hypothesis: each lesion falls on the left independently with the left side's share of the
    volume. Two-sided, one test, no correction.

    Raises
    ------
    DataError
        If a count or a volume is negative.

    Examples
    --------
    >>> hemisphere_test(8, 2, 100.0, 100.0).p_value
    0.109375
    """
    if min(n_left, n_right, left_volume_mm3, right_volume_mm3) < 0:
        raise DataError(
            "counts and volumes of the hemispheres must be at least 0, got "
            f"{n_left}, {n_right}, {left_volume_mm3}, {right_volume_mm3}"
        )
    if left_volume_mm3 == 0 or right_volume_mm3 == 0:
        return HemisphereTest(n_left, n_right, None, None, "a hemisphere has no volume in this atlas")
    fraction = float(left_volume_mm3 / (left_volume_mm3 + right_volume_mm3))
    if n_left + n_right == 0:
        return HemisphereTest(0, 0, fraction, None, "no lesions in paired structures")
    p_value = float(binomtest(n_left, n_left + n_right, fraction).pvalue)
    return HemisphereTest(n_left, n_right, fraction, p_value)


def clustered_hemisphere_test(
    counts: pd.DataFrame, left_volume_mm3: float, right_volume_mm3: float
) -> HemisphereTest:
    """Test left against right, also with the lesions of each patient kept together.

    Null hypothesis: each lesion falls on the left with the left side's share of the volume; for the
    clustered p-value, lesions of one patient are alike by their measured intraclass correlation.
    Two-sided, one test, no correction.

    Parameters
    ----------
    counts
        Lesions of each patient (rows) on the ``left`` and ``right`` (columns).
    left_volume_mm3, right_volume_mm3
        Volumes of the paired structures.

    Examples
    --------
    Ten patients with all their lesions on one side are ten coins, not fifty:

    >>> counts = pd.DataFrame({"left": [5] * 8 + [0] * 2, "right": [0] * 8 + [5] * 2})
    >>> test = clustered_hemisphere_test(counts, 1.0, 1.0)
    >>> test.p_value < 0.0001, test.clustered_p_value > 0.1
    (True, True)
    """
    total = counts.sum(axis=0)
    test = hemisphere_test(int(total["left"]), int(total["right"]), left_volume_mm3, right_volume_mm3)
    fraction = test.expected_left_fraction
    sizes = counts.sum(axis=1)
    sizes = sizes[sizes > 0]
    if test.p_value is None or fraction is None or (len(sizes) < 2 and sizes.sum() > 1):
        return test
    shares = pd.Series({"left": fraction, "right": 1 - fraction})
    icc = float(estimate_clustering(counts[["left", "right"]], shares).null_icc.max())
    return replace(test, clustered_p_value=clustered_p_value(test.n_left, sizes.tolist(), fraction, icc))
