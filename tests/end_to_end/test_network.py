"""The network in place of the field, from a tiny untrained model, through the door bell."""

import json

import pandas as pd
import pytest

from bidsapp.registration.network.unet import VelocityNet
from bidsapp.registration.network.weights import GeneralModel, Provenance, to_bytes


@pytest.fixture(scope="module")
def networked(app, bids, tmp_path_factory):
    folder = tmp_path_factory.mktemp("network")
    provenance = Provenance(8.0, "MNI152NLin2009aSym", "overlap", 0, "0", "none")
    model = folder / "model.safetensors"
    model.write_bytes(to_bytes(GeneralModel(VelocityNet(seed=1), provenance)))
    options = [
        "--participant-label",
        "virtual01",
        "--sloppy",
        "--skip-bids-validation",
        "--lesion-handling",
        "mask",
    ]
    options += ["--parameterisation", "network", "--initial-model", str(model), "-w", str(folder / "w")]
    return app(bids, folder / "out", "participant", *options)


def test_the_network_is_over_fitted_and_its_costs_fall(networked):
    assert networked.status == 0, networked.stderr
    (path,) = networked.out.rglob("*convergence*.tsv")
    costs = pd.read_csv(path, sep="\t")
    assert costs["dissimilarity"].iloc[-1] < costs["dissimilarity"].iloc[0]
    assert (costs["lesion_preservation"] >= 0).all()


def test_every_image_says_how_lesions_were_handled_and_by_which_mask(networked):
    sidecars = [*networked.out.rglob("*label-lesion_mask.json"), *networked.out.rglob("*_dseg.json")]
    assert len(sidecars) >= 2
    for sidecar in sidecars:
        note = json.loads(sidecar.read_text())["LesionHandling"]
        assert note["Method"] == "mask"
        assert note["Mask"].endswith("_mask.nii.gz")


def test_the_page_says_so_too(networked):
    (page,) = networked.out.rglob("sub-virtual01*.html")
    assert "keep the size of their surroundings" in page.read_text(encoding="utf-8")
