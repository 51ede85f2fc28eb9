"""Apply a function to every item, here or in worker processes."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bidsapp.execution.dask_cluster import apply_on_cluster
from bidsapp.execution.outcome import Item, Outcome, Value
from bidsapp.execution.progress import show_progress
from bidsapp.execution.serial import apply_serially


def apply_to_all(
    function: Callable[[Item], Value],
    items: Sequence[Item],
    *,
    nprocs: int,
    describe: Callable[[Item], str],
    folder: Path,
) -> Iterator[Outcome[Item, Value]]:
    """Yield what came of each item; an item that fails, or kills its process, costs only itself.

    Parameters
    ----------
    function
        Importable by name when `nprocs` is above 1.
    items
        What to apply it to.
    nprocs
        1: one after the other, in this process. More: that many worker processes.
    describe
        Names an item in messages.
    folder
        Where worker processes may write.

    Raises
    ------
    TemporaryError
        If no worker process starts.

    Examples
    --------
    >>> found = apply_to_all(abs, [-1, 2], nprocs=1, describe=str, folder=Path())
    >>> [outcome.value for outcome in found]
    [1, 2]
    """
    if nprocs == 1 or not items:
        outcomes = apply_serially(function, items)
    else:
        outcomes = apply_on_cluster(function, items, n_processes=nprocs, describe=describe, folder=folder)
    return show_progress(outcomes, len(items), describe)
