"""A tumour that nobody masks, on a phantom: what its size owes to the volume term, and to the suspicion."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bidsapp.aligning import find_start, over_fit
from bidsapp.images.volume import Volume
from bidsapp.lesions.handling import Guide, guide
from bidsapp.registration.deformable import align_deformable
from bidsapp.settings import RegistrationSettings, RunSettings, Selection, Stage
from tests.lesions.conftest import BareAtlas
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


def brightness(labels: Volume) -> np.ndarray:
    """White matter bright, grey matter less, fluid and what lies outside dark."""
    values = np.full(35, 85.0)
    values[[0, 1, 2, 5, 6, 31]] = 10, 110, 110, 40, 40, 40
    return values[labels.data].astype(np.float32)


@pytest.mark.parametrize("in_tumour", [150.0, 60.0], ids=["bright", "dark"])
def test_a_hole_in_the_labels_keeps_its_size_because_it_is_suspected(fixed, tumour, in_tumour):
    template = Volume(brightness(fixed), FIXED)
    t1w = Volume(np.where(tumour, in_tumour, template.data).astype(np.float32), FIXED)
    atlas = BareAtlas(labels=fixed, template=template)
    settings = RunSettings(
        selection=Selection(bids_dir=Path()), output_dir=Path(), work_dir=Path(), preset="fast"
    )
    known = guide(Volume(np.where(tumour, 0, fixed.data).astype(np.uint8), FIXED), None, "auto")
    suspected, start = find_start(fixed, t1w, known)
    ring = (np.linalg.norm(FIXED.voxel_centres_mm() - CENTRE, axis=1) < RADIUS + 10) & ~tumour.ravel()

    def growth(guided: Guide) -> float:
        alignment = over_fit(t1w, guided, start, atlas, settings)
        inside, around = (FIXED.voxel_centres_mm()[which] for which in (tumour.ravel(), ring))
        return float(alignment.growth_at(inside).mean() / alignment.growth_at(around).mean())

    assert growth(suspected) > 0.85
    assert growth(known) < 0.7
