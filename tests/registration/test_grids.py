"""Cropping, padding, thinning and refining move nothing in the world."""

import numpy as np
import torch

from bidsapp.geometry.space import Space
from bidsapp.images.regrid import on_grid
from bidsapp.images.volume import Volume
from bidsapp.registration.grids import (
    cell_grid,
    cell_middles,
    coarsen,
    crop_to_labels,
    grid_points,
    labels_along,
    labels_at,
    lay,
    lay_on,
    pad,
    refine,
)

OBLIQUE = Space(
    (12, 13, 14), np.array([[1.0, 0.2, 0, 50], [-0.2, 1.2, 0.1, -7], [0, -0.1, -2.0, 300], [0, 0, 0, 1]])
)


def marked() -> Volume:
    data = np.zeros(OBLIQUE.shape, dtype=np.uint8)
    data[5, 6, 7] = 9
    return Volume(data, OBLIQUE)


def where(labels: Volume) -> np.ndarray:
    return labels.space.voxel_to_world(np.argwhere(labels.data == 9).astype(np.float64))


def test_cropping_and_padding_leave_the_label_where_it_was() -> None:
    cropped = crop_to_labels(marked(), 3.0)
    assert cropped.data.size < marked().data.size
    np.testing.assert_allclose(where(cropped), where(marked()))
    np.testing.assert_allclose(where(pad(cropped)), where(marked()))


def test_the_margin_is_counted_in_millimetres_along_each_axis() -> None:
    assert crop_to_labels(marked(), 4.0).data.shape == tuple(
        1 + 2 * int(np.ceil(4.0 / size)) for size in OBLIQUE.voxel_sizes_mm
    )


def test_thinning_keeps_every_kept_label_in_its_place_and_never_refines() -> None:
    labels = Volume(np.arange(np.prod(OBLIQUE.shape)).reshape(OBLIQUE.shape) % 35, OBLIQUE)
    thinned = coarsen(labels, 2.0)
    assert thinned.data.shape == (6, 6, 14)
    index = np.argwhere(np.ones(thinned.data.shape)).astype(np.float64)
    back = np.rint(OBLIQUE.world_to_voxel(thinned.space.voxel_to_world(index))).astype(int)
    np.testing.assert_array_equal(labels.data[tuple(back.T)], thinned.data.ravel())


def test_a_velocity_keeps_its_millimetres_when_its_grid_is_refined() -> None:
    coarse = Space((6, 7, 8), np.diag([4.0, 4.0, 4.0, 1.0]))
    fine = coarse.with_spacing(2.0)
    i = torch.arange(6.0).reshape(1, 6, 1, 1)
    velocity = (0.25 * i).expand(3, 6, 7, 8).contiguous()
    refined = refine(velocity, coarse, fine)
    world = fine.voxel_centres_mm()[:, 0].reshape(fine.shape)
    expected_mm = np.clip(world / 4.0, 0, 5) * 0.25 * 4.0
    np.testing.assert_allclose(2.0 * refined[0].numpy(), expected_mm, atol=1e-5)


def test_labels_are_read_at_the_points_of_an_oblique_grid_and_its_border_holds_beyond() -> None:
    labels = Volume(np.arange(np.prod(OBLIQUE.shape)).reshape(OBLIQUE.shape) % 35, OBLIQUE)
    np.testing.assert_array_equal(labels_at(labels, grid_points(OBLIQUE), OBLIQUE), labels.data.ravel())
    shifted = Space(
        (4, 5, 6), OBLIQUE.affine @ np.array([[1, 0, 0, -2], [0, 1, 0, 3], [0, 0, 1, 10], [0, 0, 0, 1.0]])
    )
    expected = labels.data[np.ix_([0, 0, 0, 1], range(3, 8), [10, 11, 12, 13, 13, 13])]
    read = labels_at(labels, grid_points(shifted), shifted).reshape(shifted.shape)
    np.testing.assert_array_equal(read, expected)


def test_the_middles_of_cells_lie_between_eight_grid_points() -> None:
    middles = cell_middles(Space((4, 5, 6), np.eye(4))).reshape(3, 4, 5, 3)
    np.testing.assert_array_equal(middles[2, 1, 4], [2.5, 1.5, 4.5])


def test_the_grid_of_the_cells_holds_their_middles() -> None:
    cells = cell_grid(OBLIQUE)
    assert cells.shape == (11, 12, 13)
    np.testing.assert_allclose(
        cells.voxel_centres_mm(), OBLIQUE.voxel_to_world(cell_middles(OBLIQUE)), atol=1e-9
    )


def test_labels_along_the_axes_are_those_at_every_point() -> None:
    labels = Volume(np.arange(np.prod(OBLIQUE.shape)).reshape(OBLIQUE.shape) % 35, OBLIQUE)
    for steps, offset in (((0.7, 1.3, 0.9), (-2.2, 3.1, 8.4)), ((2.2, 1.0, 3.0), (0.2, 0.0, 0.3))):
        inner = np.diag([*steps, 1.0])
        inner[:3, 3] = offset
        grid = Space((4, 5, 6), OBLIQUE.affine @ inner)
        expected = labels_at(labels, grid_points(grid), grid).reshape(grid.shape)
        np.testing.assert_array_equal(labels_along(labels, grid), expected)


def test_labels_are_laid_on_a_turned_grid_as_scipy_reads_them_and_nothing_lies_beyond() -> None:
    data = 1 + np.random.default_rng(4).integers(0, 34, OBLIQUE.shape).astype(np.uint8)
    affine = np.array(
        [[0.96, -0.21, 0.1, 51.3], [0.22, 0.93, 0.2, -3.1], [0, -0.3, 1.1, 290.2], [0, 0, 0, 1]]
    )
    onto = Space((24, 25, 26), np.array([[1.1, 0, 0, -9], [0, 0.9, 0, -8], [0, 0, 1.3, -28], [0, 0, 0, 1.0]]))
    laid = lay_on(Volume(data, OBLIQUE), affine, onto, "cpu").data
    np.testing.assert_array_equal(laid, on_grid(lay(Volume(data, OBLIQUE), affine), onto).data)
    assert 0.05 < (laid > 0).mean() < 0.9
