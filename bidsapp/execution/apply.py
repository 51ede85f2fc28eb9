"""Apply a function to every item, here or in worker processes."""

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from bidsapp.execution.cluster import Cluster
from bidsapp.execution.lock import HeldError
from bidsapp.execution.outcome import Item, Outcome, Value
from bidsapp.execution.progress import show_progress
from bidsapp.execution.serial import apply_serially

logger = logging.getLogger(__name__)

Apply = Callable[[Callable[[Item], Value], Sequence[Item]], Iterator[Outcome[Item, Value]]]


def apply_to_all(
    function: Callable[[Item], Value],
    items: Sequence[Item],
    *,
    patiently: Callable[[Item], Value],
    cluster: Cluster,
    describe: Callable[[Item], str],
) -> Iterator[Outcome[Item, Value]]:
    """Yield what came of each item; an item that fails, or kills its process, costs only itself.

    Items that another run is working on are put off until all others are done.

    Parameters
    ----------
    function
        Importable by name unless all happens in this process. Raises `HeldError` for an item that another
        run is working on.
    items
        What to apply it to.
    patiently
        The same, but waits for the other run.
    cluster
        Where: one process and no scheduler mean this process, one item after the other.
    describe
        Names an item in messages.

    Raises
    ------
    TemporaryError
        If no worker process starts, or no scheduler answers.

    Examples
    --------
    >>> from pathlib import Path
    >>> here = Cluster(folder=Path())
    >>> found = apply_to_all(abs, [-1, 2], patiently=abs, cluster=here, describe=str)
    >>> [outcome.value for outcome in found]
    [1, 2]
    """
    if cluster.is_this_process or not items:
        outcomes = _in_turn(apply_serially, function, patiently, items)
    else:
        outcomes = _on_workers(function, patiently, items, cluster, describe)
    return show_progress(outcomes, len(items), describe)


def _on_workers(
    function: Callable[[Item], Value],
    patiently: Callable[[Item], Value],
    items: Sequence[Item],
    cluster: Cluster,
    describe: Callable[[Item], str],
) -> Iterator[Outcome[Item, Value]]:
    from bidsapp.execution.dask_cluster import apply_on_workers, connect  # noqa: PLC0415 - a second to import

    with connect(cluster, len(items)) as client:
        yield from _in_turn(partial(apply_on_workers, client, describe), function, patiently, items)


def _in_turn(
    apply: Apply[Item, Value],
    function: Callable[[Item], Value],
    patiently: Callable[[Item], Value],
    items: Sequence[Item],
) -> Iterator[Outcome[Item, Value]]:
    """Apply the function to all items, then, waiting, to those that another run was working on."""
    held = []
    for outcome in apply(function, items):
        if isinstance(outcome.error, HeldError):
            logger.info("%s: it comes last", outcome.error)
            held.append(outcome.item)
        else:
            yield outcome
    yield from apply(patiently, held)
