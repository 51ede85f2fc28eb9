"""Flipped sides, a collapsed tumour, no deformable step, a stranger's mask: each is made and is flagged."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from bidsapp.geometry.space import Space
from bidsapp.images.alignment import Alignment
from bidsapp.images.volume import Volume
from bidsapp.lesions.instances import find_lesions, instance_map
from bidsapp.lesions.table import LesionScan, lesion_table
from bidsapp.metrics.measurements import measure
from bidsapp.reports.participant import participant_checks
from bidsapp.reports.participant_page import ParticipantPage
from bidsapp.reports.verdict import Check, worst
from bidsapp.warped import warp_once
from tests.lesions.conftest import BareAtlas

SPACE = Space((44, 46, 40), np.array([[-4.0, 0, 0, 86], [0, 4, 0, -90], [0, 0, 4, -78], [0, 0, 0, 1.0]]))
POINTS = SPACE.voxel_centres_mm()
GREY = np.array([0, 200, 200, 120, 120, 20, 20, *[0] * 28], np.float32)
HERE = ((-30.0, 10.0, 14.0), (12.0, -32.0, -12.0), (-8.0, 28.0, 30.0))
STRANGE = ((-12.0, -14.0, 24.0), (-26.0, -14.0, -22.0), (26.0, -12.0, 20.0))
RADIUS = 9.0


def head(points: np.ndarray) -> np.ndarray:
    """Cortex, white matter and ventricles of both sides; the left ventricle is far larger: asymmetric."""
    radius = np.linalg.norm(points / np.array([66.0, 78.0, 66.0]), axis=1)
    right = points[:, 0] > 0
    labels = np.zeros(len(points), np.uint8)
    labels[radius < 1] = (3 + right)[radius < 1]
    labels[radius < 0.78] = (1 + right)[radius < 0.78]
    labels[np.linalg.norm(points - np.array([-22.0, 12, 0]), axis=1) < 17] = 5
    labels[np.linalg.norm(points - np.array([16.0, 12, 0]), axis=1) < 10] = 6
    return labels


def balls(centres: tuple[tuple[float, float, float], ...]) -> Volume:
    mask = np.zeros(len(POINTS), bool)
    for centre in centres:
        mask |= np.linalg.norm(POINTS - np.array(centre), axis=1) < RADIUS
    return Volume(mask.reshape(SPACE.shape), SPACE)


def on_grid(values: np.ndarray) -> Volume:
    return Volume(values.reshape(SPACE.shape), SPACE)


def mirrored(volume: Volume) -> Volume:
    """The same voxels under a header whose left and right are swapped."""
    return Volume(np.ascontiguousarray(volume.data[::-1]), volume.space)


@dataclass(frozen=True)
class Patient:
    t1w: Volume
    labels: Volume
    mask: Volume


def bend(points: np.ndarray) -> np.ndarray:
    """Where a point of the atlas lies in the patient: wider, shorter and shifted, unevenly."""
    x, y, z = points.T
    return np.stack([1.1 * x + 0.0006 * x**2, 0.92 * y, z + 6 + 3 * np.sin(y / 40)], axis=1)


def unbend(points: np.ndarray) -> np.ndarray:
    across, along, up = points.T
    y = along / 0.92
    x = (np.sqrt(1.1**2 + 4 * 0.0006 * across) - 1.1) / (2 * 0.0006)
    return np.stack([x, y, up - 6 - 3 * np.sin(y / 40)], axis=1)


def make_patient(**changes: Volume) -> Patient:
    labels = on_grid(head(unbend(POINTS)))
    mask = balls(HERE)
    noise = np.random.default_rng(2).normal(0, 6, SPACE.shape)
    t1w = Volume((GREY[labels.data] + noise + 260 * mask.data).astype(np.float32), SPACE)
    return replace(Patient(t1w, labels, mask), **changes)


def alignment_by(displacement: np.ndarray) -> Alignment:
    field = np.ascontiguousarray(displacement.T.reshape(3, *SPACE.shape), np.float32)
    return Alignment(np.eye(4), SPACE, field, -field)


def page_of(base: ParticipantPage, patient: Patient, alignment: Alignment) -> ParticipantPage:
    """Carry a patient through an alignment and measure it, as the participant level does."""
    fixed = on_grid(head(POINTS))
    atlas = BareAtlas(
        template=Volume(GREY[fixed.data], SPACE), labels=fixed, territories=None, perfusion=None
    )
    lesions = find_lesions(patient.mask, "binary")
    scan = LesionScan("01", None, lesions, SPACE, patient.labels)
    t1w, labels, mask = warp_once(patient, scan, alignment, atlas)
    still = warp_once(patient, scan, alignment.affine_only(), atlas)
    measured = measure(
        fixed,
        still[1],
        labels,
        displacement=alignment.displacement,
        inverse_displacement=alignment.inverse_displacement,
        space=SPACE,
    )
    return replace(
        base,
        template=atlas.template,
        warped_affine=still[0],
        warped=t1w,
        fixed_labels=fixed,
        warped_labels=labels,
        affine_labels=still[1],
        lesion_mask=mask,
        affine_lesion_mask=still[2],
        t1w=patient.t1w,
        native_lesion_mask=instance_map(lesions, SPACE),
        native_labels=patient.labels,
        jacobian=alignment.jacobian_determinant(),
        structures=measured.structures,
        summary={**measured.summary, "missing_structures": ""},
        lesions=lesion_table(scan, alignment, atlas),
        displacement_mm=alignment.displacement,
        affine=alignment.affine,
    )


@pytest.fixture
def checks_of(participant_page):
    def judge(patient: Patient, alignment: Alignment | None = None) -> dict[str, Check]:
        found = alignment or alignment_by(bend(POINTS) - POINTS)
        return {check.title: check for check in participant_checks(page_of(participant_page, patient, found))}

    return judge


def levels(checks: dict[str, Check], word: str) -> list[str]:
    return [check.level for title, check in checks.items() if word in title]


def test_without_a_mistake_the_verdict_is_pass(checks_of):
    checks = checks_of(make_patient())
    assert worst(checks.values()) == "pass", [check for check in checks.values() if check.level != "pass"]


def test_labels_whose_sides_are_swapped_fail(checks_of):
    labels = make_patient().labels
    swapped = np.where(labels.data > 0, ((labels.data.astype(int) - 1) ^ 1) + 1, 0).astype(np.uint8)
    checks = checks_of(make_patient(labels=Volume(swapped, SPACE)))
    assert levels(checks, "Left and right swapped") == ["fail"]
    assert worst(checks.values()) == "fail"


@pytest.mark.parametrize("which", ["t1w", "labels"])
def test_a_header_that_flips_one_of_the_two_files_fails(checks_of, which):
    flipped = mirrored(getattr(make_patient(), which))
    checks = checks_of(make_patient(**{which: flipped}))
    assert "fail" in levels(checks, "mirrored") + levels(checks, "swapped")
    assert worst(checks.values()) == "fail"


def test_an_affine_step_that_mirrors_fails(checks_of):
    straight = alignment_by(bend(POINTS) - POINTS)
    checks = checks_of(make_patient(), replace(straight, affine=np.diag([-1.0, 1.0, 1.0, 1.0])))
    assert levels(checks, "Mirrored") == ["fail"]


def test_a_collapsed_tumour_fails_though_the_overlap_is_good(checks_of):
    offset = POINTS - np.array([-27.0, 10.9, 8.0])
    inside = np.exp(-((np.linalg.norm(offset, axis=1) / 14) ** 2))
    collapsed = bend(POINTS) - POINTS + 0.9 * offset * inside[:, np.newaxis]
    checks = checks_of(make_patient(), alignment_by(collapsed))
    assert levels(checks, "Overlap") == ["pass"]
    assert levels(checks, "Volume factor") == ["fail"]
    assert worst(checks.values()) == "fail"


def test_an_alignment_that_stopped_after_the_affine_step_fails(checks_of):
    checks = checks_of(make_patient(), alignment_by(np.zeros_like(POINTS)))
    assert levels(checks, "Affine only") == ["fail"]
    assert levels(checks, "Gain +0.00") == ["look"]
    assert worst(checks.values()) == "fail"


def test_a_strangers_mask_inside_the_brain_asks_for_a_look(checks_of):
    checks = checks_of(make_patient(mask=balls(STRANGE)))
    assert levels(checks, "Mask fits the scan") == ["look"]
    assert levels(checks, "Volume factor") == ["pass"]


def test_a_strangers_mask_that_misses_the_brain_fails(checks_of):
    checks = checks_of(make_patient(mask=balls(((0.0, 0.0, 74.0), (66.0, 44.0, 10.0)))))
    (inside,) = levels(checks, "of lesions in the brain")
    assert inside in {"look", "fail"}
    assert worst(checks.values()) in {"look", "fail"}
