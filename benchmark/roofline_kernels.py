"""What the roofline measures: sizes, calls, and the bytes and operations that each call cannot do without.

Bytes: every input is read once and every result written once, single precision, labels one byte; what stays
in caches is free. Operations: additions, multiplications, divisions and logarithms of the formulas, counted
by hand for one voxel, one each.
"""

import math
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import ModuleType

import torch
from torch import Tensor
from torch.nn import functional

from benchmark.stopwatch import best_seconds
from bidsapp.geometry.kernels import reference

N_LABELS = 35
RADIUS = 2
TAPS = 7
_BLOCK = 8
Sizes = tuple[int, int, int]


@dataclass(frozen=True)
class Case:
    """Sizes of the displacement's grid, the fixed and the moving grid."""

    name: str
    grid: Sizes
    fixed: Sizes
    moving: Sizes


CASES = (
    Case(
        "2 mm grid 81 x 100 x 82, 1 mm labels 161 x 199 x 164",
        (81, 100, 82),
        (161, 199, 164),
        (176, 208, 176),
    ),
    Case("full size, all at 1 mm: 193 x 229 x 193", (193, 229, 193), (193, 229, 193), (193, 229, 193)),
)


@dataclass(frozen=True)
class Cost:
    """Bytes a voxel of each grid, operations a voxel of the grid worked on."""

    grid: int = 0
    fixed: int = 0
    moving: int = 0
    operations: int = 0

    def bytes(self, case: Case) -> int:
        """Bytes that must be moved."""
        grid, fixed, moving = (math.prod(sizes) for sizes in (case.grid, case.fixed, case.moving))
        return self.grid * grid + self.fixed * fixed + self.moving * moving

    def flops(self, case: Case) -> int:
        """Operations that must be done."""
        return self.operations * math.prod(case.fixed if self.fixed else case.grid)


@dataclass(frozen=True)
class Inputs:
    """Tensors of one case; blocks of labels, so that a third of all voxels sees more than one label."""

    displacement: Tensor
    to_grid: Tensor
    fixed_labels: Tensor
    moving_labels: Tensor
    cells: Tensor
    fixed_image: Tensor
    moving_image: Tensor
    warped_image: Tensor
    weights: Tensor
    taps: Tensor
    maps: tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Operation:
    """One kernel: how it is called, what it derives with respect to, and what it costs."""

    name: str
    call: Callable[[ModuleType, Inputs], Tensor]
    forward: Cost
    adjoint: Cost
    at: Callable[[Inputs], Tensor] = lambda inputs: inputs.displacement


def _votes(module: ModuleType, inputs: Inputs) -> Tensor:
    labels = inputs.fixed_labels, inputs.moving_labels
    return torch.stack(
        module.label_votes(inputs.displacement, inputs.to_grid, *labels, *inputs.maps, N_LABELS, 1.0)
    )


def _sampled(module: ModuleType, inputs: Inputs) -> Tensor:
    shape = tuple(inputs.fixed_image.shape)
    sampled: Tensor = module.sample_image(
        inputs.displacement, inputs.to_grid, inputs.moving_image, *inputs.maps, shape
    )
    return sampled


def _correlated(module: ModuleType, inputs: Inputs) -> Tensor:
    correlation: Tensor = module.local_correlation(
        inputs.fixed_image, inputs.warped_image, inputs.weights, RADIUS
    )
    return correlation


OPERATIONS = (
    Operation(
        "compose",
        lambda module, inputs: module.compose(inputs.displacement, inputs.displacement),
        Cost(grid=24, operations=66),
        Cost(grid=48, operations=200),
    ),
    Operation(
        f"smooth, {TAPS} weights",
        lambda module, inputs: module.smooth(inputs.displacement, inputs.taps),
        Cost(grid=24, operations=18 * TAPS),
        Cost(grid=24, operations=18 * TAPS),
    ),
    Operation(
        "squared differences",
        lambda module, inputs: module.squared_differences(inputs.displacement),
        Cost(grid=12, operations=27),
        Cost(grid=24, operations=24),
    ),
    Operation(
        "squared curvature",
        lambda module, inputs: module.squared_curvature(inputs.displacement),
        Cost(grid=12, operations=45),
        Cost(grid=24, operations=63),
    ),
    Operation(
        "log Jacobian moments",
        lambda module, inputs: torch.stack(
            module.log_jacobian_moments(inputs.displacement, inputs.cells, N_LABELS, 0.3, 0)
        ),
        Cost(grid=13, operations=200),
        Cost(grid=25, operations=420),
    ),
    Operation(
        "label votes",
        _votes,
        Cost(grid=12, fixed=1, moving=1, operations=60),
        Cost(grid=24, fixed=1, moving=1, operations=120),
    ),
    Operation(
        "sample image",
        _sampled,
        Cost(grid=12, fixed=4, moving=4, operations=60),
        Cost(grid=24, fixed=4, moving=4, operations=110),
    ),
    Operation(
        f"local correlation, radius {RADIUS}",
        _correlated,
        Cost(fixed=24, operations=70),
        Cost(fixed=28, operations=28),
        lambda inputs: inputs.warped_image,
    ),
)


