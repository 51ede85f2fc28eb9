"""python -m benchmark.peers.drivers.run_fireants FOLDER: FireANTs greedy."""

import sys
from pathlib import Path
from typing import Any

import torch
from fireants.io import BatchedImages, Image
from fireants.registration.greedy import GreedyRegistration

from benchmark.peers.drivers.stopwatch import read_options, weigh


def main(folder: Path) -> None:
    """Register, and write ``displacement.nii``.

    ``device`` of the options says where (the processor unless it does), ``warm_ups`` how often before.
    """
    options = read_options(folder)
    device = options.get("device", "cpu")
    torch.set_num_threads(options["threads"])
    fixed, moving = (
        BatchedImages([Image.load_file(str(folder / f"{side}_t1w.nii"), device=device)])
        for side in ("fixed", "moving")
    )
    for _ in range(options.get("warm_ups", 0)):
        register(fixed, moving, options)
    with weigh(folder, "fireants", "torch"):
        registration = register(fixed, moving, options)
    registration.save_as_ants_transforms(str(folder / "displacement.nii"))


def register(fixed: BatchedImages, moving: BatchedImages, options: dict[str, Any]) -> GreedyRegistration:
    """Register once, and wait until it is done."""
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
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return registration


if __name__ == "__main__":
    main(Path(sys.argv[1]))
