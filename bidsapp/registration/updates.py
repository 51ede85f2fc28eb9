"""Updates gone through one after the other; on a CUDA card recorded once and replayed.

An update starts some two hundred kernels, and starting them takes the host longer than they take the card.
"""

from collections.abc import Callable

import torch
from torch import Tensor

Update = Callable[[int], dict[str, Tensor]]
"""Does one update and gives its terms; told its turn, 0 to 3."""

TURNS = 4

_STARTED_ONE_BY_ONE = TURNS
"""They compile kernels and make room for what the optimiser remembers."""


def run_updates(update: Update, iterations: int, card: torch.device | None = None) -> list[dict[str, float]]:
    """Go through all updates, turn 0, 1, 2, 3, 0 ..., and give the terms of each in their order.

    Parameters
    ----------
    update
        It changes tensors in place and returns terms that hold on to no gradient.
    iterations
        Number of updates.
    card
        A CUDA device on which an update neither waits for the host nor makes anything whose size depends
        on data: all but the first few updates are replayed there. None to start every update by itself.

    Examples
    --------
    >>> [terms["cost"] for terms in run_updates(lambda turn: {"cost": torch.tensor(2.0 + turn)}, 5)]
    [2.0, 3.0, 4.0, 5.0, 2.0]
    """
    if card is not None:
        return _replayed(update, iterations, card)
    return _told([update(iteration % TURNS) for iteration in range(iterations)])


def _replayed(update: Update, iterations: int, card: torch.device) -> list[dict[str, float]]:
    """Do the first updates one by one, record one of each turn, and replay those for the rest.

    All goes through one stream of its own, as recording asks for. What is recorded is not done meanwhile.
    """
    stream = torch.cuda.Stream(card)  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream(card))
    with torch.cuda.stream(stream):
        first = min(_STARTED_ONE_BY_ONE, iterations)
        terms = [update(iteration % TURNS) for iteration in range(first)]
        recorded: list[tuple[torch.cuda.CUDAGraph, dict[str, Tensor]]] = []
        for turn in range(min(TURNS, iterations - first)):
            graph = torch.cuda.CUDAGraph()
            pool = recorded[0][0].pool() if recorded else None
            with torch.cuda.graph(graph, pool=pool, stream=stream):
                written = update(turn)
            recorded.append((graph, written))
        for iteration in range(first, iterations):
            graph, written = recorded[iteration % TURNS]
            graph.replay()
            terms.append({name: term.clone() for name, term in written.items()})
        told = _told(terms)
    torch.cuda.current_stream(card).wait_stream(stream)
    return told


def _told(terms: list[dict[str, Tensor]]) -> list[dict[str, float]]:
    return [{name: term.item() for name, term in one.items()} for one in terms]
