"""Tiny heads of 34 structures, as a lesson, and as files: a BIDS dataset, label maps, an atlas."""

import json
from pathlib import Path

import numpy as np
import pytest

from bidsapp.atlas.seganat import other_side, structures
from bidsapp.geometry.space import Space
from bidsapp.images.nifti import write_volume
from bidsapp.images.volume import Volume
from bidsapp.registration.grids import crop_to_labels
from bidsapp.registration.paper import distance_map
from bidsapp.training.loop import Lesson
from bidsapp.training.plan import TrainingPlan
from bidsapp.training.scans import TrainingScan, see_atlas

PLAN = TrainingPlan(
    objective="overlap", spacing_mm=10.0, steps=32, learning_rate=1e-3, largest_bend_mm=1.0, check_every=4
)
ATLAS = Space((24, 28, 26), np.array([[4.0, 0, 0, -46], [0, 4.0, 0, -54], [0, 0, 4.0, -50], [0, 0, 0, 1]]))
SCANNER = Space(
    (28, 30, 26), np.array([[0, 4.0, 0, 250], [-4.0, 0, 0.4, 60], [0, 0.4, 4.0, 40], [0, 0, 0, 1]])
)
ATLAS_TO_SCANNER = np.array([[1.0, 0, 0, 308], [0, 1.0, 0, 12], [0, 0, 1.0, 95], [0, 0, 0, 1]])
_SEEDS = np.random.default_rng(4).uniform(-1, 1, (34, 3)) * np.array([26, 32, 28])
_SIDES = np.array([{"left": -1, "right": 1, "none": 0}[part.hemisphere] for part in structures()[1:]])
_SEEDS = np.where(_SIDES[:, None] > 0, _SEEDS[np.array(other_side()[1:]) - 1], _SEEDS)
_SEEDS[:, 0] = _SIDES * np.abs(_SEEDS[:, 0])


def head(points_mm: np.ndarray) -> np.ndarray:
    """SegAnat label at each point of the atlas's world: an ellipsoid, cut into 34 cells."""
    x, y, z = points_mm.T
    cell = ((points_mm[:, None] - _SEEDS) ** 2).sum(axis=2).argmin(axis=1) + 1
    return np.where((x / 36) ** 2 + (y / 43) ** 2 + (z / 39) ** 2 < 1, cell, 0).astype(np.uint8)


def bent(points_mm: np.ndarray, number: int) -> np.ndarray:
    """Another head: its anatomy is displaced by up to 5 mm."""
    phase = np.random.default_rng(number).uniform(0, 6, 3)
    x, y, z = points_mm.T
    return points_mm + 5.0 * np.stack(
        [np.sin(y / 17 + phase[0]), np.sin(z / 15 + phase[1]), np.sin(x / 16 + phase[2])], axis=1
    )


def labels_of(number: int) -> Volume:
    """The head of one patient, in a scanner that sits and turns in its own way; 0 is the atlas."""
    if number == 0:
        return Volume(head(ATLAS.voxel_centres_mm()).reshape(ATLAS.shape), ATLAS)
    back = np.linalg.inv(ATLAS_TO_SCANNER)
    points = SCANNER.voxel_centres_mm() @ back[:3, :3].T + back[:3, 3]
    return Volume(head(bent(points, number)).reshape(SCANNER.shape), SCANNER)


def image_of(labels: Volume) -> Volume:
    brightness = np.r_[0.0, np.random.default_rng(1).uniform(200, 900, 34)]
    noise = np.random.default_rng(2).normal(0, 5, labels.space.shape)
    return Volume((brightness[labels.data] + noise).astype(np.float32), labels.space)


def scan(number: int, *, has_image: bool = True) -> TrainingScan:
    labels = labels_of(number)
    return TrainingScan(
        name=f"head{number}",
        participant=f"{number:02d}",
        image=image_of(labels) if has_image else None,
        labels=labels,
        codes=labels,
        depth=distance_map(labels),
        affine=ATLAS_TO_SCANNER,
    )


def make_lesson() -> Lesson:
    """Three heads to learn from, one of them without a scan, and one kept back."""
    atlas = labels_of(0)
    grid = crop_to_labels(atlas, 8.0).space.with_spacing(PLAN.spacing_mm)
    training = [scan(1), scan(2), scan(3, has_image=False)]
    return Lesson(see_atlas(image_of(atlas), atlas, grid), grid, training, [scan(4)])


@pytest.fixture(scope="session")
def lesson() -> Lesson:
    return make_lesson()


def _freesurfer(labels: Volume) -> Volume:
    codes = np.array([structure.freesurfer for structure in structures()], np.int16)
    return Volume(codes[labels.data], labels.space)


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An atlas, three patients and one label map more, as files."""
    root = tmp_path_factory.mktemp("training")
    names = {name: root / name for name in ("atlas", "bids", "segmentation", "label_maps")}
    for folder in names.values():
        folder.mkdir()
    write_volume(image_of(labels_of(0)), names["atlas"] / "tpl-Tiny_T1w.nii.gz")
    write_volume(_freesurfer(labels_of(0)), names["atlas"] / "tpl-Tiny_desc-aseg_dseg.nii.gz")
    write_volume(_freesurfer(labels_of(5)), names["label_maps"] / "head-05_dseg.nii.gz")
    for name in ("bids", "segmentation"):
        text = {"Name": name, "BIDSVersion": "1.10.0", "License": "CC0"}
        (names[name] / "dataset_description.json").write_text(json.dumps(text))
    for number in (1, 2, 3):
        for name, volume, ending in (
            ("bids", image_of(labels_of(number)), "T1w"),
            ("segmentation", _freesurfer(labels_of(number)), "desc-aseg_dseg"),
        ):
            path = names[name] / f"sub-{number:02d}" / "anat" / f"sub-{number:02d}_{ending}.nii.gz"
            path.parent.mkdir(parents=True)
            write_volume(volume, path)
    return names
