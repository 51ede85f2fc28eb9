"""metsatlas-train: train a general model on a BIDS dataset with label maps."""

# ruff: noqa: PLC0415 - heavy rooms are entered when they are needed: --help must be quick, and threads must be
# set before numpy, torch and numba are first imported.

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from bidsapp.errors import MetsAtlasError, MissingInputError, UsageError
from bidsapp.execution.device import settle_device
from bidsapp.execution.resources import available_cpus, make_scratch, prepare_environment, scratch_folder
from bidsapp.execution.stopping import stop_on_signals
from bidsapp.settings import SIGHTS, RegistrationSettings, Selection
from bidsapp.training.plan import OBJECTIVES, TrainingPlan

if TYPE_CHECKING:
    from bidsapp.atlas.pack import AtlasPack
    from bidsapp.training.scans import TrainingScan

logger = logging.getLogger(__name__)


def run() -> NoReturn:
    """Train on what the command line names, and end the process with its exit status."""
    stop_on_signals()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("numba").setLevel(logging.WARNING)
    sys.exit(main(sys.argv[1:]))


def main(argv: Sequence[str]) -> int:
    """Train, and say in one line what the user can mend.

    Parameters
    ----------
    argv
        Arguments without the program's name.

    Returns
    -------
    exit_status
        0 when all went well; see `bidsapp.errors` for the others.
    """
    try:
        options = _parser().parse_args(argv)
        _train(options)
    except MetsAtlasError as error:
        sys.stderr.write(f"metsatlas-train: {' '.join(str(error).split())}\n")
        return error.exit_status
    return 0


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; metsatlas-train --help lists all options")


def _parser() -> argparse.ArgumentParser:
    """Describe the command line; names are those of the app wherever they mean the same."""
    default = TrainingPlan()
    parser = _Parser(
        prog="metsatlas-train",
        description="Train a network that aligns any scan to the atlas. Killed at any moment, the same line "
        "goes on from the last checkpoint.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("bids_dir", type=Path, help="the BIDS dataset; nothing is written there")
    add("output_dir", type=Path, help="folder for checkpoint, curves, weights and model card")
    add("-d", "--derivatives", nargs="+", action="extend", default=[], metavar="NAME=PATH", help="label maps")
    add("--participant-label", nargs="+", default=[], metavar="LABEL", help="default: all")
    add("--validation-label", nargs="+", default=[], metavar="LABEL", help="kept back; default: every fifth")
    add("--label-maps", type=Path, metavar="FOLDER", help="more heads: FreeSurfer label maps without scans")
    add("--atlas", type=Path, metavar="FOLDER", help="your own atlas; default: MNI152NLin2009aSym, embedded")
    add("--objective", choices=OBJECTIVES, default=default.objective, help=f"default: {default.objective}")
    add(
        "--sees", choices=SIGHTS, default=default.sees, help=f"what the network sees; default: {default.sees}"
    )
    add("--spacing-mm", type=float, default=default.spacing_mm, help=f"default: {default.spacing_mm:g}")
    add("--steps", type=int, default=default.steps, help=f"default: {default.steps}")
    add(
        "--learning-rate", type=float, default=default.learning_rate, help=f"default: {default.learning_rate}"
    )
    add("--check-every", type=int, default=default.check_every, help="steps between two checkpoints")
    add("--bfloat16", action="store_true", help="on a processor, too: half the time where it can")
    add("--saves-memory", action="store_true", help="gradient checkpointing: slower, less memory")
    add("--data-licence", metavar="TEXT", help="for the model card; default: License of the dataset")
    add("--random-seed", type=int, default=default.random_seed, help="default: 0")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: auto")
    add("--omp-nthreads", type=int, metavar="N", help="default: the processors we may use")
    return parser


def _train(options: argparse.Namespace) -> None:
    """Collect, train, write."""
    plan = TrainingPlan(
        objective=options.objective,
        sees=options.sees,
        spacing_mm=options.spacing_mm,
        steps=options.steps,
        learning_rate=options.learning_rate,
        check_every=options.check_every,
        bfloat16=options.bfloat16,
        saves_memory=options.saves_memory,
        random_seed=options.random_seed,
    )
    n_threads = options.omp_nthreads or available_cpus(os.environ)
    scratch = scratch_folder(os.environ)
    make_scratch(scratch)
    prepare_environment(os.environ, work_dir=scratch, n_threads=n_threads)
    device = settle_device(options.device)
    logger.info("metsatlas-train %s; device %s; %d thread(s)", version("metsatlas"), device.words, n_threads)
    import torch

    from bidsapp.atlas.builtin import load_builtin
    from bidsapp.atlas.pack import load_pack
    from bidsapp.registration.grids import crop_to_labels
    from bidsapp.registration.network.weights import GeneralModel, Provenance
    from bidsapp.training.loop import Lesson, train
    from bidsapp.training.outputs import save_model
    from bidsapp.training.scans import see_atlas

    torch.set_num_threads(n_threads)
    atlas = load_pack(options.atlas) if options.atlas else load_builtin()
    learnt, kept_back = _collect(options, atlas, device.name)
    grid = crop_to_labels(atlas.labels, RegistrationSettings().margin_mm).space.with_spacing(plan.spacing_mm)
    lesson = Lesson(see_atlas(atlas.template, atlas.labels, grid), grid, learnt, kept_back)
    network, state = train(lesson, plan, options.output_dir, device.name)
    provenance = Provenance(
        spacing_mm=plan.spacing_mm,
        atlas=atlas.name,
        objective=plan.objective,
        steps=state.step,
        app_version=version("metsatlas"),
        data_licence=options.data_licence or _licence(options.bids_dir),
        sees=plan.sees,
        learnt_from=tuple(sorted({scan.participant or scan.name for scan in learnt})),
    )
    data = {
        "scans with label maps": sum(scan.image is not None for scan in learnt),
        "label maps without a scan": sum(scan.image is None for scan in learnt),
        "scans kept back": len(kept_back),
    }
    save_model(GeneralModel(network, provenance), plan, state, data, options.output_dir)
    logger.info("the model is in %s", options.output_dir)


def _collect(
    options: argparse.Namespace, atlas: "AtlasPack", device: str
) -> tuple[list["TrainingScan"], list["TrainingScan"]]:
    """Load all heads, and keep some participants back."""
    from bidsapp.training.collect import collect_label_maps, collect_scans, split

    selection = Selection(
        bids_dir=options.bids_dir.resolve(),
        participants=tuple(label.removeprefix("sub-") for label in options.participant_label),
        derivatives=dict(_named(text) for text in options.derivatives),
    )
    scans = collect_scans(selection, atlas, device)
    if options.label_maps:
        scans += collect_label_maps(options.label_maps, atlas, device)
    learnt, kept_back = split(scans, [label.removeprefix("sub-") for label in options.validation_label])
    if len(learnt) < 2:
        raise UsageError(
            f"training compares two heads a step, got {len(learnt)} to learn from: give more scans or "
            "--label-maps, or keep fewer back"
        )
    return learnt, kept_back


def _named(text: str) -> tuple[str, Path]:
    """Read NAME=PATH; a bare PATH is called like its folder."""
    name, equals, path = text.rpartition("=")
    folder = Path(path).resolve()
    if not folder.is_dir():
        raise MissingInputError(f"a derivative dataset must be a folder, got {folder}: check the path")
    return (name if equals else folder.name), folder


def _licence(bids_dir: Path) -> str:
    from bidsapp.bids.description import read_description

    return str(read_description(bids_dir).get("License") or "not stated")


if __name__ == "__main__":
    run()
