import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bidsapp.reports.quality import FEWEST, MOST_DOTS, _ticks, far_from_the_others, strips


def patients(values, **columns):
    """Used patients with a mean Dice."""
    names = [f"sub-{number:04d}" for number in range(len(values))]
    reports = [f"{name}.html" for name in names]
    frame = pd.DataFrame({"participant": names, "status": "used", "report": reports, "dice_mean": values})
    return frame.assign(**columns)


def test_values_beyond_the_fences_are_far():
    values = np.array([1.0, 2, 3, 4, 5, 6, 7, 8, 9, 21])
    is_far, low, high = far_from_the_others(values)
    assert (low, high) == (3.25 - 1.5 * 4.5, 7.75 + 1.5 * 4.5)
    assert is_far.tolist() == [False] * 9 + [True]


def test_among_few_patients_nobody_is_far():
    assert not far_from_the_others(np.array([1.0] * (FEWEST - 2) + [99.0]))[0].any()
    assert "nobody is called far" in strips(patients([0.9, 0.1]))[0].sentence


@given(st.floats(-1e4, 1e4), st.floats(0, 1e4))
def test_ticks_hold_all_values_and_are_few(low, width):
    ticks = _ticks(low, low + width)
    assert ticks[0] <= low + 1e-9
    assert ticks[-1] >= low + width - 1e-9
    assert 2 <= len(ticks) <= 8


def test_a_strip_has_a_row_a_centre_and_its_outliers_lead_to_pages():
    values = [0.9, 0.91, 0.92, 0.9, 0.91, 0.92, 0.9, 0.91, 0.92, 0.4]
    (strip,) = strips(patients(values, site=["West"] * 6 + ["East"] * 4))
    assert [row.name for row in strip.rows] == ["West", "East"]
    assert [(dot.text, dot.link) for dot in strip.outliers] == [("sub-0009: 0.40", "sub-0009.html")]
    assert len(strip.dots) == 10
    assert all(190 <= dot.x <= 980 for dot in strip.dots)
    assert min(strip.dots, key=lambda dot: dot.x).text == "sub-0009: 0.40"


def test_excluded_patients_and_missing_values_are_not_drawn():
    frame = patients([0.9, np.nan, 0.8], status=["used", "used", "excluded"])
    assert [dot.text for dot in strips(frame)[0].dots] == ["sub-0000: 0.90"]
    assert strips(patients([np.nan, np.nan])) == ()


def test_of_many_patients_only_those_far_from_the_others_are_drawn():
    values = np.full(MOST_DOTS + 1, 0.9) + np.linspace(0, 0.01, MOST_DOTS + 1)
    values[7] = 0.1
    assert [dot.text for dot in strips(patients(values))[0].dots] == ["sub-0007: 0.10"]


@pytest.mark.parametrize("values", [[0.9], [0.9, 0.9], [1e-12, 2e-12]])
def test_equal_or_single_values_still_have_an_axis(values):
    assert len(strips(patients(values))[0].ticks) >= 2
