"""What a user can get wrong: one clear line, the right status, and nothing half-written."""

import html
import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("end_to_end")]

# What is wrong with each participant -> what the line about it says
WRONG = {
    "text": "no NIfTI or MGZ image",
    "four": "must hold one image with three axes",
    "nan": "NaN",
    "short": "truncated",
    "elsewhere": "the lesion mask must lie where the T1w lies",
    "tissues": "a lesion mask must hold 0 and 1",
    "otherhead": "the label map must lie where the T1w lies",
    "garbage": "label map must",
    "unlabelled": "must have an anatomical label map",
}


def spoil(t1w: Path, labels: Path, mask: Path, what: str) -> None:
    """Make one thing wrong with a participant."""
    if what == "text":
        t1w.write_text("no image", encoding="utf-8")
    elif what == "short":
        t1w.write_bytes(t1w.read_bytes()[:20_000])
    elif what == "unlabelled":
        labels.unlink()
    else:
        path = {"four": t1w, "nan": t1w, "elsewhere": mask, "tissues": mask}.get(what, labels)
        image = nib.load(path)
        data, affine = np.asarray(image.dataobj), image.affine
        if what == "four":
            data = np.stack([data[::3, ::3, ::3]] * 2, axis=-1)
        elif what == "nan":
            data = data.astype(np.float32)
            data[4, 5, 6] = np.nan
        elif what == "tissues":
            data = data.astype(np.uint8) * 3
            data[0, 0, 0] = 1
        elif what == "garbage":
            data = np.random.default_rng(1).permutation(data.ravel()).reshape(data.shape)
        else:
            affine = affine.copy()
            affine[:3, 3] += 500.0
        nib.save(nib.Nifti1Image(data, affine), path)


@pytest.fixture(scope="session")
def wrong_bids(bids, tmp_path_factory):
    """As many participants as there are mistakes, each a copy of one scan with one thing wrong."""
    folder = tmp_path_factory.mktemp("wrong") / "bids"
    parts = (Path(), Path("derivatives", "segmentation"), Path("derivatives", "lesions"))
    for part in parts:
        (folder / part).mkdir(parents=True)
        shutil.copy(bids / part / "dataset_description.json", folder / part)
    for label in WRONG:
        for part in parts:
            for path in (bids / part / "sub-virtual01" / "anat").glob("*_run-2_*"):
                copy = folder / part / f"sub-{label}" / "anat" / path.name.replace("virtual01", label)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, copy)
        t1w, labels, mask = (
            next((folder / part / f"sub-{label}" / "anat").glob("*.nii.gz")) for part in parts
        )
        spoil(t1w, labels, mask, label)
    return folder


@pytest.fixture(scope="session")
def wrong(app, wrong_bids):
    """All of them in one run."""
    out = wrong_bids.parent / "out"
    return app(wrong_bids, out, "participant", "--sloppy", "--skip-bids-validation", "--omp-nthreads", "1")


def test_bad_data_alone_end_the_run_with_65(wrong):
    assert wrong.status == 65
    assert f"0 ok, {len(WRONG)} failed" in wrong.stderr.splitlines()[-1]
    assert "Traceback" not in wrong.stderr
    assert "unexpected" not in wrong.stderr


@pytest.mark.parametrize("label", WRONG)
def test_each_mistake_gets_one_line_and_a_page_and_leaves_no_other_file(wrong, label):
    lines = [line for line in wrong.stderr.splitlines() if line.startswith(f"sub-{label}") and ": " in line]
    said = [line for line in lines if " failed: " not in line]
    assert len(said) == 1, lines
    assert WRONG[label] in said[0]
    assert [path for path in (wrong.out / f"sub-{label}").rglob("*") if path.is_file()] == []
    (page,) = wrong.out.glob(f"sub-{label}*.html")
    assert html.escape(WRONG[label]) in page.read_text(encoding="utf-8")


def test_nothing_temporary_is_left(wrong, first, second):
    for out in (wrong.out, first.out, second.out):
        hidden = [path.name for path in out.rglob(".*") if path.name != ".bidsignore"]
        assert hidden == []


def refused(run, status, *words):
    """Check that a run ended before it began, with one line on stderr."""
    assert run.status == status, run.stderr
    lines = run.stderr.strip().splitlines()
    assert lines[-1].startswith("metsatlas: ")
    assert "Traceback" not in run.stderr
    for word in words:
        assert word in lines[-1]


def test_a_text_file_as_scan_is_no_valid_bids(app, wrong_bids, tmp_path):
    run = app(wrong_bids, tmp_path / "out", "participant")
    refused(run, 16, "sub-text_ce-gadolinium_run-2_T1w.nii.gz", "--skip-bids-validation")
    assert not (tmp_path / "out").exists()


def test_a_missing_folder(app, tmp_path):
    refused(app(tmp_path / "nowhere", tmp_path / "out", "participant"), 66, "there is nothing", "mounted")
    assert not (tmp_path / "out").exists()


def test_an_unknown_participant(app, bids, tmp_path):
    options = ("--participant-label", "virtual99", "--skip-bids-validation")
    refused(app(bids, tmp_path / "out", "participant", *options), 66, "sub-virtual99", "virtual01")
    assert not (tmp_path / "out").exists()


def test_an_unknown_level(app, bids, tmp_path):
    refused(app(bids, tmp_path / "out", "everything"), 17, "participant or group")


def test_two_derivative_datasets_of_one_name(app, bids, tmp_path):
    segmentation, lesions = bids / "derivatives" / "segmentation", bids / "derivatives" / "lesions"
    options = ("-d", f"mine={segmentation}", f"mine={lesions}")
    refused(app(bids, tmp_path / "out", "participant", *options), 64, "a name of its own", "-d NAME=PATH")
    assert not (tmp_path / "out").exists()


def test_an_output_folder_that_cannot_be_made(app, bids, tmp_path):
    (tmp_path / "in_the_way").write_text("a file", encoding="utf-8")
    out = tmp_path / "in_the_way" / "out"
    refused(app(bids, out, "participant", "--skip-bids-validation", "-w", str(tmp_path / "work")), 73)
    assert (tmp_path / "in_the_way").read_text(encoding="utf-8") == "a file"


def test_a_group_before_its_participants(app, bids, tmp_path):
    refused(app(bids, tmp_path / "out", "group"), 66, "run the participant level first")


def test_a_dry_run_writes_nothing(app, wrong_bids, tmp_path):
    run = app(wrong_bids, tmp_path / "out", "participant", "--dry-run")
    assert run.status == 0
    assert len(json.loads(run.stdout)["scans"]) == len(WRONG)
    assert not (tmp_path / "out").exists()
