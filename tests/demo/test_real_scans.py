import json
from pathlib import Path

import numpy as np
import pytest

from bidsapp.atlas.schemes import to_seganat
from bidsapp.bids.save import load_table, save_json, save_structures, save_text, save_volume
from bidsapp.demo.__main__ import main
from bidsapp.demo.real_scans import ImplantPlan
from bidsapp.errors import UsageError
from bidsapp.images.nifti import read_labels, read_volume
from bidsapp.images.volume import Volume

Scan = tuple[Volume, Volume]


def write_phantom(folder: Path, label: str, scan: Scan, *, with_labels: bool = True) -> None:
    t1w = Volume(scan[0].data.astype(np.int16), scan[0].space)
    save_volume(t1w, folder / f"sub-{label}" / "anat" / f"sub-{label}_T1w.nii.gz", {"EchoTime": 0.01})
    if with_labels:
        labels = scan[1].data.copy()
        labels[:2, :2, 0] = [[9, 13], [21, 33]]
        path = folder / "segs" / f"sub-{label}" / "anat" / f"sub-{label}_desc-aseg_dseg.nii.gz"
        save_structures(Volume(labels, scan[1].space), path, {})


@pytest.fixture
def dataset(tmp_path: Path, isotropic: Scan, oblique: Scan) -> Path:
    folder = tmp_path / "bids"
    description = {"Name": "Two balls", "BIDSVersion": "1.10.0", "Authors": ["A", "B"]}
    save_json(description, folder / "dataset_description.json")
    save_text("participant_id\tage\nsub-a\t40\nsub-b\t50\nsub-c\t60\n", folder / "participants.tsv")
    write_phantom(folder, "a", isotropic)
    write_phantom(folder, "b", oblique)
    write_phantom(folder, "c", isotropic, with_labels=False)
    return folder


def run_on(dataset: Path, out: Path, *options: str) -> int:
    return main(
        [
            *("implant-dataset", str(dataset), str(out), "-d", f"segs={dataset / 'segs'}", *options),
            *("--structures", "Putamen", "Cerebral Cortex", "--lesions-per-subject", "2", "2"),
        ]
    )


def test_a_dataset_gets_tumours_masks_labels_and_truth(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run_on(dataset, out) == 0
    truth = load_table(out / "sourcedata" / "truth" / "lesions.tsv")
    assert truth["participant_id"].tolist() == ["sub-a", "sub-a", "sub-b", "sub-b"]
    assert truth["structure"].tolist() == ["Putamen", "Cerebral Cortex"] * 2
    for label in "ab":
        anat = Path(f"sub-{label}") / "anat"
        t1w = read_volume(out / anat / f"sub-{label}_T1w.nii.gz")
        before = read_volume(dataset / anat / f"sub-{label}_T1w.nii.gz")
        mask = read_labels(out / "derivatives/lesions" / anat / f"sub-{label}_label-lesion_mask.nii.gz")
        labels = read_labels(out / "derivatives/segmentation" / anat / f"sub-{label}_desc-aseg_dseg.nii.gz")
        assert t1w.data.dtype == np.int16
        assert t1w.space == mask.space == labels.space == before.space
        assert (t1w.data[mask.data > 0] != before.data[mask.data > 0]).mean() > 0.9
        assert (labels.data[mask.data > 0] == 0).all()
        sidecar = json.loads((out / anat / f"sub-{label}_T1w.json").read_text())
        assert (sidecar["Virtual"], sidecar["EchoTime"]) == (True, 0.01)


def test_the_new_dataset_is_named_after_the_old_one_and_keeps_its_people(
    dataset: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run_on(dataset, out)
    description = json.loads((out / "dataset_description.json").read_text())
    assert description["Name"] == "Virtual lesions in: Two balls"
    assert description["Virtual"] is True
    assert description["Authors"] == ["A", "B"]
    assert (out / "participants.tsv").read_text() == "participant_id\tage\nsub-a\t40\nsub-b\t50\n"


def test_a_scan_gets_the_same_tumours_alone_as_among_others(dataset: Path, tmp_path: Path) -> None:
    run_on(dataset, tmp_path / "both")
    run_on(dataset, tmp_path / "one", "--participant-label", "b")
    name = "sub-b/anat/sub-b_T1w.nii.gz"
    assert (tmp_path / "both" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()


def test_scans_with_tumours_of_their_own_are_left_out(
    dataset: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run_on(dataset, tmp_path / "first")
    second = tmp_path / "second"
    assert main(["implant-dataset", str(tmp_path / "first"), str(second)]) == 18
    assert "sub-a_T1w.nii.gz has tumours of its own" in caplog.text
    assert "no scan of" in caplog.text
    assert not second.exists()


def test_one_scan_gets_tumours_of_the_sizes_asked_for(dataset: Path, tmp_path: Path) -> None:
    out = {name: tmp_path / f"x_{name}" for name in ("T1w.nii.gz", "mask.nii.gz", "dseg.nii.gz", "truth.tsv")}
    t1w, mask, dseg, truth = (str(path) for path in out.values())
    status = main(
        [
            *("implant", "--t1w", str(dataset / "sub-b/anat/sub-b_T1w.nii.gz")),
            *("--dseg", str(dataset / "segs/sub-b/anat/sub-b_desc-aseg_dseg.nii.gz")),
            *("--out-t1w", t1w, "--out-mask", mask, "--out-dseg", dseg, "--truth", truth),
            *("--seed", "4", "--lesions", "2", "--diameters", "6", "9", "--mass-effect", "2"),
            *("--structures", "Cerebral White Matter", "--inside", "wrong"),
        ]
    )
    assert status == 0
    table = load_table(Path(truth))
    assert table["diameter_mm"].tolist() == [6, 9]
    assert table["mass_effect_mm"].tolist() == [1.5, 2]
    labels = to_seganat(read_labels(Path(dseg)), "freesurfer").labels
    assert set(labels.data[read_labels(Path(mask)).data > 0]) <= {3, 4, 5, 6}


@pytest.mark.parametrize(
    ("options", "status"),
    [(["-d", "nothing"], 64), (["--seed", "-1"], 64), (["--lesions-per-subject", "3", "2"], 64)],
)
def test_a_contradictory_command_line_ends_with_usage(
    dataset: Path, tmp_path: Path, options: list[str], status: int
) -> None:
    assert main(["implant-dataset", str(dataset), str(tmp_path / "out"), *options]) == status


def test_impossible_plans_are_refused() -> None:
    with pytest.raises(UsageError, match="two rising numbers from 1 to 255 are needed, got \\(0, 3\\)"):
        ImplantPlan(n_lesions=(0, 3))
