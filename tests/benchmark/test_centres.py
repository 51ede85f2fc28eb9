"""Which lesion found is which lesion implanted."""

import numpy as np
import pandas as pd
import pytest

from benchmark.centres import NATIVE, TRUE_NATIVE, match_centres, match_lesions
from bidsapp.errors import DataError

CENTRES = np.array([[0.0, 0.0, 0.0], [10.0, -4.0, 2.5], [3.0, 60.0, -71.0]])


def tables(
    found_mm: np.ndarray, true_mm: np.ndarray, *, session: str | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Make the two tables of one scan as the app and the demo write them."""
    found = pd.DataFrame(found_mm, columns=NATIVE).assign(subject="01", session=session)
    truth = pd.DataFrame(true_mm, columns=TRUE_NATIVE).assign(
        participant_id="sub-01", session_id=f"ses-{session}" if session else None
    )
    return (
        found.assign(lesion=np.arange(1, len(found) + 1)),
        truth.assign(lesion=np.arange(1, len(truth) + 1)),
    )


def test_the_same_lesions_in_another_order_are_paired() -> None:
    matches = match_centres(CENTRES[[2, 0, 1]] + 0.001, CENTRES, tolerance_mm=1.0)
    assert matches.true.tolist() == [0, 1, 2]
    assert matches.found.tolist() == [1, 2, 0]
    assert (matches.missed, matches.extra) == ((), ())


def test_a_lesion_nobody_found_is_missed() -> None:
    matches = match_centres(CENTRES[[2, 0]], CENTRES, tolerance_mm=1.0)
    assert (matches.missed, matches.extra) == ((1,), ())
    assert matches.found.tolist() == [1, 0]


def test_a_lesion_that_is_not_there_is_extra() -> None:
    matches = match_centres(np.vstack([[[90.0, 0, 0]], CENTRES]), CENTRES, tolerance_mm=1.0)
    assert (matches.missed, matches.extra) == ((), (0,))


def test_two_found_at_one_place_do_not_share_a_partner() -> None:
    matches = match_centres(CENTRES[[0, 0, 1, 2]] + 0.01, CENTRES, tolerance_mm=1.0)
    assert len(set(matches.found)) == len(matches.found) == 3
    assert matches.extra == (1,)


def test_two_true_ones_do_not_share_what_was_found() -> None:
    matches = match_centres(CENTRES[[0]], np.array([[0.4, 0, 0], [0.1, 0, 0]]), tolerance_mm=1.0)
    assert (matches.true.tolist(), matches.found.tolist()) == ([1], [0])
    assert matches.missed == (0,)


def test_lesions_farther_apart_than_the_tolerance_are_no_pair() -> None:
    shifted = CENTRES + np.array([1.1, 0.0, 0.0])
    assert match_centres(shifted, CENTRES, tolerance_mm=1.0).missed == (0, 1, 2)
    assert match_centres(shifted, CENTRES, tolerance_mm=1.2).missed == ()


def test_nothing_found_is_all_missed_and_nothing_there_all_extra() -> None:
    none = np.empty((0, 3))
    assert match_centres(none, CENTRES, tolerance_mm=1.0).missed == (0, 1, 2)
    assert match_centres(CENTRES, none, tolerance_mm=1.0).extra == (0, 1, 2)
    assert match_centres(none, none, tolerance_mm=1.0).missed == ()


def test_tables_come_back_row_by_row() -> None:
    found, truth = match_lesions(*tables(CENTRES[[1, 2, 0]], CENTRES))
    np.testing.assert_allclose(found[NATIVE].to_numpy(), truth[TRUE_NATIVE].to_numpy())
    assert truth["lesion"].tolist() == [1, 2, 3]


def test_lesions_at_the_same_place_of_two_sessions_stay_apart() -> None:
    first, second = tables(CENTRES, CENTRES, session="1"), tables(CENTRES, CENTRES, session="2")
    found = pd.concat([second[0], first[0]], ignore_index=True)
    truth = pd.concat([first[1], second[1]], ignore_index=True)
    paired, true = match_lesions(found, truth)
    assert ("ses-" + paired["session"]).tolist() == true["session_id"].tolist()
    assert len(paired) == 6


def test_a_missing_lesion_is_refused_with_its_scan() -> None:
    with pytest.raises(DataError, match=r"exactly once, got 01: 1 missed, 0 found in vain"):
        match_lesions(*tables(CENTRES[:2], CENTRES))


def test_a_lesion_too_many_is_refused_with_its_scan() -> None:
    with pytest.raises(DataError, match=r"exactly once, got 01_2: 0 missed, 1 found in vain"):
        match_lesions(*tables(CENTRES, CENTRES[1:], session="2"))
