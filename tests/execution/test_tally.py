import pytest

from bidsapp.errors import DataError, MissingInputError, SelectionError
from bidsapp.execution.tally import Tally


@pytest.fixture
def tally() -> Tally:
    return Tally()


def test_all_done_is_0(tally: Tally) -> None:
    tally.done("sub-01")
    assert tally.exit_status == 0
    assert tally.last_line() == "metsatlas finished: 1 ok, 0 failed, 0 skipped; exit 0"


def test_some_failed_is_1_whatever_their_error(tally: Tally) -> None:
    tally.failed("sub-07", DataError("bad"))
    tally.done("sub-01")
    assert tally.last_line() == "metsatlas finished: 1 ok, 1 failed (sub-07), 0 skipped; exit 1"


def test_all_failed_is_the_first_errors_status(tally: Tally) -> None:
    tally.failed("sub-01", MissingInputError("none"))
    tally.failed("sub-02", DataError("bad"))
    assert tally.exit_status == 66


def test_a_bug_is_1(tally: Tally) -> None:
    tally.failed("sub-01", RuntimeError("bug"))
    assert tally.exit_status == 1


def test_all_skipped_is_18_and_some_skipped_is_0(tally: Tally) -> None:
    tally.skipped("sub-01", SelectionError("no session"))
    assert tally.exit_status == 18
    tally.done("sub-02")
    assert tally.exit_status == 0
    assert "1 skipped (sub-01)" in tally.last_line()


def test_the_group_counts_apart_from_the_scans(tally: Tally) -> None:
    tally.done("sub-01")
    tally.group_ended(None)
    assert tally.last_line() == "metsatlas finished: 1 ok, 0 failed, 0 skipped, group ok; exit 0"
    tally.group_ended(DataError("bad"))
    assert tally.last_line().endswith("group failed; exit 1")


def test_a_group_alone_ends_with_its_own_status(tally: Tally) -> None:
    tally.group_ended(DataError("bad"))
    assert tally.exit_status == 65
    assert not tally.has_results
    tally.group_ended(None)
    assert tally.exit_status == 0
