"""Random heads are heads: nothing folds, labels stay labels, the seed decides."""

from dataclasses import replace

import numpy as np
import torch

from bidsapp.atlas.seganat import other_side, structures
from bidsapp.geometry.displacement import folded
from bidsapp.geometry.space import Space
from bidsapp.registration.network.view import halved
from bidsapp.training.augmentation import disturb, random_points, synthesise
from bidsapp.training.loop import Lesson
from bidsapp.training.plan import TrainingPlan
from bidsapp.training.scans import _mirror, _points, _see, _swap_sides, see_changed, see_plain

GRID = Space((12, 14, 16), np.array([[0, 6.0, 0, 3], [-6.0, 0, 0, 8], [0, 0, 6.0, -30], [0, 0, 0, 1]]))
PLAN = TrainingPlan(spacing_mm=8.0)


def test_random_deformations_do_not_fold_even_the_strongest() -> None:
    for seed in range(5):
        points = random_points(GRID, 12.0, np.random.default_rng(seed))
        field = (points - GRID.voxel_centres_mm()).T.reshape(3, *GRID.shape).astype(np.float32)
        assert not folded(field, GRID).any()
        assert np.abs(field).max() > 3


def test_turns_keep_the_middle_of_the_grid_near() -> None:
    points = random_points(GRID, 0.0, np.random.default_rng(0))
    apart = points.mean(axis=0) - GRID.voxel_centres_mm().mean(axis=0)
    assert np.abs(apart).max() <= 2.0 + 1e-9


def test_turns_stretches_and_shifts_are_about_what_an_affine_alignment_leaves() -> None:
    centres = GRID.voxel_centres_mm()
    reach = np.linalg.norm(centres - centres.mean(axis=0), axis=1)
    moved = [
        np.linalg.norm(random_points(GRID, 0.0, np.random.default_rng(seed)) - centres, axis=1)
        for seed in range(20)
    ]
    assert 1.0 < np.mean(moved) < 5.0
    assert (np.array(moved) <= 2.0 * 3**0.5 + 0.14 * reach).all()  # 3 degrees about each axis, 3 %


def test_every_code_gets_a_brightness_of_its_own_and_nothing_stays_black() -> None:
    codes = np.zeros((12, 13, 14), dtype=np.int64)
    codes[:, :, 5:] = 41
    codes[:, :, 10:] = 530
    image = synthesise(codes, np.random.default_rng(3))
    means = [image[:, :, one].mean() for one in (1, 7, 13)]
    assert abs(means[0]) < 0.02
    assert min(means[1], means[2], abs(means[1] - means[2])) > 0.05
    other = synthesise(codes, np.random.default_rng(4))
    assert abs(other[:, :, 7].mean() - means[1]) > 0.02


def test_disturbing_keeps_an_image_recognisable() -> None:
    image = np.random.default_rng(0).uniform(0, 1, (12, 13, 14)).astype(np.float32)
    for seed in range(5):
        changed = disturb(image, 6.0, np.random.default_rng(seed))
        assert np.isfinite(changed).all()
        assert np.corrcoef(changed.ravel(), image.ravel())[0, 1] > 0.7


def test_labels_move_with_the_image_and_stay_whole(lesson: Lesson) -> None:
    scan = lesson.training[0]
    plain = see_plain(scan, lesson.grid)
    changed = see_changed(scan, lesson.grid, PLAN, np.random.default_rng(5))
    assert changed.labels.dtype == torch.uint8
    assert (changed.labels != plain.labels).float().mean() > 0.05
    for sight in (plain, changed):  # depth holds its label's number: they were read at the same place
        torch.testing.assert_close(
            sight.depth.clamp(max=34.99).floor().to(torch.uint8)[sight.depth % 1 > 0],
            sight.labels[sight.depth % 1 > 0],
        )
    inside = changed.labels > 0
    assert changed.image[inside].mean() > changed.image[~inside].mean() + 0.1


def test_a_mirrored_head_is_a_head_whose_left_structures_lie_on_the_left(lesson: Lesson) -> None:
    scan, grid = lesson.training[0], lesson.grid
    plain = see_plain(scan, grid)
    turned = _swap_sides(_see(scan, grid, _mirror(_points(grid, grid.voxel_centres_mm())), None))
    assert torch.equal(turned.image.flip(0), plain.image)
    other = torch.tensor(other_side(), dtype=torch.uint8)
    for seen, seen_plain in ((turned.labels, plain.labels), (turned.fine, plain.fine)):
        assert torch.equal(other[seen.long()].flip(0), seen_plain)
    whole = torch.floor(plain.depth)
    torch.testing.assert_close(turned.depth.flip(0) % 1, plain.depth - whole, atol=1e-4, rtol=0)
    numbered = (turned.depth % 1 > 0.01) & (turned.depth % 1 < 0.99)
    assert torch.equal(turned.depth[numbered].floor().to(torch.uint8), turned.labels[numbered])
    is_left = torch.tensor([structure.hemisphere == "left" for structure in structures()])
    for sight in (plain, turned):
        x = grid.voxel_centres_mm()[:, 0].reshape(grid.shape)
        assert x[is_left[sight.labels.long()].numpy()].mean() < -8


def test_points_of_the_fine_grid_go_where_those_around_them_go(lesson: Lesson) -> None:
    centres = lesson.grid.voxel_centres_mm()
    turn = np.array([[0.99, 0.02, 0], [-0.03, 1.01, 0.01], [0, 0.02, 1.0]])
    fine = _points(lesson.grid, centres @ turn.T + 3.0)[1].reshape(*halved(lesson.grid).shape, 3)
    wanted = halved(lesson.grid).voxel_centres_mm() @ turn.T + 3.0
    inner = (slice(1, -1),) * 3
    np.testing.assert_allclose(fine[inner], wanted.reshape(fine.shape)[inner], atol=1e-9)


def test_the_seed_decides_every_change(lesson: Lesson) -> None:
    scan = lesson.training[0]
    first, again, other = (
        see_changed(scan, lesson.grid, PLAN, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first.image, again.image)
    assert not torch.equal(first.image, other.image)


def test_a_label_map_alone_is_always_given_a_contrast(lesson: Lesson) -> None:
    alone = lesson.training[2]
    assert alone.image is None
    never = replace(PLAN, synthetic_fraction=0.0)
    images = [see_changed(alone, lesson.grid, never, np.random.default_rng(seed)).image for seed in (1, 2)]
    assert all(image.std() > 0.1 for image in images)
    assert np.corrcoef(images[0].flatten(), images[1].flatten())[0, 1] < 0.97
