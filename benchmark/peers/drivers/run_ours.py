"""python -m benchmark.peers.drivers.run_ours FOLDER: this package's engine on the native images."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmark.peers.drivers.stopwatch import read_options, weigh
from bidsapp.images.nifti import read_labels, read_volume
from bidsapp.registration.deformable import align_deformable
from bidsapp.registration.intensities import Intensities
from bidsapp.settings import RegistrationSettings


def main(folder: Path) -> None:
    """Register, and write ``alignment.npz``: both directions, on the grid of the velocity."""
    options = read_options(folder)
    torch.set_num_threads(options["threads"])
    fixed, moving = (read_labels(folder / f"{side}_native_labels.nii") for side in ("fixed", "moving"))
    affine = np.load(folder / "affine.npy")
    images = Intensities(*(read_volume(folder / f"{side}_native_t1w.nii") for side in ("fixed", "moving")))
    with weigh(folder, "metsatlas", "torch", "numba"):
        alignment = align_deformable(fixed, moving, affine, settings_of(options), images=images)
    np.savez(
        folder / "alignment.npz",
        grid=alignment.space.affine,
        displacement=alignment.displacement,
        inverse=alignment.inverse_displacement,
    )


def settings_of(options: dict[str, Any]) -> RegistrationSettings:
    """Choose a preset; ``last_iterations`` shortens its last stage, 0 leaves it out."""
    settings = RegistrationSettings.preset(options["preset"])
    last = options.get("last_iterations")
    if last is None:
        return settings
    *before, end = settings.stages
    return replace(settings, stages=(*before, replace(end, iterations=last)) if last else tuple(before))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
