"""The named cases: what is measured, on which data, with which settings."""

import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd
from scipy.stats import chi2

from benchmark.centres import TRUE_NATIVE, match_lesions
from benchmark.outcomes import complaints, describe, lesion_rows, registration_rows, sum_up
from benchmark.running import ROOT, Ended, run_or_complain
from bidsapp.atlas.builtin import NAME as ATLAS
from bidsapp.bids.names import Kind, output_path, parse_scan
from bidsapp.bids.save import load_table, save_text
from bidsapp.bids.transforms import read_itk_h5
from bidsapp.demo.dataset import LESIONS, SEGMENTATION, TRUTH_FOLDER
from bidsapp.errors import DataError

SCANS = ROOT.parent / "shared" / "data" / "scans"
IMPLANT_SEED, COHORT_SEED = 1, 1
N_VIRTUAL = 8
N_SLOPPY = 2
ATLAS_CENTRE = ["atlas_x_mm", "atlas_y_mm", "atlas_z_mm"]
POINT = ["point_x_mm", "point_y_mm", "point_z_mm"]


class CaseSkippedError(Exception):
    """What the case works on is not on this machine."""


@dataclass(frozen=True, slots=True)
class Bench:
    """Where a case works, and how thoroughly.

    Parameters
    ----------
    folder
        Empty; all files of the case go there.
    sloppy
        Few scans, coarse: to try the case out, never for results.
    """

    folder: Path
    sloppy: bool = False


def measure_real(bench: Bench) -> dict[str, object]:
    """Align all real scans at hand with tumours implanted, and see those without a label map refused.

    Raises
    ------
    CaseSkippedError
        If there are no scans.
    DataError
        If a scan with a label map fails, or one without is not refused with its sentence.
    """
    if not SCANS.is_dir():
        raise CaseSkippedError(f"no scans at {Path('..') / SCANS.relative_to(ROOT.parent)}")
    bids, out = bench.folder / "bids", bench.folder / "out"
    labelled = sorted(path.name for path in (SCANS / "derivatives" / "manual").glob("sub-*"))
    chosen = labelled[:N_SLOPPY] if bench.sloppy else labelled
    command = [*_demo("implant-dataset"), str(SCANS), str(bids)]
    command += ["-d", f"manual={SCANS / 'derivatives' / 'manual'}", "--seed", str(IMPLANT_SEED)]
    run_or_complain([*command, "--participant-label", *chosen], bench.folder / "implant.log")
    others = sorted({path.name for path in SCANS.glob("sub-*")} - set(labelled))
    add_unlabelled(SCANS, bids, others[:1] if bench.sloppy else others)
    ended = _run_app(bench, bids, out, expected=1 if others else 0)
    return collect_real(bids, out, ended)


def add_unlabelled(scans: Path, bids: Path, subjects: list[str]) -> None:
    """Put scans that have tumours of their own, but no label map, beside those with implanted ones."""
    for subject in subjects:
        shutil.copytree(scans / subject, bids / subject)
        masks = Path("derivatives", LESIONS, subject)
        if (scans / masks).is_dir():
            shutil.copytree(scans / masks, bids / masks)
    table = bids / "participants.tsv"
    rows = (scans / table.name).read_text(encoding="utf-8").splitlines()[1:]
    wanted = [row for row in rows if row.split("\t")[0] in subjects]
    save_text(table.read_text(encoding="utf-8") + "".join(f"{row}\n" for row in wanted), table)


def collect_real(bids: Path, out: Path, ended: Ended) -> dict[str, object]:
    """Gather what a run over real scans left.

    Parameters
    ----------
    bids
        The scans, as `measure_real` puts them together.
    out
        What the app wrote.
    ended
        How the run ended.

    Raises
    ------
    DataError
        If the scans done are not those with a label map, or a scan was refused without a sentence.
    """
    labelled = {path.name for path in (bids / "derivatives" / SEGMENTATION).glob("sub-*")}
    others = {path.name for path in bids.glob("sub-*")} - labelled
    rows, refused = registration_rows(out), complaints(out)
    done, said = {_subject(str(row["scan"])) for row in rows}, {_subject(name) for name in refused}
    if (done, said) != (labelled, others):
        raise DataError(
            "scans with a label map must be done and the others refused with a sentence, got wrong: "
            f"{', '.join(sorted((done ^ labelled) | (said ^ others)))}"
        )
    lesions, _ = match_lesions(lesion_rows(out), load_table(bids / TRUTH_FOLDER / "lesions.tsv"))
    return {
        "data": f"{len(labelled)} real T1w scans (OASIS) with manual labels and implanted virtual tumours",
        "n_subjects": len(labelled),
        "subjects": rows,
        "aggregates": sum_up(rows),
        "lesions": {
            "n": len(lesions),
            "volume_factor": describe(lesions["volume_factor"].to_numpy(np.float64)),
            "jacobian_ratio": describe(lesions["jacobian_ratio"].to_numpy(np.float64)),
        },
        "refused": refused,
        "run": asdict(ended),
    }


def measure_virtual(bench: Bench) -> dict[str, object]:
    """Align a virtual cohort and compare lesion centres in the atlas with the truth.

    Raises
    ------
    DataError
        If a scan fails, or lesions and truth do not match one to one.
    """
    bids, out = bench.folder / "bids", bench.folder / "out"
    n_subjects = N_SLOPPY if bench.sloppy else N_VIRTUAL
    command = [*_demo("cohort"), str(bids), "--subjects", str(n_subjects), "--seed", str(COHORT_SEED)]
    run_or_complain(command, bench.folder / "cohort.log")
    return collect_virtual(bids, out, _run_app(bench, bids, out, expected=0))


