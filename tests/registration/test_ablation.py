"""The paper's ablation on a phantom: without the volume term a tumour that nobody masks collapses further."""

from dataclasses import replace

import numpy as np
import pytest

from bidsapp.images.volume import Volume
from bidsapp.registration.deformable import align_deformable
from bidsapp.settings import RegistrationSettings, Stage
from tests.registration.conftest import FIXED

CENTRE, RADIUS = np.array([16.0, 10.0, 16.0]), 8.0
STAGES = (
    Stage(grid_mm=8.0, labels_mm=2.0, smoothing_mm=8.0, step_mm=1.0, iterations=10),
    Stage(grid_mm=4.0, labels_mm=2.0, smoothing_mm=4.0, step_mm=0.5, iterations=30),
)


@pytest.fixture(scope="module")
def tumour() -> np.ndarray:
    return np.linalg.norm(FIXED.voxel_centres_mm() - CENTRE, axis=1).reshape(FIXED.shape) < RADIUS


def test_without_the_volume_term_a_hole_in_the_labels_shrinks_further(fixed, tumour):
    patient = Volume(np.where(tumour, 0, fixed.data).astype(np.uint8), FIXED)
    points = FIXED.voxel_centres_mm()[tumour.ravel()]
    settings = RegistrationSettings(stages=STAGES, field_mm=2.0, volume_weight=1.0)
    sizes = [
        float(align_deformable(fixed, patient, np.eye(4), chosen).growth_at(points).mean())
        for chosen in (settings, replace(settings, volume_weight=0.0))
    ]
    assert sizes[1] < sizes[0] - 0.02
    assert sizes[1] < 0.97
