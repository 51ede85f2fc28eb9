"""python -m benchmark.peers.drivers.run_ours FOLDER: this package's engine on the native images."""

import sys
from dataclasses import replace
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmark.peers.drivers.stopwatch import read_options, weigh
from bidsapp.images.nifti import read_labels, read_volume
from bidsapp.registration.deformable import align_deformable
from bidsapp.settings import RegistrationSettings


def main(folder: Path) -> None:
    """Register, and write ``alignment.npz``: both directions, on the grid of the velocity."""
    options = read_options(folder)
    torch.set_num_threads(options["threads"])
    fixed, moving = (read_labels(folder / f"{side}_native_labels.nii") for side in ("fixed", "moving"))
    affine, seen = np.load(folder / "affine.npy"), images_of(folder)
    with weigh(folder, "metsatlas", "torch", "numba"):
        alignment = align_deformable(fixed, moving, affine, settings_of(options), **seen)
    np.savez(
        folder / "alignment.npz",
        grid=alignment.space.affine,
        displacement=alignment.displacement,
        inverse=alignment.inverse_displacement,
    )


def images_of(folder: Path) -> dict[str, Any]:
    """Give the engine both T1w images, if it looks at images."""
    if "images" not in signature(align_deformable).parameters:
        return {}
    intensities: Any = import_module("bidsapp.registration.intensities")
    sides = (read_volume(folder / f"{side}_native_t1w.nii") for side in ("fixed", "moving"))
    return {"images": intensities.Intensities(*sides)}


def settings_of(options: dict[str, Any]) -> RegistrationSettings:
    """Choose a preset; ``last_iterations`` shortens its last stage, 0 leaves it out."""
    plain: Any = RegistrationSettings
    settings: RegistrationSettings = plain.preset(options["preset"]) if hasattr(plain, "preset") else plain()
    last = options.get("last_iterations")
    if last is None:
        return settings
    *before, end = settings.stages
    return replace(settings, stages=(*before, replace(end, iterations=last)) if last else tuple(before))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
