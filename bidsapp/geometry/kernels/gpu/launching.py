"""How Triton kernels are started, and how their sums come back."""

from typing import Any

import torch
import triton
from torch import Tensor

from bidsapp.geometry.kernels.gpu import places

BLOCK = 256
"""Voxels that one program works on."""

_ROOM = 2.0**38
"""Whole numbers that the largest single contribution may reach: 2**25 of it may meet in one voxel."""


def launch(kernel: Any, n: int, *arguments: Any) -> None:
    """Run `kernel` on `n` voxels, on the device of its first argument."""
    with torch.cuda.device_of(arguments[0]):
        kernel[(triton.cdiv(n, BLOCK),)](*arguments, block=BLOCK)


def block_sums(n: int, like: Tensor, *per_block: int) -> Tensor:
    """Make room for what each block adds up; ``sum(dim=0)`` in double precision ends the sum in one order."""
    return torch.empty((triton.cdiv(n, BLOCK), *per_block), dtype=torch.float32, device=like.device)


class WholeSums:
    """A field that many voxels add to, kept in whole numbers so that their order does not matter.

    Parameters
    ----------
    like
        Its sizes and device.
    largest
        The largest single contribution there can be (a tensor: nothing waits for its value).
    """

    def __init__(self, like: Tensor, largest: Tensor) -> None:
        self.scale = (_ROOM / largest.detach().double().clamp(min=1e-20)).float()
        self.sums = torch.zeros(like.shape, dtype=torch.int64, device=like.device)

    def total(self) -> Tensor:
        """Turn the sums back into single precision."""
        out = torch.empty(self.sums.shape, dtype=torch.float32, device=self.sums.device)
        launch(places.from_whole, out.numel(), self.sums, self.scale, out, out.numel())
        return out