def collect_virtual(bids: Path, out: Path, ended: Ended) -> dict[str, object]:
    """Gather what a run over a virtual cohort left; lesions of all sessions count.

    ``centre_error_mm`` is that of the lesion's centre of gravity in the atlas, ``point_error_mm`` that of its
    native centre sent there as a point, ``affine_error_mm`` the same by the affine step alone.
    """
    found, truth = match_lesions(lesion_rows(out), load_table(bids / TRUTH_FOLDER / "lesions.tsv"))
    true_mm = truth[ATLAS_CENTRE].to_numpy(np.float64)
    errors = pd.DataFrame(
        {
            "centre_error_mm": _apart(found[ATLAS_CENTRE].to_numpy(np.float64), true_mm),
            "point_error_mm": _apart(found[POINT].to_numpy(np.float64), true_mm),
            "affine_error_mm": _apart(_affine_only(found, truth, out), true_mm),
        }
    ).round(4)
    estimated = found["location_error_mm"].astype(np.float64)
    names = found[["scan", "lesion", "diameter_mm", "location_error_mm"]].assign(
        structure=truth["atlas_structure"]
    )
    rows = registration_rows(out)
    n_subjects = found["subject"].nunique()
    return {
        "data": f"virtual cohort of {n_subjects} patients, {len(rows)} scans, seed {COHORT_SEED}",
        "n_subjects": n_subjects,
        "n_scans": len(rows),
        "n_lesions": len(found),
        "errors": {str(name): describe(errors[name].to_numpy(np.float64)) for name in errors},
        "location": calibrated(errors["centre_error_mm"].to_numpy(np.float64), estimated.to_numpy()),
        "lesions": pd.concat([names, errors], axis=1).to_dict("records"),
        "aggregates": sum_up(rows),
        "run": asdict(ended),
    }


def calibrated(true_mm: np.ndarray, estimated_mm: np.ndarray) -> dict[str, float | int]:
    """Hold true errors (distances) against estimated standard errors along each axis; unknown ones left out.

    Returns
    -------
    summary
        Both as root mean square along one axis, and the share of lesions within the estimated 95 % ball.
    """
    known = np.isfinite(estimated_mm)
    true_mm, estimated_mm = true_mm[known], estimated_mm[known]
    if not known.any():
        return {"n": 0}
    within = true_mm <= estimated_mm * np.sqrt(chi2.ppf(0.95, 3))
    return {
        "n": int(known.sum()),
        "true_rms_mm": round(float(np.sqrt((true_mm**2).mean() / 3)), 4),
        "estimated_rms_mm": round(float(np.sqrt((estimated_mm**2).mean())), 4),
        "coverage_95": round(float(within.mean()), 4),
    }


def measure_demo(bench: Bench) -> dict[str, object]:
    """Time `make demo` in a fresh clone: installation, virtual cohort, both levels, both kinds of pages.

    Raises
    ------
    DataError
        If it fails, or a page is missing.
    """
    clone = bench.folder / "clone"
    run_or_complain(["git", "clone", "--quiet", str(ROOT), str(clone)], bench.folder / "clone.log")
    ended = run_or_complain(["make", "demo"], bench.folder / "demo.log", folder=clone)
    pages = {
        "participant": len(list((clone / "demo" / "out").glob("sub-*.html"))),
        "group": len(list((clone / "demo" / "out").glob("group.html"))),
    }
    if not all(pages.values()):
        raise DataError(f"`make demo` must leave pages of the participants and the group, got {pages}")
    return {
        "data": "`make demo` in a fresh clone, installation of packages included",
        "n": 1,
        "pages": pages,
        "run": asdict(ended),
    }


CASES: Mapping[str, Callable[[Bench], dict[str, object]]] = MappingProxyType(
    {"real": measure_real, "virtual": measure_virtual, "demo": measure_demo}
)


def _demo(action: str) -> list[str]:
    return [sys.executable, "-m", "bidsapp.demo", action]


def _run_app(bench: Bench, bids: Path, out: Path, *, expected: int) -> Ended:
    """Run both levels with the defaults."""
    command = [sys.executable, "run.py", str(bids), str(out), "participant", "group"]
    command += ["-w", str(bench.folder / "scratch"), *(["--sloppy"] if bench.sloppy else [])]
    return run_or_complain(command, bench.folder / "run.log", expected=expected)


def _subject(scan: str) -> str:
    return scan.split("_", maxsplit=1)[0]


def _apart(found_mm: np.ndarray, true_mm: np.ndarray) -> np.ndarray:
    return np.asarray(np.linalg.norm(found_mm - true_mm, axis=1))


def _affine_only(found: pd.DataFrame, truth: pd.DataFrame, out: Path) -> np.ndarray:
    """Send each true native centre to the atlas by the affine of its scan alone."""
    sent = np.full((len(found), 3), np.nan)
    for table in found["path"].unique():
        is_here = (found["path"] == table).to_numpy()
        path = output_path(out, *parse_scan(Path(table)), Kind.FIXED_TO_MOVING, ATLAS)
        inverse = np.linalg.inv(read_itk_h5(path).affine)
        sent[is_here] = truth.loc[is_here, TRUE_NATIVE].to_numpy() @ inverse[:3, :3].T + inverse[:3, 3]
    return sent
