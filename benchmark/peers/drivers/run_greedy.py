"""python -m benchmark.peers.drivers.run_greedy FOLDER: greedy, on T1w alone or with labels as a channel."""

import sys
from pathlib import Path

import picsl_greedy

from benchmark.peers.drivers.stopwatch import read_options, weigh


def main(folder: Path) -> None:
    """Register, and write ``displacement.nii`` and, if asked for, ``inverse.nii``.

    The saved field is not rounded (-wp 0). greedy reads and writes its files while it is weighed; they are
    not compressed.
    """
    options = read_options(folder)
    command = ["-d", "3", "-w", "1", "-i", f"{folder / 'fixed_t1w.nii'}", f"{folder / 'moving_t1w.nii'}"]
    if options.get("label_weight"):
        command += ["-w", str(options["label_weight"]), "-i"]
        command += [f"{folder / 'fixed_labels.nii'}", f"{folder / 'moving_labels.nii'}"]
    command += ["-m", *options["metric"].split(), "-n", options["iterations"], "-V", "0", "-wp", "0"]
    command += ["-threads", str(options["threads"]), "-o", f"{folder / 'displacement.nii'}"]
    if options.get("moving_mask"):
        command += ["-mm", f"{folder / 'moving_mask.nii'}"]
    if options.get("inverse"):
        command += ["-oinv", f"{folder / 'inverse.nii'}"]
    with weigh(folder, "picsl-greedy"):
        picsl_greedy.Greedy3D().execute(" ".join(command))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
