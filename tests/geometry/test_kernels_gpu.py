"""Every Triton kernel against plain torch in double precision: on a GPU, or in Triton's interpreter."""

import importlib
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor

from bidsapp.geometry import kernels
from bidsapp.geometry.kernels import backends, reference, reference_points
from bidsapp.geometry.space import Space
from bidsapp.images.volume import Volume
from bidsapp.registration.deformable import _both_directions, align_deformable
from bidsapp.registration.flow import Flow
from bidsapp.settings import RegistrationSettings
from tests.geometry.test_kernels import INDEX_MAP, TURN, field, labels
from tests.registration.conftest import FIXED, phantom, rotation, scanner, seen_through

SHAPE = (5, 6, 7)
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
STRETCH = np.array([[1.08, 0, 0.05, 2], [0.05, 0.95, 0, -3], [0, 0, 1, 1], [0, 0, 0, 1]])
Outcome = Tensor | tuple[Tensor, ...]


@pytest.fixture(scope="module")
def gpu() -> ModuleType:
    """The Triton operations; without a card they are interpreted (conftest.py)."""
    return importlib.import_module("bidsapp.geometry.kernels.gpu.operations")


def agree(
    fast: Callable[..., Outcome], exact: Callable[..., Outcome], *arguments: Tensor, slack: float = 2e-5
) -> None:
    """Compare a Triton operation with the reference, in value and in gradient."""
    wanted_at = [argument.clone().requires_grad_() for argument in arguments]
    got_at = [argument.float().to(DEVICE).requires_grad_() for argument in arguments]
    wanted, got = exact(*wanted_at), fast(*got_at)
    wanted = wanted if isinstance(wanted, tuple) else (wanted,)
    got = got if isinstance(got, tuple) else (got,)
    pairs = list(zip(wanted, got, strict=True))
    for a, b in pairs:
        torch.testing.assert_close(b.detach().double().cpu(), a.detach(), rtol=slack, atol=slack)
    weights = [field(99 + number, 1.0, tuple(a.shape)) for number, (a, _) in enumerate(pairs)]
    torch.autograd.backward([a for a, _ in pairs], weights)
    torch.autograd.backward(
        [b for _, b in pairs], [w.to(b) for w, (_, b) in zip(weights, pairs, strict=True)]
    )
    for a, b in zip(wanted_at, got_at, strict=True):
        assert a.grad is not None
        assert b.grad is not None
        scale = float(a.grad.abs().max())
        torch.testing.assert_close(b.grad.double().cpu(), a.grad, rtol=1e-3, atol=1e-4 * scale)


def like(tensor: Tensor, other: Tensor) -> Tensor:
    """The tensor beside `other`: floats in its precision, labels as they are."""
    return tensor.to(other) if tensor.is_floating_point() else tensor.to(other.device)


def test_compose_matches_also_beyond_the_border(gpu: ModuleType) -> None:
    agree(gpu.compose, reference.compose, field(0), field(1))


def test_smoothing_matches(gpu: ModuleType) -> None:
    taps = torch.tensor([0.1, 0.5, 0.3], dtype=torch.float64)
    agree(*[lambda f, o=o: o.smooth(f, like(taps, f)) for o in (gpu, reference)], field(2))


@pytest.mark.parametrize("name", ["squared_differences", "squared_curvature"])
def test_differences_and_curvature_match(gpu: ModuleType, name: str) -> None:
    agree(getattr(gpu, name), getattr(reference, name), field(9))


@pytest.mark.parametrize("phase", [0, 1])
def test_log_jacobian_moments_match_also_where_the_field_folds(gpu: ModuleType, phase: int) -> None:
    cells = labels((4, 5, 6), 3, 0)

    def moments(operations: ModuleType, u: Tensor) -> Outcome:
        outcome: Outcome = operations.log_jacobian_moments(u, like(cells, u), 3, 0.3, phase)
        return outcome

    agree(partial(moments, gpu), partial(moments, reference), field(3, 0.3))


