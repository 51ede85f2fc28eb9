import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import generate_binary_structure, label, map_coordinates

from bidsapp.atlas.builtin import load_builtin
from bidsapp.atlas.schemes import to_seganat
from bidsapp.bids.find import find_scans
from bidsapp.bids.save import load_table
from bidsapp.demo.cohort import CohortPlan, draw_patient_places, write_cohort
from bidsapp.demo.mass_effect import undo_all
from bidsapp.demo.true_map import TrueMap, load_true_map
from bidsapp.errors import OutputError, UsageError
from bidsapp.images.nifti import read_labels, read_volume
from bidsapp.images.volume import Volume
from bidsapp.settings import Selection

SCAN = "sub-virtual01_ce-gadolinium"


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "cohort"
    write_cohort(folder, CohortPlan(n_subjects=1, seed=5, n_lesions=(6, 6)))
    return folder


@pytest.fixture(scope="module")
def truth(cohort: Path) -> pd.DataFrame:
    return load_table(cohort / "sourcedata" / "truth" / "lesions.tsv")


@pytest.fixture(scope="module")
def true_map(cohort: Path) -> TrueMap:
    return load_true_map(cohort / "sourcedata" / "truth" / "sub-virtual01_truth.npz")


def derivative(cohort: Path, name: str, ending: str) -> Path:
    return cohort / "derivatives" / name / "sub-virtual01" / "anat" / f"{SCAN}_{ending}.nii.gz"


