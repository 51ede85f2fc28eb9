"""python -m benchmark.peers.drivers.run_fireants FOLDER: FireANTs greedy on the processor."""

import sys
from pathlib import Path

import torch
from fireants.io import BatchedImages, Image
from fireants.registration.greedy import GreedyRegistration

from benchmark.peers.drivers.stopwatch import read_options, weigh


def main(folder: Path) -> None:
    """Register, and write ``displacement.nii``."""
    options = read_options(folder)
    torch.set_num_threads(options["threads"])
    fixed, moving = (
        BatchedImages([Image.load_file(str(folder / f"{side}_t1w.nii"), device="cpu")])
        for side in ("fixed", "moving")
    )
    with weigh(folder, "fireants", "torch"):
        registration = GreedyRegistration(
            scales=options["scales"],
            iterations=options["iterations"],
            fixed_images=fixed,
            moving_images=moving,
            cc_kernel_size=options["kernel"],
            optimizer_lr=options["step"],
            smooth_grad_sigma=options["gradient_sigma"],
            smooth_warp_sigma=options["warp_sigma"],
        )
        registration.optimize()
    registration.save_as_ants_transforms(str(folder / "displacement.nii"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
