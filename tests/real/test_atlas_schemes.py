"""Label schemes on hand-drawn labels: two numberings of the same brain give the same map."""

from pathlib import Path

import numpy as np
import pytest

from bidsapp.atlas.pack import read_label_names
from bidsapp.atlas.schemes import detect_scheme, to_seganat
from bidsapp.images.nifti import read_labels

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
MANUAL = DATA / "scans" / "derivatives" / "manual"
HEADS = DATA / "heads_labels"


def subject(label, description):
    path = MANUAL / f"sub-{label}" / "anat" / f"sub-{label}_desc-{description}_dseg.nii.gz"
    if not path.is_file():
        pytest.skip(f"needs {path.name} of the shared data")
    return read_labels(path)


@pytest.mark.parametrize("label", ["oasis1000", "oasis1036"])
def test_both_numberings_of_one_brain_agree(label):
    freesurfer = to_seganat(subject(label, "aseg"), "freesurfer")
    neuromorphometrics = to_seganat(subject(label, "neuromorphometrics"), "neuromorphometrics")
    assert freesurfer.unmapped == {}
    assert neuromorphometrics.unmapped == {}
    first, second = freesurfer.labels.data, neuromorphometrics.labels.data
    brain = (first > 0) | (second > 0)
    assert (first == second)[brain].mean() > 0.999
    assert set(np.unique(first)) == set(range(34))  # the choroid plexus lies in the ventricle


@pytest.mark.parametrize(("description", "scheme"), [("aseg", "freesurfer"), ("neuromorphometrics",) * 2])
def test_the_scheme_is_told_from_codes_and_from_names(description, scheme):
    codes = set(np.unique(subject("oasis1000", description).data).tolist())
    assert detect_scheme(codes, None) == scheme
    assert detect_scheme(codes, read_label_names(MANUAL / f"desc-{description}_dseg.tsv")) == scheme


def test_a_map_of_the_whole_head_has_no_unknown_code():
    path = HEADS / "head-01_dseg.nii.gz"
    if not path.is_file():
        pytest.skip(f"needs {path.name} of the shared data")
    labels = read_labels(path)
    assert detect_scheme(set(np.unique(labels.data).tolist()), None) == "freesurfer"
    translation = to_seganat(labels, "freesurfer")
    assert translation.unmapped == {}
    assert set(np.unique(translation.labels.data)) == set(range(35))
