"""Updates in their order, and replayed on a card as if each were started by itself."""

import importlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from bidsapp.geometry import kernels
from bidsapp.geometry.kernels import backends, reference
from bidsapp.images.alignment import Alignment
from bidsapp.images.volume import Volume
from bidsapp.registration import parameterisation
from bidsapp.registration.deformable import Convergence, align_deformable
from bidsapp.registration.flow import Flow
from bidsapp.registration.grids import crop_to_labels, pad
from bidsapp.registration.intensities import Intensities
from bidsapp.registration.objective import Objective
from bidsapp.registration.preparation import Brains, prepare_objective
from bidsapp.registration.updates import TURNS, run_updates
from bidsapp.settings import RegistrationSettings, Stage
from tests.registration.conftest import FIXED, phantom

STAGES = (
    Stage(grid_mm=16.0, labels_mm=4.0, smoothing_mm=16.0, step_mm=1.0, iterations=5, image_weight=1.0),
    Stage(grid_mm=8.0, labels_mm=4.0, smoothing_mm=8.0, step_mm=1.0, iterations=12, image_weight=1.0),
)


@pytest.fixture(scope="module")
def images(fixed: Volume) -> Intensities:
    """Two images, and two lesions."""
    moving = phantom(FIXED.voxel_centres_mm() + np.array([3.0, -2.0, 1.0])).reshape(FIXED.shape)
    lesions = np.zeros(FIXED.shape, dtype=np.uint8)
    lesions[8:18, 20:30, 20:30] = 1
    lesions[30, 20, 20] = 1
    pictures = (Volume(data.astype(np.float32), FIXED) for data in (fixed.data, moving))
    return Intensities(*pictures, Volume(lesions, FIXED))


def aligned(
    images: Intensities, fixed: Volume, device: str, settings: RegistrationSettings
) -> tuple[Alignment, list[Convergence]]:
    moving = Volume(images.moving.data.astype(np.uint8), FIXED)
    history: list[Convergence] = []
    found = align_deformable(
        fixed, moving, np.eye(4), settings, images=images, device=device, on_update=history.append
    )
    return found, history


@pytest.mark.parametrize("iterations", [0, 1, 7])
def test_terms_are_told_in_the_order_of_the_updates_and_as_they_were_then(iterations: int) -> None:
    state, turns = torch.zeros(()), []

    def update(turn: int) -> dict[str, Tensor]:
        turns.append(turn)
        before = state.clone()
        state.add_(1)
        return {"count": before, "turn": torch.tensor(float(turn))}

    told = run_updates(update, iterations)
    assert turns == [0, 1, 2, 3, 0, 1, 2][:iterations]
    assert told == [{"count": float(n), "turn": float(n % 4)} for n in range(iterations)]


def test_every_update_of_a_stage_is_told_before_the_next_stage(images: Intensities, fixed: Volume) -> None:
    settings = RegistrationSettings(stages=STAGES, field_mm=4.0)
    _, history = aligned(images, fixed, "cpu", settings)
    assert [(one.stage, one.iteration) for one in history] == [(1 + (n > 5), n) for n in range(1, 18)]
    wanted = {"dissimilarity", "image_dissimilarity", "smoothness", "volume_preservation"}
    assert all(one.terms.keys() == wanted | {"lesion_preservation"} for one in history)
    assert history[-1].terms["dissimilarity"] < history[3].terms["dissimilarity"]


@pytest.mark.parametrize(("serves", "is_replayed"), [("triton", True), ("reference", False)])
def test_updates_are_replayed_where_triton_serves_a_card(
    monkeypatch: pytest.MonkeyPatch, serves: str, *, is_replayed: bool
) -> None:
    class OnCard:
        """What the choice looks at in a tensor."""

        is_cuda, device, dtype = True, torch.device("cuda", 0), torch.float32

    monkeypatch.setattr(backends, "on_gpu", lambda: reference if serves == "reference" else object())
    assert kernels.never_waits(OnCard()) is is_replayed  # type: ignore[arg-type]
    assert not kernels.never_waits(torch.zeros(3, 4, 5, 6))


