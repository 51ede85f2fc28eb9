"""A kernel gives the same bytes just compiled, from the cache, and with any number of threads."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import sys, numba, torch
from bidsapp.geometry import kernels
numba.set_num_threads(int(sys.argv[1]))
field = torch.randn(3, 40, 44, 42, generator=torch.Generator().manual_seed(1))
labels = torch.arange(39 * 43 * 41).reshape(39, 43, 41).remainder(7).to(torch.uint8)
first, second = kernels.log_jacobian_moments(0.1 * field, labels, 7, 0)
print(kernels.squared_differences(field).item(), first.tolist(), second.tolist())
"""


@pytest.mark.slow
def test_cold_and_warm_caches_and_any_number_of_threads_give_the_same_numbers(tmp_path):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path), "NUMBA_NUM_THREADS": "2"}

    def numbers(n_threads: int) -> str:
        command = [sys.executable, "-c", SCRIPT, str(n_threads)]
        return subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
        ).stdout

    cold = numbers(1)
    assert any(tmp_path.rglob("*.nbc"))
    assert numbers(2) == cold
    assert numbers(1) == cold