@pytest.mark.parametrize("ease", [0.0, 1.0])
@pytest.mark.parametrize("grid_step", [1.0, 2.0])
def test_votes_match_on_an_oblique_moving_grid(gpu: ModuleType, grid_step: float, ease: float) -> None:
    fixed, moving = labels((9, 10, 11), 4, 1), labels((12, 9, 13), 4, 2)
    moving[2:8, 2:7, 3:9] = 2
    to_grid = torch.tensor([[1 / grid_step, 0.1], [1 / grid_step, -0.2], [1 / grid_step, 0.0]])
    fixed[::3, ::2] = kernels.LEFT_OUT

    def votes(operations: ModuleType, u: Tensor) -> Outcome:
        grids = [like(each, u) for each in (to_grid, fixed, moving, INDEX_MAP, TURN)]
        outcome: Outcome = operations.label_votes(u, *grids, 4, ease)
        return outcome

    agree(partial(votes, gpu), partial(votes, reference), field(4, 0.7, (3, 10, 9, 11)))


@pytest.mark.parametrize("grid_step", [1.0, 2.0])
def test_sampling_an_image_matches_on_an_oblique_moving_grid(gpu: ModuleType, grid_step: float) -> None:
    image = field(11, 1.0, (12, 9, 13))
    to_grid = torch.tensor([[1 / grid_step, 0.1], [1 / grid_step, -0.2], [1 / grid_step, 0.0]])

    def read(operations: ModuleType, u: Tensor) -> Outcome:
        grids = [like(each, u) for each in (to_grid, image, INDEX_MAP, TURN)]
        outcome: Outcome = operations.sample_image(u, *grids, (9, 10, 11))
        return outcome

    agree(partial(read, gpu), partial(read, reference), field(4, 0.7, (3, 10, 9, 11)))


def test_local_correlation_matches_where_weights_leave_holes(gpu: ModuleType) -> None:
    fixed, weights = 90 + 40 * field(12, 1.0, SHAPE), (field(13, 1.0, SHAPE) > -0.8).double()
    weights[3:, :3] = 0

    def correlation(operations: ModuleType, moving: Tensor) -> Outcome:
        outcome: Outcome = operations.local_correlation(like(fixed, moving), moving, like(weights, moving), 2)
        return outcome

    moving = 500 + 0.5 * fixed + 30 * field(14, 1.0, SHAPE)
    agree(partial(correlation, gpu), partial(correlation, reference), moving)
    for operations in (gpu, reference):
        assert correlation(operations, torch.full(SHAPE, 0.1, device=DEVICE)) == 0


def test_labels_are_counted(gpu: ModuleType) -> None:
    given = labels((9, 10, 11), 4, 1)
    counts = gpu.count_labels(given.to(DEVICE), 5).cpu()
    torch.testing.assert_close(counts, reference.count_labels(given, 5))
    assert counts[4] == 0
    assert counts.sum() == given.numel()


