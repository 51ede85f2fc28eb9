import pytest

from bidsapp.errors import DataError
from bidsapp.statistics.hemispheres import hemisphere_test


def test_an_even_split_is_no_surprise() -> None:
    assert hemisphere_test(5, 5, 100.0, 100.0).p_value == pytest.approx(1)


def test_the_sides_volumes_set_the_expected_split() -> None:
    result = hemisphere_test(3, 0, 1.0, 3.0)
    assert result.expected_left_fraction == 0.25
    assert result.p_value == pytest.approx(0.25**3)


def test_no_lesions_or_no_volume_give_a_reason_instead_of_a_p_value() -> None:
    assert hemisphere_test(0, 0, 1.0, 1.0).p_value is None
    assert hemisphere_test(0, 0, 1.0, 1.0).reason == "no lesions in paired structures"
    assert hemisphere_test(2, 0, 1.0, 0.0).reason == "a hemisphere has no volume in this atlas"


def test_negative_counts_are_refused() -> None:
    with pytest.raises(DataError, match="must be at least 0"):
        hemisphere_test(-1, 0, 1.0, 1.0)
