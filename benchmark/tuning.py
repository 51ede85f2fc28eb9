"""python -m benchmark.tuning: search the registration's weights on some scans, judge them on others."""

import argparse
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from benchmark.cases import CaseSkippedError
from benchmark.heldout import GROUPS
from benchmark.measure import RESULTS
from benchmark.peers.cases import Case, case_names, load_case
from benchmark.peers.common_grid import still
from benchmark.peers.score import score_structures, shared_structures
from benchmark.provenance import describe_provenance
from benchmark.running import ROOT
from bidsapp.bids.save import save_json
from bidsapp.errors import MetsAtlasError
from bidsapp.metrics.deformation import inverse_error_mm
from bidsapp.registration.affine import align_affine
from bidsapp.registration.deformable import align_deformable
from bidsapp.registration.intensities import Intensities
from bidsapp.settings import RegistrationSettings

WORK = ROOT / ".cache" / "tuning"
LEFT_OUT = (*GROUPS["hippocampus"], *GROUPS["putamen"])
"""Structures that drive nothing and are scored: what the other labels and the images do for them."""

TOLERATED_MM = 0.1
RANGES: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "smoothness_weight": (0.002, 0.08),
        "curvature_weight": (0.01, 0.4),
        "volume_weight": (0.005, 0.6),
        "coarse_image_weight": (0.5, 5.0),
        "fine_image_weight": (0.005, 0.2),
    }
)
"""What is searched, on logarithmic scales; the image term weighs alike in all stages but the last."""

SEED = 0
logger = logging.getLogger("benchmark")


def main(arguments: Sequence[str] | None = None) -> int:
    """Go on with the study, judge its best weights and the default ones, and keep everything."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(prog="python -m benchmark.tuning", description=__doc__)
    parser.add_argument("--trials", type=int, default=20, metavar="N", help="of the whole study; default: 20")
    parser.add_argument("--scans", type=int, default=2, metavar="N", help="held-in scans a trial; default: 2")
    parser.add_argument("--judges", type=int, default=4, metavar="N", help="held-out scans; default: 4")
    parser.add_argument("--work", type=Path, default=WORK, metavar="FOLDER", help="the study as far as it is")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER", help="where the JSON goes")
    options = parser.parse_args(arguments)
    try:
        provenance = describe_provenance("python -m benchmark.tuning")
        held_in, held_out = split([name for name in case_names() if name.startswith("sub-")])
        held_in, held_out = held_in[: options.scans], held_out[: options.judges]
        study = search(held_in, options.trials, options.work)
        save_json(
            {"provenance": provenance, **conclude(study, held_in, held_out)}, options.results / "tuning.json"
        )
    except CaseSkippedError as reason:
        logger.warning("skipped, %s", reason)
    except MetsAtlasError as error:
        logger.error("%s", error)  # noqa: TRY400 (one clear line, no traceback)
        return error.exit_status
    return 0


def split(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Set every second scan apart, in the order of their names.

    Examples
    --------
    >>> split(["c", "a", "b"])
    (['a', 'c'], ['b'])
    """
    return sorted(names)[::2], sorted(names)[1::2]


def search(held_in: Sequence[str], n_trials: int, work: Path) -> optuna.Study:
    """Go on with a study until it has `n_trials`, the first of them the default weights."""
    work.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(work / "study.log"))),
        study_name=" ".join(held_in),
        load_if_exists=True,
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=SEED, n_startup_trials=8),
    )
    if not study.trials:
        study.enqueue_trial(weights_of(RegistrationSettings()))
    cases = [load_case(name) for name in held_in]

    def judge(trial: optuna.Trial) -> float:
        weights = {
            name: trial.suggest_float(name, low, high, log=True) for name, (low, high) in RANGES.items()
        }
        rows = [weigh(case, with_weights(weights)) for case in cases]
        trial.set_user_attr("rows", rows)
        logger.info("trial %d: %.4f with %s", trial.number, worth(rows), trial.params)
        return worth(rows)

    done = sum(trial.state.is_finished() for trial in study.trials)
    study.optimize(judge, n_trials=max(0, n_trials - done))
    return study


def weights_of(settings: RegistrationSettings) -> dict[str, float]:
    """Read from settings what the study changes."""
    return {
        "smoothness_weight": settings.smoothness_weight,
        "curvature_weight": settings.curvature_weight,
        "volume_weight": settings.volume_weight,
        "coarse_image_weight": settings.stages[0].image_weight,
        "fine_image_weight": settings.stages[-1].image_weight,
    }