def test_balancing_matches_also_at_the_border(gpu: ModuleType) -> None:
    bent = field(15)
    found = gpu.balance(bent.float().to(DEVICE)).cpu()
    torch.testing.assert_close(found.double(), reference.balance(bent), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found, kernels.balance(bent.float()), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("amplitude", [0.1, 0.5, 1.0])
def test_the_smallest_jacobian_matches_also_where_the_field_folds(gpu: ModuleType, amplitude: float) -> None:
    bent = field(16, amplitude, (3, 4, 5, 6)).float()
    smallest, _ = reference_points.tetrahedra(bent.numpy())
    found = gpu.smallest_jacobian(bent.to(DEVICE)).cpu().numpy()
    np.testing.assert_allclose(found, smallest, rtol=1e-4, atol=1e-5)


def test_the_inverse_matches_also_where_steps_are_halved_or_leave_the_grid(gpu: ModuleType) -> None:
    at = np.indices((12, 13, 14))
    i, j, k = at
    waves = np.stack(
        [
            1.6 * np.sin(0.5 * j + 0.3 * k),
            np.cos(0.5 * k + 0.4 * i),
            0.8 * np.sin(0.9 * k - 0.4 * i + 0.3 * j),
        ]
    )
    bent = torch.from_numpy(waves.astype(np.float32))
    found = gpu.invert(bent.to(DEVICE), torch.zeros_like(bent).to(DEVICE), 1e-4).cpu()
    voxels = at.reshape(3, -1).T.astype(np.float64)
    wanted = reference_points.invert_at(bent.numpy(), voxels, voxels, 1e-4) - voxels
    apart = np.linalg.norm(found.flatten(1).T.numpy() - wanted, axis=1)
    missed = reference.sample(bent.double(), torch.from_numpy(at) + found.double()) + found.double()
    assert np.percentile(missed.norm(dim=0), 99) < 2e-4
    assert np.percentile(apart, 99) < 1e-3


def test_one_of_newtons_steps_undoes_a_linear_map(gpu: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "NEWTON_STEPS", 1)
    matrix = np.array([[0.2, 0.9, -0.7], [-0.8, 0.1, 0.9], [0.7, -0.9, 0.3]])
    shape = (12, 13, 14)
    away = np.indices(shape) - (np.array(shape).reshape(3, 1, 1, 1) - 1) / 2
    turned = torch.from_numpy(np.einsum("ab,bijk->aijk", matrix, away).astype(np.float32))
    back = np.einsum("ab,bijk->aijk", np.linalg.inv(np.eye(3) + matrix) - np.eye(3), away)
    guess = torch.from_numpy(back).float() + field(18, 0.4, (3, *shape)).float()
    found = gpu.invert(turned.to(DEVICE), guess.to(DEVICE), 1e-5).cpu().numpy()
    inner = (slice(None), *[slice(size // 2 - 2, size // 2 + 2) for size in shape])
    np.testing.assert_allclose(found[inner], back[inner], atol=1e-5)


def test_both_directions_end_on_a_card_as_on_the_cpu(
    gpu: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = Space((7, 8, 9), np.diag([4.0, 4.0, 4.0, 1.0]))
    oblique = np.eye(4)
    oblique[:3, :3] = rotation((10, -20, 30))
    grid = Space(grid.shape, oblique @ grid.affine)
    flow = Flow(grid, grid.with_spacing(2.0), 4, "cpu")
    velocity = kernels.smooth(field(17, 1.5, (3, 7, 8, 9)).float(), torch.tensor([0.2, 0.6, 0.2]))
    wanted = _both_directions(velocity, flow, np.eye(4))
    monkeypatch.setattr(kernels, "never_waits", lambda _: True)
    monkeypatch.setattr(kernels, "_implementation", lambda *_: gpu)
    monkeypatch.setattr(backends, "on_gpu", lambda: gpu)
    on_card = replace(flow, device=DEVICE)
    found = _both_directions(velocity.to(DEVICE), on_card, np.eye(4))
    assert np.abs(wanted.displacement).max() > 1
    for one, other in (
        (wanted.displacement, found.displacement),
        (wanted.inverse_displacement, found.inverse_displacement),
    ):
        assert np.percentile(np.linalg.norm(one - other, axis=0), 99) < 0.02
        assert np.array_equal(other, np.rint(other * 1024) / 1024)


COMPILE = """
import torch, triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from bidsapp.geometry.kernels.gpu import launching, operations as gpu

KINDS = {torch.float32: "*fp32", torch.int64: "*i64", torch.uint8: "*u8"}

def compile_only(kernel, n, *arguments):
    types, constants = {}, {}
    for place, (name, value) in enumerate(zip(kernel.arg_names, (*arguments, launching.BLOCK), strict=True)):
        if isinstance(value, torch.Tensor):
            types[name] = KINDS[value.dtype]
        elif name == "block" or value == 1:
            types[name], constants[(place,)] = "constexpr", value
        else:
            types[name] = {int: "i32", float: "fp32"}[type(value)]
    binary = triton.compile(ASTSource(kernel, types, constants), target=GPUTarget("cuda", 80, 32))
    print(kernel.__name__, len(binary.asm["cubin"]) > 0)

gpu.launch = launching.launch = compile_only
u, cells = torch.zeros(3, 4, 5, 6).requires_grad_(), torch.zeros(3, 4, 5, dtype=torch.uint8)
image, maps = u[0].detach(), (torch.zeros(3, 4), torch.zeros(3, 3))
gpu.compose(u, u).sum().backward()
gpu.squared_differences(u).backward()
gpu.squared_curvature(u).backward()
torch.stack(gpu.log_jacobian_moments(u, cells, 3, 0.3, 1)).sum().backward()
torch.stack(gpu.label_votes(u, torch.zeros(3, 2), cells, cells, *maps, 3, 1.0)).sum().backward()
gpu.sample_image(u, torch.zeros(3, 2), image, *maps, (3, 4, 5)).sum().backward()
gpu.local_correlation(image, u[0], torch.ones(4, 5, 6), 2).backward()
gpu.count_labels(cells, 3)
gpu.balance(u.detach())
gpu.smallest_jacobian(u.detach())
gpu.invert(u.detach(), u.detach(), 1e-3)
"""
ONE_WAY = {"products", "convolve", "count", "balance", "smallest_jacobian", "invert", "from_whole"}
KERNELS = {
    *("compose", "vote", "sample_image", "squared_differences", "squared_curvature", "log_jacobian_moments"),
    *("correlate", *ONE_WAY),
}


@pytest.mark.slow
@pytest.mark.skipif(DEVICE == "cuda", reason="this machine's own card compiles every kernel")
def test_every_kernel_compiles_for_a_cuda_card_where_there_is_none(gpu: ModuleType, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path)
    script = tmp_path / "compile_kernels.py"
    script.write_text(COMPILE, encoding="utf-8")
    ended = subprocess.run(
        [sys.executable, str(script)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert ended.returncode == 0, ended.stderr
    done = dict(line.split() for line in ended.stdout.splitlines())
    assert set(done.values()) == {"True"}
    assert set(done) >= KERNELS | {f"{name}_adjoint" for name in KERNELS - ONE_WAY}


def test_what_many_voxels_add_to_one_place_is_the_same_in_any_order(gpu: ModuleType) -> None:
    launching = importlib.import_module("bidsapp.geometry.kernels.gpu.launching")
    values = (field(30, 1.0, (4000,)).float() * torch.logspace(-6, 2, 4000)).to(DEVICE)
    sums = launching.WholeSums(torch.zeros(1, device=DEVICE), values.abs().amax())
    forwards = (values * sums.scale).long().sum()
    backwards = (values.flip(0) * sums.scale).long().sum()
    assert forwards == backwards
    sums.sums[0] = forwards
    torch.testing.assert_close(sums.total().double(), values.double().sum()[None], rtol=1e-6, atol=0)


@pytest.mark.slow
def test_an_alignment_computed_by_triton_is_that_of_numba(
    gpu: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    fixed = Volume(phantom(FIXED.voxel_centres_mm()).reshape(FIXED.shape), FIXED)
    moving = seen_through(STRETCH, scanner(STRETCH, np.diag([4.0, 4.0, 4.0])))
    sloppy = RegistrationSettings.sloppy()
    settings = replace(sloppy, stages=(replace(sloppy.stages[0], iterations=4),))
    compiled = align_deformable(fixed, moving, np.eye(4), settings)
    monkeypatch.setattr(kernels, "_implementation", lambda *_: gpu)
    if DEVICE == "cpu":
        monkeypatch.setattr(importlib.import_module("bidsapp.geometry.kernels.gpu.launching"), "BLOCK", 8192)
    by_triton = align_deformable(fixed, moving, np.eye(4), settings, device=DEVICE)
    assert np.linalg.norm(compiled.displacement, axis=0).max() > 1
    for one, other in (
        (compiled.displacement, by_triton.displacement),
        (compiled.inverse_displacement, by_triton.inverse_displacement),
    ):
        assert np.percentile(np.linalg.norm(one - other, axis=0), 99) < 0.05


def test_a_gpu_without_triton_is_served_by_plain_torch_and_the_user_is_told(
    gpu: ModuleType, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    backends.on_gpu.cache_clear()
    monkeypatch.delattr(importlib.import_module("bidsapp.geometry.kernels.gpu"), "operations")
    monkeypatch.setitem(sys.modules, "bidsapp.geometry.kernels.gpu.operations", None)
    with caplog.at_level(logging.WARNING):
        assert backends.on_gpu() is reference
    assert "pip install triton" in caplog.text
    backends.on_gpu.cache_clear()


@pytest.mark.parametrize("error", [RuntimeError("no C compiler"), subprocess.CalledProcessError(1, "gcc")])
def test_a_card_on_a_machine_without_compiler_is_served_by_plain_torch(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    class Driver:
        """Fails as triton does when it cannot compile what starts kernels."""

        @property
        def active(self) -> None:
            raise error

    backends.on_gpu.cache_clear()
    monkeypatch.setattr(importlib.import_module("triton.runtime"), "driver", Driver())
    with caplog.at_level(logging.WARNING):
        assert backends.on_gpu() is reference
    assert "a C compiler" in caplog.text
    backends.on_gpu.cache_clear()


def test_single_precision_on_a_card_goes_to_triton(gpu: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    class OnCard:
        """What the choice looks at in a tensor."""

        is_cuda, device = True, torch.device("cuda", 0)

        def __init__(self, dtype: torch.dtype) -> None:
            self.dtype = dtype

    monkeypatch.setattr(backends, "on_gpu", lambda: gpu)
    assert kernels._implementation(OnCard(torch.float32), OnCard(torch.float32)) is gpu
    assert kernels._implementation(OnCard(torch.float32), OnCard(torch.float64)) is reference
