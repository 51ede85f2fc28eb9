"""The over-fitting loop: finds a known deformation, folds nothing, goes there and back."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from bidsapp.geometry import kernels
from bidsapp.geometry.displacement import folded
from bidsapp.geometry.space import Space
from bidsapp.images.alignment import Alignment
from bidsapp.images.volume import Volume
from bidsapp.registration.deformable import Convergence, align_deformable
from bidsapp.settings import RegistrationSettings, Stage
from tests.registration.conftest import FIXED, phantom, scanner

AFFINE = np.array([[1.02, 0.05, 0, 210], [-0.04, 0.97, 0.02, -120], [0, 0.03, 1.0, 40], [0, 0, 0, 1]])
SETTINGS = RegistrationSettings(
    stages=(
        Stage(grid_mm=8.0, labels_mm=4.0, smoothing_mm=8.0, step_mm=1.0, iterations=20),
        Stage(grid_mm=4.0, labels_mm=2.0, smoothing_mm=4.0, step_mm=0.5, iterations=40),
    )
)


def bent(amplitude_mm: float, space: Space) -> Volume:
    """The phantom, bent by a smooth known map and then moved by `AFFINE`."""
    back = np.linalg.inv(AFFINE)
    x = space.voxel_centres_mm() @ back[:3, :3].T + back[:3, 3]
    bend = amplitude_mm * np.stack([np.sin(x[:, 1] / 14), np.sin(x[:, 2] / 16), np.cos(x[:, 0] / 15)], axis=1)
    return Volume(phantom(x + bend).reshape(space.shape), space)


@pytest.fixture(scope="module")
def moving() -> Volume:
    return bent(4.0, scanner(AFFINE, np.array([[0.0, 1.6, 0], [-1.6, 0, 0.2], [0, 0.2, 1.6]])))


@pytest.fixture(scope="module")
def history() -> list[Convergence]:
    return []


@pytest.fixture(scope="module")
def alignment(fixed: Volume, moving: Volume, history: list[Convergence]) -> Alignment:
    return align_deformable(fixed, moving, AFFINE, SETTINGS, on_update=history.append)


def mean_dice(fixed: Volume, moving: Volume, alignment: Alignment) -> float:
    warped = alignment.resample(moving, onto=FIXED, interpolation="nearest").data
    scores = []
    for label in np.unique(fixed.data)[1:]:
        a, b = fixed.data == label, warped == label
        scores.append(2 * (a & b).sum() / (a.sum() + b.sum()))
    return float(np.mean(scores))


def test_a_known_bend_is_undone(fixed: Volume, moving: Volume, alignment: Alignment) -> None:
    assert mean_dice(fixed, moving, alignment.affine_only()) < 0.8
    assert mean_dice(fixed, moving, alignment) > 0.9


def test_neither_direction_folds(alignment: Alignment) -> None:
    assert not folded(alignment.displacement, alignment.space).any()
    assert not folded(alignment.inverse_displacement, alignment.space).any()
    assert (alignment.jacobian_determinant().data > 0).all()


def test_the_inverse_comes_from_the_same_velocity(fixed: Volume, alignment: Alignment) -> None:
    points = FIXED.voxel_centres_mm()[(fixed.data > 0).ravel()][::50]
    back = np.linalg.inv(AFFINE)
    warped = alignment.fixed_to_moving(points) @ back[:3, :3].T + back[:3, 3]
    only_field = Alignment(
        np.eye(4), alignment.space, alignment.inverse_displacement, alignment.displacement
    ).fixed_to_moving(warped)
    assert np.percentile(np.linalg.norm(only_field - points, axis=1), 95) < 0.5


def test_every_update_is_told_with_every_term(alignment: Alignment, history: list[Convergence]) -> None:
    assert alignment is not None
    assert [update.iteration for update in history] == list(range(1, 61))
    assert [update.stage for update in history] == [1] * 20 + [2] * 40
    assert all(set(update.terms) == set(history[0].terms) for update in history)
    assert set(history[0].terms) == {"dissimilarity", "smoothness", "volume_preservation"}
    assert history[-1].terms["dissimilarity"] < history[0].terms["dissimilarity"]


def test_the_same_input_gives_the_same_field(fixed: Volume, moving: Volume) -> None:
    once = RegistrationSettings(stages=SETTINGS.stages[:1])
    first = align_deformable(fixed, moving, AFFINE, once)
    again = align_deformable(fixed, moving, AFFINE, once)
    np.testing.assert_array_equal(first.displacement, again.displacement)


def test_the_volume_term_evens_out_growth_within_structures(fixed: Volume, moving: Volume) -> None:
    def spread(weight: float) -> float:
        settings = RegistrationSettings(stages=SETTINGS.stages, volume_weight=weight)
        found = align_deformable(fixed, moving, AFFINE, settings)
        return float(np.log(found.jacobian_determinant().data).std())

    assert spread(3.0) < 0.8 * spread(0.0)


def test_rough_velocities_are_calmed_until_nothing_folds(fixed: Volume, moving: Volume) -> None:
    wild = RegistrationSettings(
        stages=(Stage(grid_mm=4.0, labels_mm=2.0, smoothing_mm=1.5, step_mm=3.0, iterations=15),),
        smoothness_weight=0.0,
        volume_weight=0.0,
    )
    found = align_deformable(fixed, moving, AFFINE, wild)
    assert not folded(found.displacement, found.space).any()


def test_folds_are_seen_where_they_are() -> None:
    space = Space((9, 10, 11), np.diag([2.0, 1.0, 1.5, 1.0]))
    field = np.zeros((3, *space.shape), np.float32)
    field[0, 4, 5, 6] = 5.0
    flags = folded(field, space)
    assert flags[4, 5, 6]
    assert not flags[:2].any()
    smooth = gaussian_filter(field, (0, 3, 3, 3))
    assert not folded(smooth, space).any()


def test_plain_torch_as_on_a_gpu_gives_the_same_answer(
    fixed: Volume, moving: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = RegistrationSettings(
        stages=(
            Stage(grid_mm=8.0, labels_mm=4.0, smoothing_mm=8.0, step_mm=1.0, iterations=10),
            Stage(grid_mm=4.0, labels_mm=2.0, smoothing_mm=4.0, step_mm=0.5, iterations=5),
        )
    )
    compiled = align_deformable(fixed, moving, AFFINE, settings)
    monkeypatch.setattr(kernels, "_is_compiled", lambda *_: False)
    plain = align_deformable(fixed, moving, AFFINE, settings)
    apart = np.linalg.norm(compiled.displacement - plain.displacement, axis=0)
    assert np.percentile(apart, 99) < 0.05
