"""The paper's objective as a whole: its value by hand, its gradient, and what is known against it."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from bidsapp.geometry.space import Space
from bidsapp.geometry.velocity import exponentiate_voxels
from bidsapp.images.distance_map import depth_and_index
from bidsapp.images.volume import Volume
from bidsapp.registration.grids import pad
from bidsapp.registration.losses.smoothness import mean_squared_gradient
from bidsapp.registration.paper import (
    DEEPEST_MM,
    INDEX_WEIGHT,
    SIMILARITY_WEIGHT,
    SMOOTHNESS_WEIGHT,
    VOLUME_WEIGHT,
    PaperObjective,
    paper_objective,
)
from tests.registration.conftest import FIXED, phantom, rotation, scanner, seen_through

FOLLOW = partial(exponentiate_voxels, squaring_steps=6)
AFFINE = np.array([[1.02, 0.05, 0, 210], [-0.04, 0.97, 0.02, -120], [0, 0.03, 1.0, 40], [0, 0, 0, 1]])
FLOOR = 1 / (1 + np.exp(2.5))


def prepare(
    fixed: Volume, moving: Volume, affine: np.ndarray, grid_mm: float = 8.0, labels_mm: float = 2.0
) -> tuple[PaperObjective, torch.Tensor]:
    grid = fixed.space.with_spacing(grid_mm)
    objective = paper_objective(fixed, pad(moving), affine, grid, labels_mm, FOLLOW, "cpu")
    return objective, torch.zeros((3, *grid.shape))


def similarity(fixed: Volume, moving: Volume) -> float:
    objective, still = prepare(fixed, moving, np.eye(4))
    return -objective.terms(still, 0)["dissimilarity"].item() / SIMILARITY_WEIGHT


def shifted(shift_mm: float) -> Volume:
    points = FIXED.voxel_centres_mm() + np.array([shift_mm, 0, 0])
    return Volume(phantom(points).reshape(FIXED.shape), FIXED)


def test_a_brain_laid_over_itself_costs_what_the_formulas_say(fixed: Volume) -> None:
    objective, still = prepare(fixed, fixed, np.eye(4))
    terms = objective.terms(still, 0)
    assert terms["dissimilarity"].item() == pytest.approx(-0.098, rel=1e-5)
    assert terms["smoothness"].item() == 0
    assert terms["volume_preservation"].item() == pytest.approx(VOLUME_WEIGHT * FLOOR, rel=1e-5)


def test_the_similarity_of_shifted_brains_is_numpys_correlation_of_their_distance_maps(fixed: Volume) -> None:
    moving = shifted(4.0)  # two whole voxels: linear sampling hits voxel centres
    maps = [
        depth_and_index(one, deepest_mm=DEEPEST_MM, index_weight=INDEX_WEIGHT).data for one in (fixed, moving)
    ]
    wanted = np.corrcoef(maps[0].ravel(), maps[1].ravel())[0, 1]
    assert similarity(fixed, moving) == pytest.approx(wanted, rel=2e-3)  # depth near the padding differs


def test_an_affine_to_an_oblique_scanner_is_followed(fixed: Volume) -> None:
    axes = rotation((12, -20, 8)) @ np.diag([1.1, 1.3, 2.0])
    moving = seen_through(AFFINE, scanner(AFFINE, axes))
    right = prepare(fixed, moving, AFFINE)[0].terms(prepare(fixed, moving, AFFINE)[1], 0)["dissimilarity"]
    off = AFFINE.copy()
    off[0, 3] += 6.0
    objective, still = prepare(fixed, moving, off)
    assert right.item() / -SIMILARITY_WEIGHT > 0.93
    assert objective.terms(still, 0)["dissimilarity"].item() > 0.95 * right.item()


def test_a_displacement_on_its_coarse_grid_undoes_a_shift(fixed: Volume) -> None:
    objective, velocity = prepare(fixed, shifted(4.0), np.eye(4), grid_mm=8.0)
    wrong = objective.terms(velocity, 0)["dissimilarity"].item()
    velocity[0] = -4.0 / 8.0
    right = objective.terms(velocity, 0)
    assert right["dissimilarity"].item() == pytest.approx(-SIMILARITY_WEIGHT, rel=2e-2)
    assert right["dissimilarity"].item() < wrong
    assert right["volume_preservation"].item() == pytest.approx(VOLUME_WEIGHT * FLOOR, rel=1e-4)


def test_smoothness_is_that_of_the_displacement_in_mm_per_mm(fixed: Volume) -> None:
    objective, velocity = prepare(fixed, fixed, np.eye(4))
    velocity = velocity + 0.3 * torch.randn(velocity.shape, generator=torch.Generator().manual_seed(0))
    wanted = SMOOTHNESS_WEIGHT * mean_squared_gradient(FOLLOW(velocity)).item()
    assert objective.terms(velocity, 0)["smoothness"].item() == pytest.approx(wanted, rel=1e-6)


def test_the_gradient_matches_finite_differences_in_double_precision() -> None:
    space = Space((8, 9, 10), np.diag([2.0, 2.0, 2.0, 1.0]))
    rng = np.random.default_rng(0)
    fixed, moving = (Volume(rng.integers(0, 4, space.shape).astype(np.uint8), space) for _ in range(2))
    grid = space.with_spacing(6.0)
    single = paper_objective(fixed, pad(moving), np.eye(4), grid, 2.0, FOLLOW, "cpu")
    pair = replace(
        single.pair,
        to_grid=single.pair.to_grid.double(),
        maps=(single.pair.maps[0].double(), single.pair.maps[1].double()),
    )
    doubled = {"fixed_map": single.fixed_map.double(), "moving_map": single.moving_map.double()}
    objective = replace(single, pair=pair, **doubled)
    velocity = 0.1 * torch.randn((3, *grid.shape), generator=torch.Generator().manual_seed(1)).double()
    velocity.requires_grad_()

    def differentiable(field: torch.Tensor) -> torch.Tensor:
        terms = objective.terms(field, 0)
        return terms["dissimilarity"] + terms["smoothness"]

    assert torch.autograd.gradcheck(differentiable, (velocity,), eps=1e-6, atol=1e-6)


def test_renumbering_both_maps_alike_changes_the_papers_similarity(fixed: Volume) -> None:
    """The documented weakness: the number of a label enters the map (ours does not change: test_losses)."""
    new = np.arange(35, dtype=np.uint8)
    new[1:] = np.random.default_rng(0).permutation(np.arange(1, 35))
    moving = shifted(4.0)
    renumbered = similarity(Volume(new[fixed.data], FIXED), Volume(new[moving.data], FIXED))
    assert abs(renumbered - similarity(fixed, moving)) > 0.02


def test_a_structure_that_the_patient_lacks_takes_no_part(fixed: Volume) -> None:
    without = Volume(np.where(fixed.data == 33, 1, fixed.data).astype(np.uint8), FIXED)
    objective, _ = prepare(fixed, without, np.eye(4))
    assert not objective.counted[torch.from_numpy(fixed.data == 33)].any()
    assert objective.counted[torch.from_numpy(fixed.data == 31)].all()


def test_the_displacement_may_live_on_a_finer_grid_than_the_velocity(fixed: Volume) -> None:
    """Twice as fine: the same velocity in world units costs the same."""
    moving = shifted(4.0)
    coarse, fine = fixed.space.with_spacing(8.0), fixed.space.with_spacing(4.0)

    def follow_finer(velocity: torch.Tensor) -> torch.Tensor:
        return 2 * FOLLOW(velocity).mean(dim=(1, 2, 3), keepdim=True).expand(3, *fine.shape).contiguous()

    velocity = torch.zeros((3, *coarse.shape))
    velocity[0] = -0.3
    costs = [
        paper_objective(fixed, pad(moving), np.eye(4), grid, 2.0, follow, "cpu").terms(velocity, 0)
        for grid, follow in ((coarse, FOLLOW), (fine, follow_finer))
    ]
    assert costs[1]["dissimilarity"].item() == pytest.approx(costs[0]["dissimilarity"].item(), rel=1e-3)
