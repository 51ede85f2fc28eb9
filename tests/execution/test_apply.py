import contextlib
import importlib
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from bidsapp.errors import DataError, TemporaryError
from bidsapp.execution import dask_cluster
from bidsapp.execution.apply import apply_to_all
from bidsapp.execution.cluster import Cluster
from bidsapp.execution.lock import HeldError
from bidsapp.execution.outcome import Outcome


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    function: Callable[[str], str] = importlib.import_module("worker_jobs").work
    return function


def named(item: str) -> str:
    return f"sub-{item}"


def outcomes(
    function: Callable[[str], str], items: list[str], nprocs: int, folder: Path
) -> dict[str, Outcome[str, str]]:
    found = apply_to_all(
        function,
        items,
        patiently=function,
        cluster=Cluster(n_processes=nprocs, folder=folder),
        describe=named,
    )
    return {outcome.item: outcome for outcome in found}


def test_one_process_is_this_process_and_keeps_the_order(work: Callable[[str], str], tmp_path: Path) -> None:
    here = Cluster(folder=tmp_path)
    found = list(apply_to_all(work, ["b", "a"], patiently=work, cluster=here, describe=named))
    assert [outcome.value for outcome in found] == [f"b in {os.getpid()}", f"a in {os.getpid()}"]


def test_serial_items_are_worked_on_one_by_one_as_they_are_asked_for(
    work: Callable[[str], str], tmp_path: Path
) -> None:
    seen: list[str] = []
    here = Cluster(folder=tmp_path)
    found = apply_to_all(seen.append, ["a", "b"], patiently=seen.append, cluster=here, describe=named)
    next(found)
    assert seen == ["a"]


def test_a_second_run_on_the_same_machine_hears_nothing_of_the_first(
    work: Callable[[str], str], tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    """Two containers often share a host's network; port 8787 is where Dask would otherwise put a page."""
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):  # somebody else has it: as good
            taken.bind(("127.0.0.1", 8787))
            taken.listen()
        found = outcomes(work, ["a", "b"], 2, tmp_path)
    assert {item: outcome.error for item, outcome in found.items()} == {"a": None, "b": None}
    assert [str(warning.message) for warning in recwarn] == []


@pytest.mark.parametrize("nprocs", [1, 2])
def test_an_item_that_fails_costs_only_itself(
    work: Callable[[str], str], tmp_path: Path, nprocs: int
) -> None:
    found = outcomes(work, ["a", "bad", "bug", "odd", "b"], nprocs, tmp_path)
    assert len(found) == 5
    assert found["a"].error is None
    assert found["b"].error is None
    assert isinstance(found["bad"].error, DataError)
    assert "got a poem" in str(found["bad"].error)
    assert str(found["bug"].error) == "ZeroDivisionError: division by zero"
    assert "return str(1 / 0)" in found["bug"].traceback
    assert str(found["odd"].error) == "UnpicklableError: odd"


def test_a_process_that_dies_costs_its_item_and_no_other(work: Callable[[str], str], tmp_path: Path) -> None:
    items = ["die1", "a", "b", "c", "exit", "d", "die2", "e", "f", "g", "h"]  # dying takes longest
    found = outcomes(work, items, 2, tmp_path)
    assert sorted(found) == sorted(items)
    for item in ("die1", "die2", "exit"):
        assert isinstance(found[item].error, TemporaryError)
        assert f"sub-{item} died, most often because memory ran out" in str(found[item].error)
    assert all(found[item].error is None for item in "abcdefgh")


def test_several_processes_share_the_work_and_know_their_threads(
    work: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    found = outcomes(work, ["a", "b", "c", "threads"], 2, tmp_path)
    places = {outcome.value.split(" in ")[1] for outcome in found.values() if " in " in str(outcome.value)}
    assert len(places) == 2
    assert found["threads"].value == "3"


def test_what_workers_log_is_heard_here(
    work: Callable[[str], str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="bidsapp"):
        outcomes(work, ["log", "bad"], 2, tmp_path / "scratch")
    assert "heard from the worker" in caplog.text
    assert "1 failed, 0 left" in caplog.text
    assert "sub-bad failed: " in caplog.text


@pytest.mark.parametrize("nprocs", [1, 2])
def test_what_another_run_works_on_comes_last_and_is_waited_for(
    work: Callable[[str], str], tmp_path: Path, nprocs: int
) -> None:
    jobs = importlib.import_module("worker_jobs")
    here = Cluster(n_processes=nprocs, folder=tmp_path)
    found = apply_to_all(
        jobs.give_up, ["held", "a", "b"], patiently=jobs.wait_for, cluster=here, describe=named
    )
    in_order = [(outcome.item, outcome.value) for outcome in found]
    assert sorted(in_order[:2]) == [("a", "at once"), ("b", "at once")]
    assert in_order[2] == ("held", "waited")
    with pytest.raises(HeldError):
        jobs.give_up("held")


def test_each_gpu_gets_a_process_that_sees_no_other(work: Callable[[str], str], tmp_path: Path) -> None:
    here = Cluster(n_processes=2, n_gpus=2, folder=tmp_path)
    items = ["gpu"] * 4
    found = list(apply_to_all(work, items, patiently=work, cluster=here, describe=named))
    assert {outcome.value for outcome in found} == {"0", "1"}


def test_nothing_to_do_is_no_error(work: Callable[[str], str], tmp_path: Path) -> None:
    assert outcomes(work, [], 1, tmp_path) == {}
    assert outcomes(work, [], 2, tmp_path) == {}


@pytest.mark.usefixtures("_shapes_unchecked")
def test_no_worker_at_all_is_an_error_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    class Deserted:
        def nthreads(self) -> dict[str, int]:
            return {}

        def wait_for_workers(self, *_: object, **__: object) -> None:
            raise TimeoutError

    with pytest.raises(TemporaryError, match="no worker process came up within 60 s"):
        list(dask_cluster.apply_on_workers(Deserted(), named, str, ["a"]))
