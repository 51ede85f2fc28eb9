"""Seconds of a call, and what the machine can do at best: copy memory, multiply matrices."""

import time
from collections.abc import Callable

import torch

_ENOUGH_SECONDS = 1.0
_MOST_RUNS = 7


def best_seconds(call: Callable[[], object]) -> float:
    """Give the shortest of a few runs; a call of a second or more is run twice, very slow ones once."""
    runs: list[float] = []
    while len(runs) < 2 or (sum(runs) < _ENOUGH_SECONDS and len(runs) < _MOST_RUNS):
        synchronise()
        start = time.perf_counter()
        call()
        synchronise()
        runs.append(time.perf_counter() - start)
        if runs[-1] > 2 * _ENOUGH_SECONDS:
            break
    return min(runs)


def synchronise() -> None:
    """Wait for the card, if there is one: only then does the clock tell the truth."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def measure_bandwidth(device: str) -> float:
    """Bytes a second, read and written, of copying an array far larger than any cache."""
    source = torch.ones(2**26, device=device)
    target = torch.empty_like(source)
    return 2 * source.numel() * source.element_size() / best_seconds(lambda: target.copy_(source))


def measure_peak(device: str) -> float:
    """Single-precision operations a second in a product of matrices."""
    size = 2048
    left = torch.ones(size, size, device=device)
    return 2 * size**3 / best_seconds(lambda: left @ left)
