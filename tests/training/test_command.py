"""metsatlas-train as a user meets it: files in, model and card out, one sentence when something is wrong."""

import json
from pathlib import Path

import pytest

from bidsapp.registration.network.weights import load_model
from bidsapp.training.command import main

COARSE = ("--spacing-mm", "8", "--steps", "3", "--check-every", "2", "--omp-nthreads", "1", "--device", "cpu")


def arguments(folders: dict[str, Path], out: Path, *more: str) -> list[str]:
    return [
        *(str(folders["bids"]), str(out)),
        *("-d", f"seg={folders['segmentation']}", "--atlas", str(folders["atlas"]), *COARSE, *more),
    ]


def test_a_dataset_gives_a_model_with_curves_and_a_card(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ("--label-maps", str(folders["label_maps"]), "--validation-label", "sub-03")
    assert main(arguments(folders, tmp_path, *more)) == 0, capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("README.md", "checkpoint.pt", "learning_curve.svg", "loss.json", "loss.tsv"),
        *("model.safetensors", "validation.json", "validation.tsv"),
    ]
    provenance = load_model(tmp_path / "model.safetensors").provenance
    assert (provenance.atlas, provenance.spacing_mm, provenance.steps) == ("Tiny", 8.0, 3)
    assert provenance.data_licence == "CC0"
    assert provenance.learnt_from is not None
    assert len(provenance.learnt_from) == 3
    assert {"01", "02"} < set(provenance.learnt_from)
    card = (tmp_path / "README.md").read_text()
    for words in (
        *("scans with label maps: 2", "label maps without a scan: 1", "scans kept back: 1"),
        *("Licence of the data: CC0", "After 3 steps", "| objective | paper |"),
    ):
        assert words in card
    described = json.loads((tmp_path / "loss.json").read_text())
    assert "pair_dissimilarity" in described
    assert len((tmp_path / "loss.tsv").read_text().splitlines()) == 4


def test_label_maps_alone_teach_a_model_that_sees_labels(folders: dict[str, Path], tmp_path: Path) -> None:
    (folders["label_maps"] / "again_dseg.nii.gz").write_bytes(
        (folders["label_maps"] / "head-05_dseg.nii.gz").read_bytes()
    )
    more = ("--label-maps", str(folders["label_maps"]), "--objective", "overlap", "--sees", "labels")
    judged = ("--participant-label", "03", "--validation-label", "03", "--bfloat16")
    assert main(arguments(folders, tmp_path, *more, *judged)) == 0
    (folders["label_maps"] / "again_dseg.nii.gz").unlink()
    model = load_model(tmp_path / "model.safetensors")
    assert model.provenance.sees == "labels"
    assert model.provenance.learnt_from == ("again_dseg", "head-05_dseg")
    card = (tmp_path / "README.md").read_text()
    for words in ("sees the labels of an atlas", "unseen heads at 4 mm", "scans with label maps: 0"):
        assert words in card


@pytest.mark.parametrize(
    ("more", "status", "words"),
    [
        (("--spacing-mm", "50"), 64, "the spacing must be 0.5 to 10 mm, got 50"),
        (("--learning-rate", "-1"), 64, "the learning rate must lie between 0 and 1"),
        (("--steps", "0"), 64, "training needs a step and a check"),
        (("--sees", "sounds"), 64, "metsatlas-train --help lists all options"),
        (("--objective", "other"), 64, "metsatlas-train --help lists all options"),
        (("--label-maps", "/nowhere"), 66, "must hold NIfTI files, got /nowhere"),
        (("--validation-label", "99"), 66, "sub-99 is not"),
        (("--participant-label", "01"), 64, "two heads a step, got 1"),
        (("-d", "other=/nowhere"), 66, "a derivative dataset must be a folder"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(
    folders: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    more: tuple[str, ...],
    status: int,
    words: str,
) -> None:
    assert main(arguments(folders, tmp_path, *more)) == status
    said = capsys.readouterr().err
    assert words in said
    assert said.startswith("metsatlas-train: ")
    assert not (tmp_path / "checkpoint.pt").exists()
