"""Eq. (1): where it looks, and what it makes of a tumour that collapses."""

import numpy as np
import pytest
import torch

from bidsapp.registration import paper
from bidsapp.training.loop import Lesson
from bidsapp.training.objective import GeneralObjective
from bidsapp.training.scans import Sight, see_plain

KINDS = ("paper", "overlap")


@pytest.fixture(scope="module")
def heads(lesson: Lesson) -> list[Sight]:
    return [see_plain(scan, lesson.grid) for scan in lesson.training[:2]]


def still(lesson: Lesson) -> torch.Tensor:
    return torch.zeros((3, *lesson.grid.shape))


@pytest.mark.parametrize("kind", KINDS)
def test_the_atlas_laid_over_itself_is_perfect(lesson: Lesson, kind: str) -> None:
    objective = GeneralObjective(lesson.atlas, kind)
    terms = objective.terms([still(lesson)] * 2, [lesson.atlas] * 2)
    perfect = 2 * -paper.SIMILARITY_WEIGHT if kind == "paper" else 0.0
    pairs = 2 * -paper.PAIR_WEIGHT if kind == "paper" else 0.0
    assert terms["dissimilarity"].item() == pytest.approx(perfect, abs=1e-6)
    assert terms["pair_dissimilarity"].item() == pytest.approx(pairs, abs=1e-6)
    assert terms["smoothness"].item() == 0
    assert objective.validation_dice(still(lesson), lesson.atlas) == pytest.approx(1)


@pytest.mark.parametrize("kind", KINDS)
def test_the_velocity_that_undoes_a_shift_is_the_best(lesson: Lesson, kind: str) -> None:
    atlas = lesson.atlas
    parts = (atlas.image, 1), (atlas.labels, 1), (atlas.depth, 1), (atlas.fine, 2)
    shifted = Sight(*(part.roll(-voxels, dims=0) for part, voxels in parts))
    objective = GeneralObjective(atlas, kind)

    def cost(voxels: float) -> dict[str, float]:
        velocity = still(lesson)
        velocity[0] = voxels
        terms = objective.terms([velocity, still(lesson)], [shifted, atlas])
        return {name: term.item() for name, term in terms.items()}

    right, none, wrong = cost(-1.0), cost(0.0), cost(1.0)
    for name in ("dissimilarity", "pair_dissimilarity"):
        assert right[name] < none[name] < wrong[name]


def test_our_dissimilarity_is_the_mean_of_both_views(lesson: Lesson, heads: list[Sight]) -> None:
    velocity = still(lesson)
    velocity[0] = torch.linspace(-1, 1, lesson.grid.shape[0])[:, None, None]
    terms = GeneralObjective(lesson.atlas, "overlap").terms([velocity], heads[:1])
    from_atlas = GeneralObjective(lesson.atlas, "overlap").validation_dice(velocity, heads[0])
    from_head = GeneralObjective(heads[0], "overlap").validation_dice(-velocity, lesson.atlas)
    assert abs(from_atlas - from_head) > 0.002
    assert terms["dissimilarity"].item() == pytest.approx(1 - (from_atlas + from_head) / 2, abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_one_head_alone_has_no_pairs(lesson: Lesson, heads: list[Sight], kind: str) -> None:
    terms = GeneralObjective(lesson.atlas, kind).terms([still(lesson)], heads[:1])
    assert set(terms) == {"dissimilarity", "smoothness"}


@pytest.mark.parametrize("kind", KINDS)
def test_every_velocity_gets_a_gradient(lesson: Lesson, heads: list[Sight], kind: str) -> None:
    velocities = [still(lesson).requires_grad_() for _ in heads]
    terms = GeneralObjective(lesson.atlas, kind).terms(velocities, heads)
    torch.stack(list(terms.values())).sum().backward()
    for velocity in velocities:
        assert velocity.grad is not None
        assert velocity.grad.isfinite().all()
        assert velocity.grad.abs().max() > 0


def test_collapsing_a_tumour_gains_in_atlas_space_and_costs_in_image_space(lesson: Lesson) -> None:
    """Figure 2 of the paper: a hole in one structure that the atlas does not have."""
    labels = torch.zeros(lesson.grid.shape, dtype=torch.uint8)
    labels[1:-1, 1:-1, 1:-1] = 1
    middle = np.array(lesson.grid.shape) // 2
    index = torch.from_numpy(np.indices(lesson.grid.shape) - middle.reshape(3, 1, 1, 1)).float()
    radius = index.square().sum(dim=0).sqrt()
    tumour = torch.where(radius < 2.5, 2, labels).to(torch.uint8)
    atlas, patient = (
        Sight(
            lesson.atlas.image,
            each,
            each.float(),
            each.repeat_interleave(2, 0).repeat_interleave(2, 1).repeat_interleave(2, 2),
        )
        for each in (labels, tumour)
    )
    outward = torch.where(radius < 4, 0.5 * index / radius.clamp(min=1) * (1 - radius / 4), 0)

    def overlap_of_tissue(way: torch.Tensor, target: Sight, source: Sight) -> float:
        return GeneralObjective(target, "overlap").validation_dice(way, source)

    in_atlas_space = [overlap_of_tissue(way, atlas, patient) for way in (0 * outward, outward)]
    in_image_space = [overlap_of_tissue(-way, patient, atlas) for way in (0 * outward, outward)]
    assert in_atlas_space[1] > in_atlas_space[0] + 0.001
    assert in_image_space[1] < in_image_space[0] + 1e-4
