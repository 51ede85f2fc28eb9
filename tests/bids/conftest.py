"""Tiny BIDS datasets: folders of empty files for the names, small volumes for the contents."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from bidsapp.geometry.space import Space
from bidsapp.images.nifti import write_volume
from bidsapp.images.volume import Volume
from bidsapp.settings import Selection

DESCRIPTION = {"Name": "tiny", "BIDSVersion": "1.10.0"}
OBLIQUE = np.array(
    [[1.4, -0.5, 0.2, -30.0], [0.6, 1.9, 0.1, 12.0], [-0.2, 0.1, 2.6, -7.0], [0.0, 0.0, 0.0, 1.0]]
)


@dataclass(frozen=True)
class TinyDataset:
    """A BIDS dataset under construction."""

    root: Path

    def touch(self, *names: str) -> None:
        """Make empty files: enough where only names are read."""
        for name in names:
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()

    def link_to_nothing(self, name: str) -> None:
        """Make what git-annex leaves of a file whose content was not fetched."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to("../../.git/annex/objects/nowhere")

    def write(self, name: str, text: str) -> Path:
        """Make a text file."""
        self.touch(name)
        (self.root / name).write_text(text, encoding="utf-8")
        return self.root / name

    def write_volume(self, name: str, data: np.ndarray, affine: np.ndarray = OBLIQUE) -> Path:
        """Make an image file."""
        self.touch(name)
        shape = (data.shape[0], data.shape[1], data.shape[2])
        write_volume(Volume(data, Space(shape, affine)), self.root / name)
        return self.root / name

    def describe(self, folder: str, maker: str = "by hand") -> Path:
        """Turn a folder into a derivative dataset."""
        content = {**DESCRIPTION, "DatasetType": "derivative", "GeneratedBy": [{"Name": maker}]}
        self.write(f"{folder}/dataset_description.json", json.dumps(content))
        return self.root / folder

    def select(self, **choices: object) -> Selection:
        """Choose from this dataset."""
        return Selection(bids_dir=self.root, **choices)  # type: ignore[arg-type]


@pytest.fixture
def dataset(tmp_path: Path) -> TinyDataset:
    """Give a raw dataset without participants, below folders whose names look like entities."""
    made = TinyDataset(tmp_path / "sub-99" / "ses-trap" / "acq-trap" / "bids")
    made.write("dataset_description.json", json.dumps(DESCRIPTION))
    return made
