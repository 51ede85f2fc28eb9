"""python -m benchmark.roofline: how far each kernel is from what memory and arithmetic allow."""

import argparse
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numba
import torch

from benchmark.measure import RESULTS
from benchmark.provenance import describe_provenance
from benchmark.readme import fill
from benchmark.roofline_kernels import (
    CASES,
    OPERATIONS,
    Case,
    Cost,
    Inputs,
    Operation,
    grid_sample_seconds,
    make_inputs,
    torch_compile_seconds,
)
from benchmark.running import ROOT
from benchmark.stopwatch import best_seconds, measure_bandwidth, measure_peak
from benchmark.summary import load_json
from bidsapp.bids.save import save_json, save_text
from bidsapp.errors import DataError, MetsAtlasError, UsageError
from bidsapp.execution.resources import available_cpus
from bidsapp.geometry.kernels import backends, reference

FILES = {"cpu": "roofline.json", "cuda": "roofline_gpu.json"}
PAGE = ROOT / "docs" / "kernels.md"

logger = logging.getLogger("benchmark")


def measure(device: str, cases: Sequence[Case] = CASES) -> dict[str, Any]:
    """Time every kernel of every case, and plain torch beside those of the first.

    Parameters
    ----------
    device
        "cpu" or "cuda".
    cases
        Sizes to measure.
    """
    fast = backends.on_gpu() if device == "cuda" else backends.on_cpu()
    if fast is reference:
        raise DataError(
            "the kernels to measure must be there, got plain torch in their place: see the warning"
        )
    _compile_all(fast, device)
    bandwidth, peak = measure_bandwidth(device), measure_peak(device)
    rows = []
    for case in cases:
        inputs = make_inputs(case, device)
        for operation in OPERATIONS:
            ours = _seconds_of(operation, fast, inputs)
            plain = _seconds_of(operation, reference, inputs) if case is cases[0] else None
            for part, cost in enumerate((operation.forward, operation.adjoint)):
                floor = _floor(cost, case, bandwidth, peak)
                name = operation.name + (" (gradient)" if part else "")
                logger.info("%s: %s, %.1f ms", case.name, name, 1e3 * ours[part])
                rows.append(
                    {
                        "case": case.name,
                        "kernel": name,
                        "bytes": cost.bytes(case),
                        "flops": cost.flops(case),
                        "milliseconds": 1e3 * ours[part],
                        "floor_milliseconds": 1e3 * floor,
                        "over_floor": ours[part] / floor,
                        "plain_torch_milliseconds": None if plain is None else 1e3 * plain[part],
                    }
                )
    first = make_inputs(cases[0], device)
    return {
        "bandwidth_gb_per_second": bandwidth / 1e9,
        "peak_gflop_per_second": peak / 1e9,
        "n_threads": torch.get_num_threads(),
        "rows": rows,
        "grid_sample_milliseconds": _milliseconds(grid_sample_seconds(first)),
        "torch_compile": None if device == "cuda" else _milliseconds(torch_compile_seconds(first)),
    }


def _compile_all(module: ModuleType, device: str) -> None:
    """Call everything once on little data: compiling is no part of a measured time."""
    inputs = make_inputs(Case("little", (8, 9, 10), (15, 17, 19), (16, 18, 20)), device)
    for operation in OPERATIONS:
        operation.call(module, inputs).double().sum().backward()  # type: ignore[no-untyped-call]


def _seconds_of(operation: Operation, module: ModuleType, inputs: Inputs) -> tuple[float, float]:
    """Seconds of an operation without gradients, and of its gradient alone, compiled before."""
    with torch.no_grad():
        forward = best_seconds(lambda: operation.call(module, inputs))
    at = operation.at(inputs)
    outcome = operation.call(module, inputs)
    total = outcome.double().sum() if outcome.dim() else outcome
    adjoint = best_seconds(lambda: torch.autograd.grad(total, at, retain_graph=True))
    return forward, adjoint


def _floor(cost: Cost, case: Case, bandwidth: float, peak: float) -> float:
    """Seconds that moving the bytes, or computing, takes at least."""
    return max(cost.bytes(case) / bandwidth, cost.flops(case) / peak)


def _milliseconds(seconds: Mapping[str, float] | None) -> dict[str, float] | None:
    return None if seconds is None else {name: 1e3 * value for name, value in seconds.items()}