def test_the_cohort_is_valid_bids(cohort: Path) -> None:
    done = subprocess.run(
        [
            Path(sys.executable).with_name("bids-validator-deno"),
            "--recursive",
            "--format",
            "json",
            str(cohort),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    reports = json.loads(done.stdout)
    parts = [reports, *reports.get("derivativesSummary", {}).values()]
    issues = [issue for part in parts for issue in part["issues"]["issues"]]
    assert len(parts) == 3
    assert [issue for issue in issues if issue["severity"] == "error"] == []


def test_everything_says_that_it_is_virtual(cohort: Path) -> None:
    described = [*cohort.rglob("dataset_description.json"), *cohort.rglob("sub-*.json")]
    assert len(described) == 3 + 4
    assert all(json.loads(path.read_text())["Virtual"] is True for path in described)
    assert "virtual" in json.loads((cohort / "dataset_description.json").read_text())["Name"]


def test_the_door_finds_the_enhanced_scan_with_its_label_map_and_mask(cohort: Path) -> None:
    (files,) = find_scans(Selection(bids_dir=cohort), "virtual01")
    assert files.t1w.name == f"{SCAN}_T1w.nii.gz"
    assert files.labels == derivative(cohort, "segmentation", "desc-aseg_dseg")
    assert files.lesion_mask == derivative(cohort, "lesions", "label-lesion_mask")


def test_true_centres_are_the_masks_centres_seen_through_the_true_map(
    cohort: Path, truth: pd.DataFrame, true_map: TrueMap
) -> None:
    mask = read_labels(derivative(cohort, "lesions", "label-lesion_mask"))
    instances, n = label(mask.data, generate_binary_structure(3, 3))
    assert n == len(truth) == 6
    centres = np.array(
        [
            mask.space.voxel_to_world(np.argwhere(instances == number + 1).astype(float)).mean(axis=0)
            for number in range(n)
        ]
    )
    told = truth[["x_mm", "y_mm", "z_mm"]].to_numpy(float)
    distances = np.linalg.norm(centres[:, None] - told[None], axis=2)
    assert distances.min(axis=1).max() < 0.01
    in_atlas = truth[["atlas_x_mm", "atlas_y_mm", "atlas_z_mm"]].to_numpy(float)
    np.testing.assert_allclose(true_map.moving_to_fixed(told), in_atlas, atol=0.01)


def test_lesions_are_round_and_of_the_size_told(truth: pd.DataFrame) -> None:
    sphere = np.pi / 6 * truth["diameter_mm"] ** 3
    assert (truth["volume_mm3"] / sphere).between(0.8, 1.2).all()
    assert truth["volume_mm3"].sum() == pytest.approx(sphere.sum(), rel=0.05)


def test_the_native_labels_are_the_atlas_labels_at_the_true_place(cohort: Path, true_map: TrueMap) -> None:
    codes = read_labels(derivative(cohort, "segmentation", "desc-aseg_dseg"))
    native = to_seganat(codes, "freesurfer").labels
    inside = read_labels(derivative(cohort, "lesions", "label-lesion_mask")).data > 0
    atlas = load_builtin().labels
    index = np.argwhere((native.data > 0) & ~inside)[::97].astype(float)
    points = native.space.voxel_to_world(index)
    voxels = atlas.space.world_to_voxel(true_map.moving_to_fixed(points)).T
    found = map_coordinates(atlas.data, voxels, order=0)
    own = native.data[tuple(index.astype(int).T)]
    still = np.linalg.norm(undo_all(true_map.mass_effects, points) - points, axis=1) == 0
    np.testing.assert_array_equal(found[still], own[still])
    assert (found == own).mean() > 0.97


def test_the_plain_scan_shows_the_same_tumours_dark(cohort: Path) -> None:
    mask = read_labels(derivative(cohort, "lesions", "label-lesion_mask")).data > 0
    folder = cohort / "sub-virtual01" / "anat"
    enhanced, plain = (read_volume(folder / f"{name}_T1w.nii.gz") for name in (SCAN, "sub-virtual01"))
    assert plain.space == enhanced.space

    def brightness(scan: Volume) -> float:
        return float(np.median(scan.data[mask]) / np.median(scan.data[scan.data > 0]))

    assert brightness(enhanced) > 1.1
    assert brightness(plain) < 0.95


def test_the_rates_are_written_with_their_probabilities(cohort: Path) -> None:
    rates = json.loads((cohort / "sourcedata" / "truth" / "rates.json").read_text())
    assert rates["RelativeRates"]["Putamen"] == 4.0
    assert sum(rates["Probabilities"].values()) == pytest.approx(1.0)
    volumes = rates["VolumesMm3"]
    odds = rates["Probabilities"]["Putamen"] / rates["Probabilities"]["Thalamus"]
    assert odds == pytest.approx(4.0 * volumes["Putamen"] / volumes["Thalamus"])


def test_the_same_seed_gives_the_same_bytes(cohort: Path, tmp_path: Path) -> None:
    write_cohort(tmp_path / "again", CohortPlan(n_subjects=1, seed=5, n_lesions=(6, 6)))
    for path in cohort.rglob("*"):
        if path.is_file():
            assert (tmp_path / "again" / path.relative_to(cohort)).read_bytes() == path.read_bytes(), path


def test_clustering_makes_one_patients_metastases_share_regions() -> None:
    volumes = {"Putamen": 1.0, "Thalamus": 1.0}
    rates = {"Putamen": 1.0, "Thalamus": 1.0}

    def draws(clustering: float) -> list[tuple[str, ...]]:
        plan = CohortPlan(rates=rates, clustering=clustering, n_lesions=(2, 2))
        return [draw_patient_places(plan, volumes, np.random.default_rng(seed)) for seed in range(2000)]

    for clustering in (0.0, 0.4):
        pairs = draws(clustering)
        same = np.mean([first == second for first, second in pairs])
        assert same == pytest.approx(0.5 + clustering / 2, abs=0.04)
        counts = Counter(name for pair in pairs for name in pair)
        assert counts["Putamen"] / 4000 == pytest.approx(0.5, abs=0.04)


def test_a_folder_that_holds_something_is_refused(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(OutputError, match="needs a new or empty folder"):
        write_cohort(tmp_path, CohortPlan(n_subjects=1))
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


@pytest.mark.parametrize(
    ("choices", "complaint"),
    [
        ({"n_subjects": 0}, "1 to 99 subjects"),
        ({"seed": -1}, "a seed from 0"),
        ({"clustering": 1.0}, "clustering must be from 0 to below 1, got 1"),
        ({"n_lesions": (3, 2)}, "two rising numbers"),
    ],
)
def test_impossible_plans_are_refused(choices: dict[str, object], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        CohortPlan(**choices)
