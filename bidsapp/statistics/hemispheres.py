"""Left against right: whether the hemispheres may be merged."""

from dataclasses import dataclass

from scipy.stats import binomtest

from bidsapp.errors import DataError


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
    """

    n_left: int
    n_right: int
    expected_left_fraction: float | None
    p_value: float | None
    reason: str = ""


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
    fraction = left_volume_mm3 / (left_volume_mm3 + right_volume_mm3)
    if n_left + n_right == 0:
        return HemisphereTest(0, 0, fraction, None, "no lesions in paired structures")
    p_value = float(binomtest(n_left, n_left + n_right, fraction).pvalue)
    return HemisphereTest(n_left, n_right, fraction, p_value)
