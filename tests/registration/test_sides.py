"""An alignment is looked at from the atlas and from the patient in turn, and both see the same."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bidsapp.geometry import kernels
from bidsapp.images.volume import Volume
from bidsapp.registration.deformable import align_deformable
from bidsapp.registration.flow import Flow
from bidsapp.registration.grids import FAR_MM, N_LABELS, crop_to_labels, leave_out_far, pad
from bidsapp.registration.intensities import Intensities
from bidsapp.registration.losses.similarity import label_dissimilarity
from bidsapp.registration.objective import Objective
from bidsapp.registration.preparation import Brains, prepare_objective
from bidsapp.settings import RegistrationSettings, Stage
from tests.registration.conftest import FIXED, phantom, scanner, seen_through
from tests.registration.test_intensities import AFFINE, NATIVE, fixed_texture, native_ball, native_texture

STAGE = Stage(grid_mm=4.0, labels_mm=2.0, smoothing_mm=4.0, step_mm=0.5, iterations=4, image_weight=1.0)
SETTINGS = RegistrationSettings(stages=(STAGE,), field_mm=2.0)


def objective_of(
    fixed: Volume, moving: Volume, affine: np.ndarray, images: Intensities | None = None
) -> tuple[Objective, Flow]:
    box = crop_to_labels(fixed, 6.0)
    flow = Flow(box.space.with_spacing(4.0), box.space.with_spacing(2.0), 4, "cpu")
    still = torch.zeros((3, *flow.grid.shape))
    brains = Brains(box, pad(moving), affine, images)
    found = prepare_objective(brains, flow, still, STAGE, SETTINGS)
    assert isinstance(found, Objective)
    return found, flow


def bent(flow: Flow) -> torch.Tensor:
    x, y, z = np.indices(flow.grid.shape) / 5.0
    return torch.from_numpy(0.4 * np.stack([np.sin(y), np.cos(z), np.sin(x + y)])).float()


def test_the_patient_sees_what_the_atlas_would_see_in_its_place(fixed: Volume) -> None:
    """With brains exchanged and the velocity turned round, one side's terms are the other's."""
    away = FIXED.voxel_centres_mm() * [1.05, 0.97, 1.02] + [1.0, -2.0, 1.5]
    other = Volume(phantom(away).reshape(FIXED.shape), FIXED)
    box = crop_to_labels(fixed, 6.0)
    one_way, flow = objective_of(fixed, other, np.eye(4))
    velocity = bent(flow)
    from_patient = one_way.terms(velocity, 1)
    laid = Brains(box, pad(other), np.eye(4), None).laid
    swapped = Brains(laid, pad(fixed), np.eye(4), None)
    exchanged = prepare_objective(swapped, flow, torch.zeros_like(velocity), STAGE, SETTINGS)
    from_atlas = exchanged.terms(-velocity, 0)
    assert from_patient["dissimilarity"].item() == pytest.approx(from_atlas["dissimilarity"].item(), abs=2e-3)
    for name in ("smoothness", "volume_preservation"):
        assert from_patient[name].item() == pytest.approx(from_atlas[name].item(), rel=1e-5)
    assert from_patient["dissimilarity"].item() != one_way.terms(velocity, 0)["dissimilarity"].item()


def test_votes_are_eased(fixed: Volume) -> None:
    """Trilinear ones would let rounding grow, and stray farther from what the nearest neighbour says."""
    objective, flow = objective_of(fixed, Volume(np.roll(fixed.data, 1, axis=1), FIXED), np.eye(4))
    velocity, pair = bent(flow), objective.sides[0].pair
    maps = pair.to_grid, pair.fixed, pair.moving, pair.maps, N_LABELS
    trilinear, eased = (
        label_dissimilarity(
            *kernels.label_votes(flow(velocity)[1], *maps, ease=ease), pair.fixed_volume, pair.present
        ).item()
        for ease in (0.0, 1.0)
    )
    assert objective.terms(velocity, 0)["dissimilarity"].item() == pytest.approx(eased, rel=1e-9)
    assert abs(trilinear - eased) > 1e-3


def test_where_both_maps_lie_on_one_grid_the_patient_still_pulls(fixed: Volume) -> None:
    """Eased votes have no slope on a voxel, and here every point begins on one."""
    other = Volume(np.roll(fixed.data, 2, axis=0), FIXED)
    objective, flow = objective_of(fixed, other, np.eye(4))
    velocity = torch.zeros((3, *flow.grid.shape), requires_grad=True)
    terms = objective.terms(velocity, 1)
    (pull,) = torch.autograd.grad(terms["dissimilarity"], velocity)
    assert pull[0].sum() < 0  # forward along i, as the patient lies
    assert pull[0].sum().abs() > 3 * pull[1].sum().abs()


@pytest.mark.parametrize("turn", range(4))
def test_from_either_side_the_right_place_costs_less_than_a_place_beside_it(fixed: Volume, turn: int) -> None:
    moving = seen_through(AFFINE, scanner(AFFINE, np.diag([-1.9, 2.1, 2.0])))
    images = Intensities(fixed_texture(), native_texture())
    objective, flow = objective_of(fixed, moving, AFFINE, images)
    still = torch.zeros((3, *flow.grid.shape))
    right, beside = (objective.terms(velocity, turn) for velocity in (still, still + 0.75))
    assert right["dissimilarity"].item() < 0.6 * beside["dissimilarity"].item()
    assert right["image_dissimilarity"].item() < 0.05
    assert beside["image_dissimilarity"].item() > right["image_dissimilarity"].item() + 0.1


def test_from_the_patient_neither_labels_nor_images_of_lesions_are_compared(fixed: Volume) -> None:
    moving = seen_through(AFFINE, NATIVE)
    mask = native_ball((12.0, -10.0, 8.0), 7.0)
    objective, _ = objective_of(fixed, moving, AFFINE, Intensities(fixed_texture(), native_texture(), mask))
    side = objective.sides[1]
    space = crop_to_labels(fixed, 6.0).space
    apart = np.linalg.norm(space.voxel_centres_mm() - [12.0, -10.0, 8.0], axis=1).reshape(space.shape)
    left_out = side.pair.fixed.numpy() == kernels.LEFT_OUT
    assert left_out[apart < 6].all()
    assert not left_out[(apart > 8.5) & (apart < 15)].any()
    assert side.images is not None
    assert not side.images.counted.numpy()[apart < 9.2].any()
    assert side.images.counted.numpy()[(apart > 13) & (apart < 18)].all()
    assert side.left_out is None
    assert objective.sides[0].left_out is not None


def test_turns_go_to_the_atlas_and_to_the_patient_by_turns(fixed: Volume) -> None:
    """The gradient of each turn comes from its own side: seen alone, each would end elsewhere."""
    away = FIXED.voxel_centres_mm() + np.array([1.5, -1.0, 0.5])
    other = Volume(phantom(away).reshape(FIXED.shape), FIXED)
    objective, flow = objective_of(fixed, other, np.eye(4))
    velocity = bent(flow)
    told = [objective.terms(velocity, turn)["dissimilarity"].item() for turn in range(4)]
    assert (told[0], told[1]) == (told[2], told[3])
    assert told[0] != told[1]


def test_what_is_gained_is_gained_in_both_directions(fixed: Volume) -> None:
    wave = np.sin(FIXED.voxel_centres_mm() / 9.0) * 2.5
    other = Volume(phantom(FIXED.voxel_centres_mm() + wave[:, [1, 2, 0]]).reshape(FIXED.shape), FIXED)
    settings = RegistrationSettings(
        stages=(
            Stage(grid_mm=8.0, labels_mm=4.0, smoothing_mm=8.0, step_mm=1.0, iterations=12),
            Stage(grid_mm=4.0, labels_mm=2.0, smoothing_mm=2.0, step_mm=0.5, iterations=24),
        ),
        field_mm=2.0,
    )
    alignment = align_deformable(fixed, other, np.eye(4), settings)
    points = FIXED.voxel_centres_mm()
    shape = FIXED.shape
    there = phantom_at(other, alignment.fixed_to_moving(points)).reshape(shape)
    back = phantom_at(fixed, alignment.moving_to_fixed(points)).reshape(shape)
    before = overlap(fixed.data, other.data)
    assert overlap(fixed.data, there) > before + 0.05
    assert overlap(other.data, back) > before + 0.05
    assert overlap(other.data, back) == pytest.approx(overlap(fixed.data, there), abs=0.03)


def phantom_at(labels: Volume, points: np.ndarray) -> np.ndarray:
    voxels = np.rint(labels.space.world_to_voxel(points)).astype(int)
    inside = ((voxels >= 0) & (voxels < labels.space.shape)).all(axis=1)
    values = np.zeros(len(points), dtype=np.uint8)
    values[inside] = labels.data[tuple(voxels[inside].T)]
    return values


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    labels = [label for label in np.unique(one) if label]
    dice = [
        2 * ((one == label) & (other == label)).sum() / ((one == label).sum() + (other == label).sum())
        for label in labels
    ]
    return float(np.mean(dice))


@pytest.mark.parametrize("cut", [(40, 48, 44), (39, 47, 43)])
def test_background_is_left_out_beyond_eight_millimetres_to_a_voxel(
    fixed: Volume, cut: tuple[int, int, int]
) -> None:
    i, j, k = cut
    data = np.zeros(cut, dtype=np.uint8)
    data[18:22, 20:25, 19:23] = fixed.data[18:22, 20:25, 19:23]
    space = replace(FIXED, shape=cut)
    left = leave_out_far(Volume(data, space)).data
    occupied = np.argwhere(data > 0)
    grid = np.indices((i, j, k)).reshape(3, -1).T
    away = np.sqrt(((grid[:, None] - occupied[None, ::3]) ** 2).sum(axis=2).min(axis=1)).reshape(cut) * 2.0
    assert (left[data > 0] == data[data > 0]).all()
    assert (left[away > FAR_MM + 6] == kernels.LEFT_OUT).all()
    assert (left[(away < FAR_MM - 6) & (data == 0)] == 0).all()


def test_stages_with_images_of_one_spacing_share_them(fixed: Volume) -> None:
    box = crop_to_labels(fixed, 6.0)
    image = Volume(fixed.data.astype(np.float32), FIXED)
    brains = Brains(box, pad(fixed), np.eye(4), Intensities(image, image))
    grid = box.space.with_spacing(4.0)
    one, same, other = (brains.level(mm).from_patient(grid) for mm in (2.0, 2.0, 4.0))
    assert one.moving is same.moving
    assert other.moving.shape != one.moving.shape
    assert Brains(box, pad(fixed), np.eye(4), None).level(2.0) is None
