"""The last touches on a displacement against closed forms."""

from types import ModuleType

import numpy as np
import pytest
import torch

from bidsapp.errors import DataError
from bidsapp.geometry import kernels
from bidsapp.geometry.displacement import folded
from bidsapp.geometry.kernels import backends, reference_points
from bidsapp.geometry.kernels.compiled import sampling
from bidsapp.geometry.space import Space
from bidsapp.registration import inversion
from bidsapp.registration.inversion import unfold

INNER = (slice(None), slice(3, -3), slice(3, -3), slice(3, -3))


def linear(matrix: np.ndarray, offset: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """``x -> matrix x + offset`` at every voxel."""
    voxels = np.indices(shape, dtype=np.float64)
    field = np.einsum("ab,bijk->aijk", matrix, voxels) + offset.reshape(3, 1, 1, 1)
    return field.astype(np.float32)


def rippled(shape: tuple[int, int, int]) -> np.ndarray:
    i, j, k = np.indices(shape, dtype=np.float64)
    return np.stack([np.sin(j / 3), np.cos(k / 4), np.sin(i / 4)]).astype(np.float32)


def balanced(field: np.ndarray) -> np.ndarray:
    return kernels.balance(torch.from_numpy(field)).numpy()


def fold_count(field: np.ndarray) -> int:
    _, ni, nj, nk = field.shape
    return int(folded(field, Space((ni, nj, nk), np.eye(4))).sum())


@pytest.mark.parametrize("points", [sampling, reference_points])
def test_the_inverse_of_a_linear_map_is_its_inverse_matrix(
    points: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backends, "at_points", lambda: points)
    matrix = np.array([[0.05, -0.04, 0.02], [0.03, -0.06, 0.0], [0.0, 0.04, 0.03]])
    offset, shape = np.array([0.3, -0.4, 0.5]), (14, 15, 16)
    field = torch.from_numpy(linear(matrix, offset, shape))
    found = kernels.invert(field, torch.zeros(3, *shape)).numpy()
    back = np.linalg.inv(np.eye(3) + matrix)
    expected = linear(back - np.eye(3), -back @ offset, shape)
    np.testing.assert_allclose(found[INNER], expected[INNER], atol=1e-4)


def test_a_field_that_does_not_fold_is_left_as_it_is() -> None:
    field = rippled((14, 15, 16))
    np.testing.assert_array_equal(unfold(torch.from_numpy(field)), field)


@pytest.mark.parametrize("where", [(18, 19, 20), (24, 23, 12)], ids=["in a block", "where blocks meet"])
def test_a_fold_is_taken_out_and_only_its_surroundings_change(where: tuple[int, int, int]) -> None:
    given = rippled((40, 41, 42))
    given[(slice(None), *where)] += np.array([3.0, -2.0, 2.5])
    before = given.copy()
    assert fold_count(given) > 0
    smooth = unfold(torch.from_numpy(given)).numpy()
    assert fold_count(smooth) == 0
    np.testing.assert_array_equal(given, before)
    changed = np.argwhere((smooth != given).any(axis=0))
    assert len(changed) > 0
    assert np.abs(changed - np.array(where)).max() <= 8


@pytest.mark.parametrize(
    "window",
    [
        (slice(4, 8), slice(3, 9), slice(5, 9)),
        (slice(0, 30), slice(0, 6), slice(10, 40)),
        (slice(1, 13), slice(2, 15), slice(11, 16)),
    ],
    ids=["inside", "beyond the grid", "close to its border"],
)
def test_folds_are_seen_in_and_around_a_part_as_in_the_whole(window: tuple[slice, slice, slice]) -> None:
    field = torch.from_numpy(np.random.default_rng(5).normal(0, 0.45, (3, 14, 15, 16)).astype(np.float32))
    whole = kernels.smallest_jacobian(field) <= 0.01
    around = torch.zeros_like(whole)
    around[tuple(slice(max(0, along.start - 1), along.stop + 1) for along in window)] = True
    found = inversion._folded_near(field, [window])  # folds seldom spread
    assert 0.1 < whole.float().mean() < 0.9
    assert (whole & around & ~found).sum() == 0
    assert (found & ~whole).sum() == 0


def test_a_brain_turned_inside_out_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inversion, "_ROUNDS", 2)
    monkeypatch.setattr(inversion, "_ATTEMPTS", 4)
    mirrored = linear(-2 * np.eye(3), np.zeros(3), (14, 15, 16))
    with pytest.raises(DataError, match=r"a deformation without folds must exist, but .* cells still fold"):
        unfold(torch.from_numpy(mirrored))


def test_linear_interpolation_of_a_parabola_errs_by_a_twelfth_and_of_a_balanced_one_not_at_all() -> None:
    bends = np.array([0.6, -0.2, 0.4])

    def parabola(points: np.ndarray) -> np.ndarray:
        along = (0.5 * bends * points**2).sum(axis=1)
        return np.stack([along, -along, 2 * along], axis=1)

    shape = (10, 11, 12)
    voxels = np.indices(shape, dtype=np.float64).reshape(3, -1).T
    field = np.ascontiguousarray(parabola(voxels).T.reshape(3, *shape).astype(np.float32))
    middles = (np.arange(40) + 0.5) / 40
    points = 4 + np.stack(np.meshgrid(middles, middles, middles, indexing="ij")).reshape(3, -1).T

    def mean_error(read: np.ndarray) -> np.ndarray:
        return (kernels.sample_vectors(read, points) - parabola(points)).mean(axis=0)

    twelfth = bends.sum() / 12
    np.testing.assert_allclose(mean_error(field), [twelfth, -twelfth, 2 * twelfth], rtol=2e-3)
    np.testing.assert_allclose(mean_error(balanced(field)), 0, atol=2e-4)


def test_balancing_leaves_linear_fields_alone() -> None:
    field = linear(
        np.array([[0.2, 0.1, 0], [0, -0.3, 0.1], [0.4, 0, 0.1]]), np.array([1.0, 2, 3]), (9, 10, 11)
    )
    np.testing.assert_allclose(balanced(field)[INNER], field[INNER], atol=1e-6)
