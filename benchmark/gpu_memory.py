"""python -m benchmark.gpu_memory: what an alignment holds at its peak, counted tensor by tensor.

Plain torch, an upper bound: the kernels for GPUs hold less, CUDA itself takes about half a GiB more.
"""

# mypy: disable-error-code="misc,no-untyped-call"

import argparse
import logging
import sys
import weakref
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from benchmark.measure import RESULTS
from benchmark.provenance import describe_provenance
from bidsapp.atlas.builtin import load_builtin
from bidsapp.bids.save import save_json
from bidsapp.geometry.kernels import backends, reference
from bidsapp.registration.deformable import align_deformable
from bidsapp.registration.intensities import Intensities
from bidsapp.settings import RunSettings, Selection

N_ITERATIONS = 2
"""Updates a stage: the peak is there from the first on."""

logger = logging.getLogger("benchmark")


class LiveBytes(TorchDispatchMode):
    """Counts the memory of all tensors alive."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: dict[int, int] = {}
        self.peak = 0

    def __torch_dispatch__(
        self,
        func: Callable[..., object],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        """Run an operation and count what it returns."""
        found = func(*args, **(kwargs or {}))
        for each in found if isinstance(found, (tuple, list)) else (found,):
            if isinstance(each, torch.Tensor):
                self._count(each.untyped_storage())
        return found

    def _count(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata  # noqa: SLF001 - the only name of the memory that two views share
        if key not in self.sizes:
            self.sizes[key] = storage.nbytes()
            weakref.finalize(storage, self.sizes.pop, key, None)
            self.peak = max(self.peak, sum(self.sizes.values()))


def peak_gib(parameterisation: str, *, sloppy: bool) -> float:
    """Align the atlas to itself, with few updates, and return the peak."""
    place = Path("unused")
    run = RunSettings(
        selection=Selection(bids_dir=place),
        output_dir=place,
        work_dir=place,
        parameterisation=parameterisation,
        sloppy=sloppy,
    )
    stages = tuple(replace(stage, iterations=N_ITERATIONS) for stage in run.registration.stages)
    atlas, count = load_builtin(), LiveBytes()
    images = Intensities(atlas.template, atlas.template, None)
    settings = replace(run.registration, stages=stages)
    vars(backends)["on_cpu"] = lambda: reference
    with count:
        align_deformable(atlas.labels, atlas.labels, np.eye(4), settings, images=images)
    return round(count.peak / 2**30, 2)


def main(arguments: list[str] | None = None) -> int:
    """Count and keep the result."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(prog="python -m benchmark.gpu_memory", description=__doc__)
    parser.add_argument("--sloppy", action="store_true", help="coarse: only to try this out")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER", help="where the JSON goes")
    options = parser.parse_args(arguments)
    provenance = describe_provenance("python -m benchmark.gpu_memory")
    peak: dict[str, float] = {"n": 1}
    for parameterisation in ("field", "network"):
        peak[f"{parameterisation}_gib"] = peak_gib(parameterisation, sloppy=options.sloppy)
    logger.info("%s", peak)
    data = "the embedded atlas against itself, plain torch, tensors counted without a GPU"
    result = {"case": "gpu_memory", "sloppy": options.sloppy, "data": data, "provenance": provenance}
    save_json(result | {"peak": peak}, options.results / "gpu_memory.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
