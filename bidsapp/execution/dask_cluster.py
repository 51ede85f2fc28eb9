"""Apply a function to many items at once, in worker processes: of this machine, or of any Dask cluster."""

# mypy: disable-error-code="no-untyped-call"

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import dask
from distributed import Client, Future, Nanny, Scheduler, SpecCluster, wait
from distributed.scheduler import KilledWorker

from bidsapp.errors import TemporaryError
from bidsapp.execution.cluster import Cluster
from bidsapp.execution.outcome import Item, Outcome, Value, attempt

logger = logging.getLogger(__name__)

_PATIENCE_S = 60
_LOOK_EVERY_S = 1.0


@contextmanager
def connect(cluster: Cluster, n_items: int) -> Iterator[Client]:
    """Start worker processes here, or join the scheduler that was named; messages of workers are heard here.

    Workers of this machine are fresh processes that inherit the environment and take one item at a time.

    Parameters
    ----------
    cluster
        Which processes.
    n_items
        More workers than this are not started.

    Raises
    ------
    TemporaryError
        If no scheduler answers.
    """
    with ExitStack() as stack:
        if cluster.scheduler:
            client = stack.enter_context(_join(cluster.scheduler))
        else:
            client = stack.enter_context(_start(cluster, n_items))
        client.forward_logging("bidsapp", level=logging.getLogger("bidsapp").getEffectiveLevel())
        yield client


def _join(scheduler: str) -> Client:
    where = {"scheduler_file": scheduler} if Path(scheduler).is_file() else {"address": scheduler}
    try:
        return Client(**where, timeout=_PATIENCE_S)
    except (OSError, ValueError) as error:
        raise TemporaryError(
            f"a Dask scheduler must answer at {scheduler}, got nothing within {_PATIENCE_S} s ({error}): "
            "start it first, and check that this machine can reach it"
        ) from error


@contextmanager
def _start(cluster: Cluster, n_items: int) -> Iterator[Client]:
    """Start a scheduler and its workers on this machine."""
    folder = str(cluster.folder)
    choices = {
        "temporary-directory": folder,
        "distributed.worker.multiprocessing-method": "spawn",
        "distributed.admin.log-format": "%(message)s",
    }
    no_page = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}  # None would be port 8787, often taken
    options = {"nthreads": 1, "memory_limit": 0, "local_directory": folder, "silence_logs": logging.CRITICAL}
    workers = {
        number: {
            "cls": Nanny,
            "options": {
                **options,
                "dashboard": False,
                "host": "127.0.0.1",
                "env": {"CUDA_VISIBLE_DEVICES": str(number)} if cluster.n_gpus else {},
            },
        }
        for number in range(min(cluster.n_processes, max(n_items, 1)))
    }
    scheduler = {"cls": Scheduler, "options": {"host": "127.0.0.1", "port": 0, **no_page}}
    with (
        dask.config.set(choices),
        SpecCluster(workers=workers, scheduler=scheduler, silence_logs=logging.CRITICAL) as running,
        Client(running) as client,
    ):
        yield client


def apply_on_workers(
    client: Client,
    describe: Callable[[Item], str],
    function: Callable[[Item], Value],
    items: Sequence[Item],
) -> Iterator[Outcome[Item, Value]]:
    """Yield the outcome of each item as soon as it is there, in whatever order they finish.

    A worker that dies, killed for want of memory, costs its own item and no other.

    Parameters
    ----------
    client
        Of the scheduler.
    describe
        Names an item in the error of a worker that died.
    function
        Importable by name, since workers start from nothing.
    items
        Must travel between processes.

    Raises
    ------
    TemporaryError
        If no worker comes up.
    """
    level = logging.getLogger("bidsapp").getEffectiveLevel()
    loud = partial(_attempt_aloud, level, function)
    left = list(reversed(items))
    running: dict[Future, tuple[str, Item]] = {}
    while left or running:
        present = set(client.nthreads())
        for address in present - {address for address, _ in running.values()}:
            if left:
                item = left.pop()
                running[client.submit(loud, item, workers=[address], pure=False)] = (address, item)
                logger.debug("%s goes to %s", describe(item), address)
        if not running:
            _wait_for_a_worker(client)
        for future in _finished(running, present):
            _, item = running.pop(future)
            yield _outcome(future, item, describe(item))


def _attempt_aloud(level: int, function: Callable[[Item], Value], item: Item) -> Outcome[Item, Value]:
    """Let a worker, which starts with no notion of it, log what this process logs."""
    logging.getLogger("bidsapp").setLevel(level)
    return attempt(function, item)


def _finished(running: dict[Future, tuple[str, Item]], present: set[str]) -> list[Future]:
    """Wait a moment for the first to finish; those whose worker is gone will not, and are done, too."""
    if not running:
        return []
    try:
        ended = set(wait(list(running), timeout=_LOOK_EVERY_S, return_when="FIRST_COMPLETED").done)
    except TimeoutError:
        ended = set()
    orphaned = {future for future, (address, _) in running.items() if address not in present}
    return [future for future in running if future in ended | orphaned]


def _outcome(future: Future, item: Item, name: str) -> Outcome[Item, Value]:
    """Read what a worker found, or that it died."""
    died = TemporaryError(
        f"the process that worked on {name} died, most often because memory ran out: "
        "try again with fewer --nprocs or on a machine with more memory"
    )
    if not future.done():  # its worker is gone, and no other may take it over
        future.cancel()
        return Outcome(item, error=died)
    try:
        found: Outcome[Item, Value] = future.result()
    except KilledWorker:
        return Outcome(item, error=died)
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
