"""One small alignment, end to end: with and without numba, on one and on two threads."""

import ctypes
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from bidsapp.geometry import kernels
from bidsapp.geometry.kernels import backends, reference, reference_points

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import logging, sys
logging.basicConfig(format="%(levelname)s %(message)s")
way, path = sys.argv[1:]
if way == "blocked":
    sys.modules["numba"] = None
import numpy as np
from bidsapp.images.volume import Volume
from bidsapp.registration.deformable import align_deformable
from bidsapp.settings import RegistrationSettings
from tests.registration.conftest import FIXED, phantom, scanner, seen_through
stretch = np.array([[1.08, 0, 0.05, 2], [0.05, 0.95, 0, -3], [0, 0, 1, 1], [0, 0, 0, 1]])
fixed = Volume(phantom(FIXED.voxel_centres_mm()).reshape(FIXED.shape), FIXED)
moving = seen_through(stretch, scanner(stretch, np.array([[0.0, 2.0, 0], [-2.0, 0, 0.2], [0, 0.2, 2.0]])))
if way != "blocked":
    import numba
    numba.set_num_threads(int(way))
found = align_deformable(fixed, moving, np.eye(4), RegistrationSettings.sloppy())
points = FIXED.voxel_centres_mm()[::211]
np.savez(path, field=found.displacement, there=found.fixed_to_moving(points))
"""


def align(way: str, folder: Path) -> tuple[dict[str, np.ndarray], str]:
    """Run the small alignment in a process of its own: what it found and what it said."""
    path = folder / f"{way}.npz"
    command = [sys.executable, "-c", SCRIPT, way, str(path)]
    environment = os.environ | {"NUMBA_NUM_THREADS": "2", "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=600
    )
    assert ended.returncode == 0, ended.stderr
    with np.load(path) as found:
        return dict(found), ended.stderr


@pytest.mark.slow
def test_without_numba_the_alignment_is_the_same_and_the_user_is_told_once(tmp_path: Path) -> None:
    compiled, silence = align("1", tmp_path)
    plain, said = align("blocked", tmp_path)
    assert np.linalg.norm(compiled["field"], axis=0).max() > 1
    for name in compiled:
        apart = np.linalg.norm(compiled[name] - plain[name], axis=0 if name == "field" else 1)
        assert np.percentile(apart, 99) < 0.05
    assert said.count("WARNING") == 1
    assert "numba cannot be loaded" in said
    assert "pip install" in said
    assert "numba" not in silence


@pytest.mark.slow
def test_one_and_two_threads_find_the_same_alignment(tmp_path: Path) -> None:
    one, two = align("1", tmp_path)[0], align("2", tmp_path)[0]
    np.testing.assert_array_equal(one["field"], two["field"])


def test_a_broken_numba_is_replaced_by_plain_torch(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    backends.on_cpu.cache_clear()
    backends.at_points.cache_clear()
    for name in [name for name in sys.modules if name.startswith("bidsapp.geometry.kernels.compiled")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(kernels, "compiled", raising=False)
    monkeypatch.setitem(sys.modules, "numba", None)
    try:
        with caplog.at_level(logging.WARNING):
            assert backends.on_cpu() is reference
            assert backends.at_points() is reference_points
            assert kernels.compose(torch.zeros(3, 4, 5, 6), torch.ones(3, 4, 5, 6)).sum() == 360
        assert len(caplog.records) == 1
        assert "some 10 to 50 times slower" in caplog.text
    finally:
        backends.on_cpu.cache_clear()
        backends.at_points.cache_clear()


def test_points_are_read_and_found_by_plain_torch_as_by_numba() -> None:
    rng = np.random.default_rng(3)
    at = np.indices((9, 10, 11)).astype(np.float32)
    field = np.stack([np.sin(0.6 * at[1]), np.cos(0.5 * at[2]), 0.8 * np.sin(0.4 * at[0])]).astype(np.float32)
    points = rng.uniform(-1, 11, (60, 3))
    np.testing.assert_allclose(
        reference_points.sample_vectors(field, points), kernels.sample_vectors(field, points), atol=1e-6
    )
    np.testing.assert_allclose(
        reference_points.sample_scalars(field[0], points), kernels.sample_scalars(field[0], points), atol=1e-6
    )
    inner = rng.uniform(2, 7, (60, 3))
    targets = inner + kernels.sample_vectors(field, inner)
    found = reference_points.invert_at(field, targets, targets, 1e-4)
    np.testing.assert_allclose(found + kernels.sample_vectors(field, found), targets, atol=2e-4)
    np.testing.assert_allclose(found, kernels.invert_at(field, targets, targets, 1e-4), atol=2e-3)


FAULTS = """
import resource, sys
import numpy as np
if sys.argv[1] == "kernels":
    from bidsapp.geometry.kernels import backends
    backends.on_cpu()
def make():
    return [np.ones(3_000_000, dtype=np.float32) for _ in range(4)]
make()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    make()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library is not glibc")
def test_memory_once_used_is_not_asked_for_again_page_by_page() -> None:
    def faults(way: str) -> int:
        command = [sys.executable, "-c", FAULTS, way]
        return int(subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout)

    assert faults("plain") > 100
    assert faults("kernels") < 20


def test_a_c_library_without_the_choice_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends.ctypes, "CDLL", lambda _: object())
    backends._keep_memory()
