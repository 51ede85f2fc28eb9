"""The over-fitting loop: finds a known deformation, folds nothing, goes there and back."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from bidsapp.geometry import kernels
from bidsapp.geometry.displacement import folded
from bidsapp.geometry.space import Space
from bidsapp.images.alignment import Alignment
from bidsapp.images.volume import Volume
from bidsapp.registration.deformable import Convergence, align_deformable
from bidsapp.registration.paper import SIMILARITY_WEIGHT
from bidsapp.settings import RegistrationSettings, Stage
from tests.registration.conftest import FIXED, phantom, scanner

AFFINE = np.array([[1.02, 0.05, 0, 210], [-0.04, 0.97, 0.02, -120], [0, 0.03, 1.0, 40], [0, 0, 0, 1]])
SETTINGS = RegistrationSettings(
    stages=(
        Stage(grid_mm=8.0, labels_mm=4.0, smoothing_mm=8.0, step_mm=1.0, iterations=20),
        Stage(grid_mm=4.0, labels_mm=2.0, smoothing_mm=4.0, step_mm=0.5, iterations=40),
    )
)

SHORT = RegistrationSettings(
    stages=(
        Stage(grid_mm=8.0, labels_mm=1.0, smoothing_mm=8.0, step_mm=1.0, iterations=10),
        Stage(grid_mm=4.0, labels_mm=1.0, smoothing_mm=4.0, step_mm=0.5, iterations=5),
    ),
    field_mm=2.0,
)
"""No label is thinned out, and rounding has no time to grow: for what must not depend on storage."""


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


def missed(alignment: Alignment, points: np.ndarray, *, back_first: bool) -> float:
    """How far 99 of 100 points, sent one way and the other by reading both saved fields, end at most."""
    ways = [alignment.displacement, alignment.inverse_displacement]
    there, back = reversed(ways) if back_first else ways
    away = points + kernels.sample_vectors(there, alignment.space.world_to_voxel(points))
    home = away + kernels.sample_vectors(back, alignment.space.world_to_voxel(away))
    assert np.linalg.norm(away - points, axis=1).max() > 3.0
    return float(np.percentile(np.linalg.norm(home - points, axis=1), 99))


@pytest.mark.parametrize("back_first", [False, True], ids=["there and back", "back and there"])
@pytest.mark.parametrize("jitter_mm", [0.0, 1.0], ids=["from voxel centres", "from anywhere in the brain"])
def test_read_trilinearly_both_saved_fields_undo_each_other(
    fixed: Volume, alignment: Alignment, jitter_mm: float, back_first: bool
) -> None:
    points = FIXED.voxel_centres_mm()[(fixed.data > 0).ravel()]
    points = points + np.random.default_rng(0).uniform(-jitter_mm, jitter_mm, points.shape)
    assert missed(alignment, points, back_first=back_first) < 0.1


def test_a_saved_displacement_is_a_whole_number_of_1024ths_of_a_millimetre(alignment: Alignment) -> None:
    for field in (alignment.displacement, alignment.inverse_displacement):
        np.testing.assert_array_equal(field * 1024, np.rint(field * 1024))


def test_every_update_is_told_with_every_term(alignment: Alignment, history: list[Convergence]) -> None:
    assert alignment is not None
    assert [update.iteration for update in history] == list(range(1, 61))
    assert [update.stage for update in history] == [1] * 20 + [2] * 40
    assert all(set(update.terms) == set(history[0].terms) for update in history)
    assert set(history[0].terms) == {"dissimilarity", "smoothness", "volume_preservation"}
    assert history[-1].terms["dissimilarity"] < history[0].terms["dissimilarity"]


def test_the_same_input_gives_the_same_field(fixed: Volume, moving: Volume) -> None:
    first = align_deformable(fixed, moving, AFFINE, SHORT)
    again = align_deformable(fixed, moving, AFFINE, SHORT)
    np.testing.assert_array_equal(first.displacement, again.displacement)


def brain_points(fixed: Volume) -> np.ndarray:
    return FIXED.voxel_centres_mm()[(fixed.data > 0).ravel()]


def apart_mm(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.percentile(np.linalg.norm(one - other, axis=1), 99))


@pytest.fixture(scope="module")
def landed(fixed: Volume, moving: Volume) -> np.ndarray:
    """Where the points of the brain lie in the patient after a short search."""
    found = align_deformable(fixed, moving, AFFINE, SHORT).fixed_to_moving(brain_points(fixed))
    assert apart_mm(found, brain_points(fixed) @ AFFINE[:3, :3].T + AFFINE[:3, 3]) > 3.0
    return found


@pytest.mark.parametrize(("volume_weight", "tolerance_mm"), [(0.0, 0.1), (0.15, 0.3)])
def test_mirrored_brains_give_the_mirrored_field(
    volume_weight: float, tolerance_mm: float, fixed: Volume, moving: Volume
) -> None:
    """The volume term looks at half of the cell corners, then at the others: mirrored, in another order."""
    settings = replace(SHORT, volume_weight=volume_weight)
    mirror, flip = np.diag([-1.0, 1, 1, 1]), np.array([-1.0, 1, 1])
    found = align_deformable(fixed, moving, AFFINE, settings)
    mirrored = align_deformable(
        Volume(np.ascontiguousarray(fixed.data[::-1]), FIXED),  # its grid is symmetric
        Volume(moving.data, Space(moving.space.shape, mirror @ moving.space.affine)),
        mirror @ AFFINE @ mirror,
        settings,
    )
    points = brain_points(fixed)
    assert (
        apart_mm(flip * mirrored.fixed_to_moving(flip * points), found.fixed_to_moving(points)) < tolerance_mm
    )


@pytest.mark.parametrize("axes", [(2, 0, 1), (1, 0, 2)])
def test_the_order_of_the_stored_axes_does_not_matter(
    axes: tuple[int, int, int], fixed: Volume, moving: Volume, landed: np.ndarray
) -> None:
    data = np.ascontiguousarray(moving.data.transpose(axes))
    turned = Space((data.shape[0], data.shape[1], data.shape[2]), moving.space.affine[:, [*axes, 3]])
    found = align_deformable(fixed, Volume(data, turned), AFFINE, SHORT)
    assert apart_mm(found.fixed_to_moving(brain_points(fixed)), landed) < 0.05


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_direction_of_the_stored_axes_does_not_matter(
    axis: int, fixed: Volume, moving: Volume, landed: np.ndarray
) -> None:
    flip = np.eye(4)
    flip[axis, axis], flip[axis, 3] = -1, moving.space.shape[axis] - 1
    flipped = Space(moving.space.shape, moving.space.affine @ flip)
    found = align_deformable(fixed, Volume(np.flip(moving.data, axis).copy(), flipped), AFFINE, SHORT)
    assert apart_mm(found.fixed_to_moving(brain_points(fixed)), landed) < 0.05


def test_a_stretched_patient_is_found_through_a_stretched_affine(
    fixed: Volume, moving: Volume, landed: np.ndarray
) -> None:
    stretch = np.diag([1.3, 0.8, 1.1, 1.0])
    stretched = Volume(moving.data, Space(moving.space.shape, stretch @ moving.space.affine))
    found = align_deformable(fixed, stretched, stretch @ AFFINE, SHORT)
    assert apart_mm(found.fixed_to_moving(brain_points(fixed)), landed @ stretch[:3, :3]) < 0.05


def test_finer_voxels_along_one_axis_with_the_same_labels_hardly_matter(
    fixed: Volume, moving: Volume, landed: np.ndarray
) -> None:
    split = np.diag([1.0, 1 / 3, 1.0, 1.0])
    split[1, 3] = -1 / 3
    ni, nj, nk = moving.space.shape
    thin = Volume(np.repeat(moving.data, 3, axis=1), Space((ni, 3 * nj, nk), moving.space.affine @ split))
    found = align_deformable(fixed, thin, AFFINE, SHORT)
    assert apart_mm(found.fixed_to_moving(brain_points(fixed)), landed) < 1.0  # a voxel: 1.6


def test_renumbering_the_structures_of_both_maps_changes_nothing(
    fixed: Volume, moving: Volume, landed: np.ndarray
) -> None:
    new = np.zeros(35, dtype=np.uint8)
    new[1:] = np.random.default_rng(0).permutation(np.arange(1, 35))
    renumbered = Volume(new[fixed.data], FIXED), Volume(new[moving.data], moving.space)
    found = align_deformable(*renumbered, AFFINE, SHORT)
    assert apart_mm(found.fixed_to_moving(brain_points(fixed)), landed) < 0.01


def test_the_papers_objective_lowers_its_dissimilarity_and_lays_the_brains_over_each_other(
    fixed: Volume, moving: Volume
) -> None:
    history: list[Convergence] = []
    settings = replace(SHORT, objective="paper")
    found = align_deformable(fixed, moving, AFFINE, settings, on_update=history.append)
    assert set(history[0].terms) == {"dissimilarity", "smoothness", "volume_preservation"}
    first, last = history[0].terms["dissimilarity"], history[-1].terms["dissimilarity"]
    assert -SIMILARITY_WEIGHT < last < first < 0
    assert mean_dice(fixed, moving, found) > mean_dice(fixed, moving, found.affine_only()) + 0.03
    assert not folded(found.displacement, found.space).any()


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
