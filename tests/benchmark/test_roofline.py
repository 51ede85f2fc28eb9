"""The roofline page: counted bytes, tables made from results, a page filled in."""

from pathlib import Path

import pytest
import torch

from benchmark import roofline
from benchmark.roofline_kernels import OPERATIONS, Case, Cost, make_inputs
from bidsapp.errors import UsageError
from bidsapp.geometry.kernels import reference

TINY = Case("tiny", (5, 6, 7), (9, 10, 11), (10, 11, 12))


def test_bytes_and_operations_are_counted_on_the_grid_they_belong_to() -> None:
    cost = Cost(grid=12, fixed=1, moving=2, operations=3)
    assert cost.bytes(TINY) == 12 * 210 + 990 + 2 * 1320
    assert cost.flops(TINY) == 3 * 990
    assert Cost(grid=24, operations=66).flops(TINY) == 66 * 210


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_every_operation_runs_and_has_a_gradient(operation) -> None:
    inputs = make_inputs(TINY, "cpu")
    total = operation.call(reference, inputs).double().sum()
    (gradient,) = torch.autograd.grad(total, operation.at(inputs))
    assert gradient.abs().max() > 0


def test_the_table_shows_time_over_floor_and_plain_torch() -> None:
    row = {
        "case": "tiny", "kernel": "compose", "bytes": 4e6, "flops": 2e9, "milliseconds": 8.0,
        "floor_milliseconds": 2.0, "over_floor": 4.0, "plain_torch_milliseconds": 160.0,
    }  # fmt: skip
    machine = {"class": "2 x chip, 8 GiB, no GPU"}
    origin = {
        "machine": machine,
        "date": "2026-01-01",
        "commit": "0123456789abc",
        "uncommitted_changes": False,
    }
    sampled = dict.fromkeys(("compose", "compose_gradient", "image", "image_gradient"), 5.0)
    result = {
        "provenance": origin, "n_threads": 2, "bandwidth_gb_per_second": 10.0, "peak_gflop_per_second": 100.0,
        "rows": [row], "grid_sample_milliseconds": sampled,
        "torch_compile": {"compose": 7.0, "compiling": 3e3},
    }  # fmt: skip
    block = roofline.build_block([result])
    assert "| compose | 4 | 2.00 | 8.0 | 2.0 | 4.0 | 160 | 20 |" in block
    assert "2 x chip, 8 GiB, no GPU, 2 threads; 2026-01-01, commit 0123456789" in block
    assert "7 ms a call, after 3 s of compiling" in block


def test_more_threads_than_there_are_is_refused() -> None:
    with pytest.raises(UsageError, match="--threads must be from 1 to"):
        roofline._set_threads(10_000)


def test_the_page_has_room_for_the_tables() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "kernels.md").read_text(encoding="utf-8")
    assert page.count("<!-- figures:start -->") == page.count("<!-- figures:end -->") == 1
