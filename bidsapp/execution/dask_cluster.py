"""Apply a function to many items at once, in worker processes of this machine."""

# mypy: disable-error-code="no-untyped-call"

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import dask
from distributed import Client, Future, LocalCluster, wait
from distributed.scheduler import KilledWorker

from bidsapp.errors import TemporaryError
from bidsapp.execution.outcome import Item, Outcome, Value, attempt

_PATIENCE_S = 60
_LOOK_EVERY_S = 1.0


def apply_on_cluster(
    function: Callable[[Item], Value],
    items: Sequence[Item],
    *,
    n_processes: int,
    describe: Callable[[Item], str],
    folder: Path,
) -> Iterator[Outcome[Item, Value]]:
    """Yield the outcome of each item as soon as it is there, in whatever order they finish.

    Every worker is a fresh process that takes one item at a time, so a worker that dies, killed for want of
    memory, costs its own item and no other; a new worker takes its place. Workers inherit the environment.

    Parameters
    ----------
    function
        Importable by name, since workers start from nothing.
    items
        Must travel between processes.
    n_processes
        Workers at the same time.
    describe
        Names an item in the error of a worker that died.
    folder
        Where workers may write.

    Raises
    ------
    TemporaryError
        If no worker starts.
    """
    choices = {
        "temporary-directory": str(folder),
        "distributed.scheduler.allowed-failures": 0,
        "distributed.worker.multiprocessing-method": "spawn",
        "distributed.admin.log-format": "%(message)s",
    }
    with (
        dask.config.set(choices),
        LocalCluster(
            n_workers=min(n_processes, max(len(items), 1)),
            threads_per_worker=1,
            processes=True,
            memory_limit=None,
            dashboard_address="127.0.0.1:0",  # any free port: None means 8787, which another run may have
            local_directory=str(folder),
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster) as client,
    ):
        level = logging.getLogger("bidsapp").getEffectiveLevel()
        client.forward_logging("bidsapp", level=level)
        yield from _feed(client, partial(_attempt_aloud, level, function), items, describe)


def _attempt_aloud(level: int, function: Callable[[Item], Value], item: Item) -> Outcome[Item, Value]:
    """Let a worker, which starts with no notion of it, log what this process logs."""
    logging.getLogger("bidsapp").setLevel(level)
    return attempt(function, item)


def _feed(
    client: Client,
    function: Callable[[Item], Outcome[Item, Value]],
    items: Sequence[Item],
    describe: Callable[[Item], str],
) -> Iterator[Outcome[Item, Value]]:
    """Give each idle worker one item, until all items are done."""
    left = list(reversed(items))
    running: dict[Future, tuple[str, Item]] = {}
    while left or running:
        busy = {address for address, _ in running.values()}
        for address in [worker for worker in client.nthreads() if worker not in busy]:
            if left:
                item = left.pop()
                future = client.submit(
                    function, item, workers=[address], allow_other_workers=True, pure=False
                )
                running[future] = (address, item)
        if not running:
            _wait_for_a_worker(client)
            continue
        for future in _finished(running):
            _, item = running.pop(future)
            yield _outcome(future, item, describe(item))


def _finished(running: dict[Future, tuple[str, Item]]) -> list[Future]:
    """Wait a moment for the first to finish; nobody may have."""
    try:
        return list(wait(list(running), timeout=_LOOK_EVERY_S, return_when="FIRST_COMPLETED").done)
    except TimeoutError:
        return []


def _outcome(future: Future, item: Item, name: str) -> Outcome[Item, Value]:
    """Read what a worker found, or that it died."""
    try:
        found: Outcome[Item, Value] = future.result()
    except KilledWorker:
        error = TemporaryError(
            f"the process that worked on {name} died, most often because memory ran out: "
            "try again with fewer --nprocs or on a machine with more memory"
        )
        return Outcome(item, error=error)
    except Exception as error:  # noqa: BLE001 - what cannot travel between processes costs its item alone
        named = RuntimeError(f"the result of {name} could not be fetched: {type(error).__name__}: {error}")
        return Outcome(item, error=named)
    return found


def _wait_for_a_worker(client: Client) -> None:
    try:
        client.wait_for_workers(1, timeout=_PATIENCE_S)
    except TimeoutError as error:
        raise TemporaryError(
            f"no worker process came up within {_PATIENCE_S} s: try again, or use --nprocs 1"
        ) from error