class HostNeeded(TorchDispatchMode):
    """Notes operations that wait for the host, bring something from it, or make sizes that depend on data."""

    FORBIDDEN = frozenset(
        ("_local_scalar_dense", "nonzero", "bincount", "masked_select", "lift_fresh", "equal", "unique_dim")
    )

    def __init__(self) -> None:
        super().__init__()
        self.met: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        picks = name in {"index", "index_put", "index_put_"}
        if name in self.FORBIDDEN or (
            picks and any(at is not None and at.dtype == torch.bool for at in args[1])
        ):
            self.met.append(name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("turn", range(TURNS))
def test_an_update_on_a_card_never_needs_the_host(
    images: Intensities, fixed: Volume, monkeypatch: pytest.MonkeyPatch, turn: int
) -> None:
    gpu = importlib.import_module("bidsapp.geometry.kernels.gpu.operations")
    monkeypatch.setattr(kernels, "_implementation", lambda *_: gpu)
    monkeypatch.setattr(kernels, "count_labels", gpu.count_labels)
    monkeypatch.setattr(importlib.import_module("bidsapp.geometry.kernels.gpu.launching"), "BLOCK", 8192)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    box = crop_to_labels(fixed, 4.0)
    moving = Volume(images.moving.data.astype(np.uint8), FIXED)
    flow = Flow(box.space.with_spacing(16.0), box.space.with_spacing(4.0), 2, device)
    velocity = torch.zeros((3, *flow.grid.shape), device=device, requires_grad=True)
    brains = Brains(box, pad(moving), np.eye(4), images)
    settings = RegistrationSettings(stages=STAGES, field_mm=4.0)
    objective = prepare_objective(brains, flow, velocity.detach(), STAGES[0], settings)
    assert isinstance(objective, Objective)
    assert objective.sides[0].left_out is not None
    assert len(objective.continuation.hems) == 2

    def update() -> None:
        terms = objective.terms(objective.continuation(velocity), turn)
        torch.autograd.backward(torch.stack(list(terms.values())).sum())

    update()
    with HostNeeded() as noted:
        update()
    assert noted.met == []


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA card to record updates on")
@pytest.mark.parametrize("has_lesions", [True, False])
def test_replayed_updates_find_on_a_card_what_updates_started_one_by_one_find(
    images: Intensities, fixed: Volume, monkeypatch: pytest.MonkeyPatch, *, has_lesions: bool
) -> None:
    settings = RegistrationSettings(stages=STAGES, field_mm=4.0)
    shown = images if has_lesions else replace(images, lesions=None)
    recorded = 0
    capture = torch.cuda.CUDAGraph.capture_begin

    def begin(graph: torch.cuda.CUDAGraph, *choices: object, **more: object) -> None:
        nonlocal recorded
        recorded += 1
        capture(graph, *choices, **more)

    monkeypatch.setattr(torch.cuda.CUDAGraph, "capture_begin", begin)
    replayed, told = aligned(shown, fixed, "cuda", settings)
    assert recorded == 5  # one turn of the first stage is left to replay, all four of the second
    monkeypatch.setattr(parameterisation, "run_updates", lambda update, n, _: run_updates(update, n))
    one_by_one, told_then = aligned(shown, fixed, "cuda", settings)
    assert recorded == 5
    assert np.abs(one_by_one.displacement).max() > 1
    np.testing.assert_array_equal(replayed.displacement, one_by_one.displacement)
    np.testing.assert_array_equal(replayed.inverse_displacement, one_by_one.inverse_displacement)
    assert told == told_then


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA card to compare with the CPU")
def test_a_card_finds_what_the_cpu_finds(images: Intensities, fixed: Volume) -> None:
    settings = RegistrationSettings(stages=STAGES, field_mm=4.0)
    card, cpu = (aligned(images, fixed, device, settings)[0] for device in ("cuda", "cpu"))
    for one, other in (
        (card.displacement, cpu.displacement),
        (card.inverse_displacement, cpu.inverse_displacement),
    ):
        assert np.percentile(np.linalg.norm(one - other, axis=0), 99) < 0.05


def test_a_field_starts_its_updates_one_by_one_without_a_card(
    images: Intensities, fixed: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    cards: list[torch.device | None] = []

    def run(update: object, iterations: int, card: torch.device | None) -> list[dict[str, float]]:
        cards.append(card)
        return []

    monkeypatch.setattr(parameterisation, "run_updates", run)
    aligned(images, fixed, "cpu", RegistrationSettings(stages=STAGES, field_mm=4.0))
    assert cards == [None, None]