def make_inputs(case: Case, device: str) -> Inputs:
    """Make a smooth deformation of a few voxels, labels in blocks, and noise for images."""
    rng = torch.Generator().manual_seed(1)
    taps = torch.tensor([0.03, 0.11, 0.22, 0.28, 0.22, 0.11, 0.03])
    coarse = torch.randn((1, 3, 9, 10, 9), generator=rng)
    displacement = 3 * functional.interpolate(coarse, case.grid, mode="trilinear", align_corners=True)[0]
    scale = [(g - 1) / (f - 1) for g, f in zip(case.grid, case.fixed, strict=True)]
    step = sum(scale) / 3
    index_map = torch.cat([torch.eye(3), torch.full((3, 1), 0.3)], dim=1)

    def labels(sizes: Sizes) -> Tensor:
        blocks = torch.randint(0, N_LABELS, tuple(-(-size // _BLOCK) for size in sizes), generator=rng)
        for axis, size in enumerate(sizes):
            blocks = blocks.repeat_interleave(_BLOCK, dim=axis).narrow(axis, 0, size)
        return blocks.to(torch.uint8).contiguous()

    def noise(sizes: Sizes) -> Tensor:
        return torch.rand(sizes, generator=rng)

    cells = case.grid[0] - 1, case.grid[1] - 1, case.grid[2] - 1
    return Inputs(
        displacement=displacement.to(device).requires_grad_(),
        to_grid=torch.tensor([[each, 0.0] for each in scale]).to(device),
        fixed_labels=labels(case.fixed).to(device),
        moving_labels=labels(case.moving).to(device),
        cells=labels(cells).to(device),
        fixed_image=noise(case.fixed).to(device),
        moving_image=noise(case.moving).to(device),
        warped_image=noise(case.fixed).to(device).requires_grad_(),
        weights=(noise(case.fixed) > 0.2).float().to(device),
        taps=taps.to(device),
        maps=(index_map.to(device), (torch.eye(3) / step).to(device)),
    )


def grid_sample_seconds(inputs: Inputs) -> dict[str, float]:
    """Time torch's own trilinear sampling on the sizes of a composition and of a sampled image."""
    found = {}
    for name, data, sizes in (
        ("compose", inputs.displacement.detach()[None], inputs.displacement.shape[1:]),
        ("image", inputs.moving_image[None, None], inputs.fixed_image.shape),
    ):
        here = torch.eye(3, 4, device=data.device)[None]
        at = functional.affine_grid(here, [1, 1, *sizes], align_corners=True).mul(0.99).requires_grad_()

        def sample(data: Tensor = data, at: Tensor = at) -> Tensor:
            return functional.grid_sample(data, at, padding_mode="border", align_corners=True)

        with torch.no_grad():
            found[name] = best_seconds(sample)
        total = sample().sum()
        found[f"{name}_gradient"] = best_seconds(partial(torch.autograd.grad, total, at, retain_graph=True))
    return found


def torch_compile_seconds(inputs: Inputs) -> dict[str, float] | None:
    """Time the plain composition through ``torch.compile``; None without the C++ compiler that it needs."""
    if shutil.which("g++") is None:
        return None
    compose = torch.compile(reference.compose)
    displacement = inputs.displacement.detach()
    start = time.perf_counter()
    compose(displacement, displacement)
    compiling = time.perf_counter() - start
    return {"compose": best_seconds(lambda: compose(displacement, displacement)), "compiling": compiling}
