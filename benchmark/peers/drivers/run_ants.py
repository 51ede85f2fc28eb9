"""python -m benchmark.peers.drivers.run_ants FOLDER: ANTs SyN, without an affine stage."""

import sys
from pathlib import Path

import ants

from benchmark.peers.drivers.stopwatch import read_options, weigh


def main(folder: Path) -> None:
    """Register, and give the fields of both directions, which SyN always makes, the names of all tools.

    ANTs writes and compresses them while it is weighed: it knows no other way.
    """
    options = read_options(folder)
    seen = {}
    if options.get("moving_mask"):
        seen = {"moving_mask": ants.image_read(str(folder / "moving_mask.nii")), "mask_all_stages": True}
    fixed, moving = (ants.image_read(str(folder / f"{side}_t1w.nii")) for side in ("fixed", "moving"))
    with weigh(folder, "antspyx"):
        found = ants.registration(
            *(fixed, moving, options["transform"]),
            initial_transform="Identity",
            outprefix=f"{folder / 'ants_'}",
            **seen,
        )
    for key, name in (("fwdtransforms", "displacement"), ("invtransforms", "inverse")):
        fields = [Path(path) for path in found[key] if path.endswith("Warp.nii.gz")]
        fields[0].rename(folder / f"{name}.nii.gz")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