def with_weights(weights: Mapping[str, float]) -> RegistrationSettings:
    """Put what the study found into the default settings.

    Examples
    --------
    >>> weights_of(with_weights(dict.fromkeys(RANGES, 0.25))) == dict.fromkeys(RANGES, 0.25)
    True
    """
    default = RegistrationSettings()
    coarse, fine = weights["coarse_image_weight"], weights["fine_image_weight"]
    return replace(
        default,
        stages=(
            *(replace(stage, image_weight=coarse) for stage in default.stages[:-1]),
            replace(default.stages[-1], image_weight=fine),
        ),
        smoothness_weight=weights["smoothness_weight"],
        curvature_weight=weights["curvature_weight"],
        volume_weight=weights["volume_weight"],
    )


def worth(rows: Sequence[Mapping[str, float]]) -> float:
    """Average Dice of driving and of left-out structures, less what the inverse misses beyond 0.1 mm.

    Examples
    --------
    >>> row = {"dsc_mean": 0.9, "left_out_dsc_mean": 0.8, "inverse_error_mm_p99": 0.2}
    >>> round(worth([row]), 6)
    0.75
    """
    return float(
        np.mean(
            [
                0.5 * (row["dsc_mean"] + row["left_out_dsc_mean"])
                - max(0.0, row["inverse_error_mm_p99"] - TOLERATED_MM)
                for row in rows
            ]
        )
    )


def weigh(case: Case, settings: RegistrationSettings) -> dict[str, Any]:
    """Align a case without the structures that are left out, and score both kinds, there and back."""
    drive = case.without(LEFT_OUT)
    start = align_affine(drive.fixed.labels, drive.moving.labels)
    began = time.process_time()
    images = Intensities(drive.fixed.t1w, drive.moving.t1w)
    alignment = align_deformable(drive.fixed.labels, drive.moving.labels, start, settings, images=images)
    seconds = time.process_time() - began
    driving = tuple(index for index in shared_structures(case) if index not in LEFT_OUT)
    unmoved = still(np.eye(4), alignment.space)
    mask = unmoved.resample(case.fixed.labels, onto=alignment.space, interpolation="nearest").data > 0
    ways = alignment.displacement, alignment.inverse_displacement
    errors = [
        np.percentile(inverse_error_mm(one, other, alignment.space, mask), 99)
        for one, other in (ways, ways[::-1])
    ]
    return {
        "scan": case.name,
        "dsc_mean": score_structures(case, alignment, driving)["dsc_mean"],
        "left_out_dsc_mean": float(np.mean(list(score_structures(case, alignment, LEFT_OUT).values()))),
        "inverse_error_mm_p99": round(float(max(errors)), 4),
        "cpu_seconds": round(seconds, 1),
    }


def conclude(study: optuna.Study, held_in: Sequence[str], held_out: Sequence[str]) -> dict[str, Any]:
    """Judge the study's best weights and the default ones on scans that no trial saw."""
    cases = [load_case(name) for name in held_out]
    best = study.best_trial
    trials = [
        {
            "number": trial.number,
            "worth": trial.value,
            "weights": trial.params,
            "rows": trial.user_attrs["rows"],
        }
        for trial in study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))
    ]
    judged = {
        "best_found": judge_held_out(cases, with_weights(best.params)),
        "default": judge_held_out(cases, RegistrationSettings()),
    }
    return {
        "case": "tuning",
        "data": f"search on {', '.join(held_in)}; judgement on {', '.join(held_out)}; to the embedded atlas, "
        "hippocampi and putamina left out of the drive",
        "n_trials": len(trials),
        "best_trial": best.number,
        "held_in": {
            "best_found": {"worth": best.value, "weights": best.params},
            "default": {"worth": trials[0]["worth"], "weights": trials[0]["weights"]},
        },
        "held_out": judged,
        "trials": trials,
    }


def judge_held_out(cases: Sequence[Case], settings: RegistrationSettings) -> dict[str, Any]:
    """Average over scans that no trial saw."""
    rows = [weigh(case, settings) for case in cases]
    means = {key: round(float(np.mean([row[key] for row in rows])), 5) for key in rows[0] if key != "scan"}
    return {"n_scans": len(rows), "worth": round(worth(rows), 5), **means, "rows": rows}


if __name__ == "__main__":
    sys.exit(main())
