"""Apply a function to one item after the other, in this process."""

from collections.abc import Callable, Iterator, Sequence

from bidsapp.execution.outcome import Item, Outcome, Value, attempt


def apply_serially(
    function: Callable[[Item], Value], items: Sequence[Item]
) -> Iterator[Outcome[Item, Value]]:
    """Yield the outcome of each item, in order, as soon as it is there.

    Examples
    --------
    >>> [outcome.value for outcome in apply_serially(abs, [-1, 2])]
    [1, 2]
    """
    for item in items:
        yield attempt(function, item)