def build_block(results: Sequence[Mapping[str, Any]]) -> str:
    """Write the results as Markdown."""
    lines = ["<!-- written by python -m benchmark.roofline: change the results, not these lines -->"]
    for result in results:
        lines += [_conditions(result), ""]
        for case in dict.fromkeys(row["case"] for row in result["rows"]):
            lines += [*_table(case, [row for row in result["rows"] if row["case"] == case]), ""]
        lines += [*_comparisons(result), ""]
    return "\n".join(lines).rstrip()


def _conditions(result: Mapping[str, Any]) -> str:
    origin = result["provenance"]
    changed = " with uncommitted changes" if origin["uncommitted_changes"] else ""
    return (
        f"{origin['machine']['class']}, {result['n_threads']} threads; {origin['date']}, commit "
        f"{origin['commit'][:10]}{changed}. Measured limits: {result['bandwidth_gb_per_second']:.1f} GB/s "
        f"copied, {result['peak_gflop_per_second']:.0f} Gflop/s in a matrix product."
    )


def _table(case: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    compared = rows[0]["plain_torch_milliseconds"] is not None
    heads = ["kernel", "MB", "Gflop", "ms", "floor ms", "over floor"]
    heads += ["plain torch ms", "times faster"] if compared else []
    lines = [f"**{case}**", "", "| " + " | ".join(heads) + " |", "|---|" + "---:|" * (len(heads) - 1)]
    for row in rows:
        cells = [row["kernel"], f"{row['bytes'] / 1e6:.0f}", f"{row['flops'] / 1e9:.2f}"]
        cells += [
            f"{row['milliseconds']:.1f}",
            f"{row['floor_milliseconds']:.1f}",
            f"{row['over_floor']:.1f}",
        ]
        if compared:
            plain = row["plain_torch_milliseconds"]
            cells += [f"{plain:.0f}", f"{plain / row['milliseconds']:.0f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _comparisons(result: Mapping[str, Any]) -> list[str]:
    """Say what torch's own ways take for the same."""
    sampled = result["grid_sample_milliseconds"]
    sentence = (
        f"`torch.nn.functional.grid_sample` on the sizes of the first table: three channels of the "
        f"displacement, as one composition reads them, {sampled['compose']:.0f} ms (gradient "
        f"{sampled['compose_gradient']:.0f} ms); one channel at every fixed voxel {sampled['image']:.0f} ms "
        f"(gradient {sampled['image_gradient']:.0f} ms), of which 35 label channels would need 35."
    )
    lines = [sentence]
    compiled = result["torch_compile"]
    if compiled is not None:
        lines.append(
            f"`torch.compile` of the plain composition: {compiled['compose']:.0f} ms a call, after "
            f"{compiled['compiling'] / 1e3:.0f} s of compiling with the machine's C++ compiler."
        )
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, keep the result, fill docs/kernels.md in and return the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(prog="python -m benchmark.roofline", description=__doc__)
    parser.add_argument("--device", choices=tuple(FILES), default="cpu")
    parser.add_argument("--threads", type=int, default=available_cpus(os.environ), metavar="N")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER", help="where JSONs go")
    parser.add_argument("--page", type=Path, default=PAGE, metavar="FILE", help="page to fill in")
    options = parser.parse_args(arguments)
    try:
        _set_threads(options.threads)
        provenance = describe_provenance(f"python -m benchmark.roofline --device {options.device}")
        result = {"case": "roofline", "provenance": provenance} | measure(options.device)
        save_json(result, options.results / FILES[options.device])
        paths = [options.results / name for name in FILES.values()]
        block = build_block([load_json(path) for path in paths if path.is_file()])
        save_text(fill(options.page.read_text(encoding="utf-8"), block), options.page)
    except MetsAtlasError as error:
        logger.error("%s", error)  # noqa: TRY400 (one clear line, no traceback)
        return error.exit_status
    return 0


def _set_threads(n_threads: int) -> None:
    most = numba.config.NUMBA_NUM_THREADS
    if not 1 <= n_threads <= most:
        raise UsageError(f"--threads must be from 1 to {most} (NUMBA_NUM_THREADS), got {n_threads}")
    torch.set_num_threads(n_threads)
    numba.set_num_threads(n_threads)


if __name__ == "__main__":
    sys.exit(main())
