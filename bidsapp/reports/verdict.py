"""Pass, look or fail: the thresholds of the participant page, and the words for them.

`THRESHOLDS` is the only place they are written; docs/reports.md repeats it for people and a test compares.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float64

from bidsapp.atlas.seganat import N_CLASSES, structures
from bidsapp.images.volume import Volume
from bidsapp.reports.evidence import explained_by_labels, mask_contrast
from bidsapp.reports.planes import sample_points

Level = Literal["pass", "look", "fail"]
SEVERITY: tuple[Level, ...] = ("pass", "look", "fail")


@dataclass(frozen=True, slots=True)
class Threshold:
    """Limits of one number: inside the inner pair it passes, outside the outer pair it fails.

    Parameters
    ----------
    what
        The number, in words.
    pass_low, pass_high
        Limits of "pass", both included.
    fail_low, fail_high
        Beyond them the verdict is "fail"; between the pairs it is "look".
    why
        Where the limits come from.
    """

    what: str
    pass_low: float
    pass_high: float
    fail_low: float
    fail_high: float
    why: str

    def judge(self, value: float) -> Level:
        """Place a number; one that is not finite cannot pass.

        Examples
        --------
        >>> THRESHOLDS["dice_mean"].judge(0.80), THRESHOLDS["dice_mean"].judge(0.69)
        ('pass', 'fail')
        """
        if not math.isfinite(value):
            return "look"
        if self.pass_low <= value <= self.pass_high:
            return "pass"
        return "look" if self.fail_low <= value <= self.fail_high else "fail"


INFINITE = math.inf
THRESHOLDS: Mapping[str, Threshold] = {
    "dice_mean": Threshold(
        "mean Dice over the structures",
        0.80,
        1.0,
        0.70,
        1.0,
        "affine alone reaches about 0.6, published runs 0.89",
    ),
    "dice_gain": Threshold(
        "gain in mean Dice over the affine step",
        0.05,
        1.0,
        0.0,
        1.0,
        "a deformable step that gains nothing failed",
    ),
    "dice_minimum": Threshold(
        "Dice of the worst structure above 1 mL",
        0.50,
        1.0,
        0.20,
        1.0,
        "one structure can fail behind a good mean",
    ),
    "folded_fraction": Threshold(
        "share of folded voxels", 0.0, 0.001, 0.0, 0.01, "the published method folds 0.3 %"
    ),
    "volume_factor": Threshold(
        "volume factor of a lesion", 0.80, 1.25, 0.50, 2.0, "1 = preserved; the published method keeps 0.84"
    ),
    "inside_fraction": Threshold(
        "share of the lesion mask within 3 mm of the brain",
        0.90,
        1.0,
        0.50,
        1.0,
        "a mask of another patient or frame misses",
    ),
    "mask_contrast": Threshold(
        "rank of the scan's contrast at the lesions' borders",
        0.80,
        1.0,
        0.0,
        1.0,
        "0.98 on two real scans with metastases; a stranger's mask has 0.5 on average",
    ),
    "explained": Threshold(
        "share of the scan's variance that its labels explain",
        0.30,
        1.0,
        0.25,
        1.0,
        "own labels 0.73 to 0.78 on four real scans, 0.34 to 0.47 on virtual ones; a stranger's or mirrored "
        "ones 0.11 to 0.24",
    ),
}
NEAR_BRAIN_MM = 3.0
MIRROR_MARGIN = 0.02
"""By how much labels must explain the mirrored scan better before it counts as mirrored."""


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the verdict strip: a level, a few words and the number behind them."""

    level: Level
    title: str
    detail: str


def worst(checks: Iterable[Check]) -> Level:
    """Return the most severe level."""
    return max((check.level for check in checks), key=SEVERITY.index, default="pass")


def _judged(key: str, value: float, title: str, detail: str) -> Check:
    """Judge a number by the table."""
    return Check(THRESHOLDS[key].judge(value), title, detail)


def alignment_checks(structure_table: pd.DataFrame, summary: Mapping[str, float | int | str]) -> list[Check]:
    """Judge overlap, folds and missing structures.

    Parameters
    ----------
    structure_table
        ``bidsapp.metrics.measurements.STRUCTURE_COLUMNS``.
    summary
        ``bidsapp.metrics.measurements.SUMMARY_COLUMNS``.
    """
    mean, before = float(summary["dice_mean"]), float(summary["dice_affine_mean"])
    folded = float(summary["folded_fraction"])
    checks = [
        _judged("dice_mean", mean, f"Overlap {mean:.2f}", "mean Dice over the structures; 1 is perfect"),
        _judged(
            "dice_gain",
            mean - before,
            f"Gain {mean - before:+.2f}",
            f"mean Dice rose from {before:.2f} (affine) to {mean:.2f}"
            if mean > before
            else f"the deformable step did not improve the affine step's {before:.2f}",
        ),
        _judged(
            "folded_fraction",
            folded,
            f"Folds {100 * folded:.2g} %",
            "of the brain's voxels turned inside out",
        ),
    ]
    large = structure_table[
        structure_table["is_compared"].astype(bool) & (structure_table["volume_atlas_ml"] > 1)
    ]
    if len(large):
        row = large.iloc[int(large["dice"].to_numpy(np.float64).argmin())]
        value = float(row["dice"])
        checks.append(_judged("dice_minimum", value, f"Worst {value:.2f}", f"Dice of {row['name']}"))
    if str(summary["missing_structures"]):
        missing = str(summary["missing_structures"])
        checks.append(Check("look", "Structures missing", f"absent from the atlas or the patient: {missing}"))
    return checks


def side_check(fixed_labels: Volume, warped_labels: Volume) -> Check:
    """Tell whether left structures of the patient lie on the atlas' right ones.

    Parameters
    ----------
    fixed_labels, warped_labels
        SegAnat labels on one grid.
    """
    pairs = np.bincount(
        fixed_labels.data.ravel().astype(np.intp) * N_CLASSES + warped_labels.data.ravel(),
        minlength=N_CLASSES**2,
    ).reshape(N_CLASSES, N_CLASSES)
    side = np.array([{"left": -1, "right": 1, "none": 0}[each.hemisphere] for each in structures()])
    product = side[:, np.newaxis] * side
    same, crossed = int(pairs[product > 0].sum()), int(pairs[product < 0].sum())
    if crossed > same:
        return Check(
            "fail", "Left and right swapped", "the patient's left structures lie on the atlas' right side"
        )
    share = crossed / (same + crossed) if same + crossed else 0.0
    if share > 0.05:
        return Check("look", "Sides", f"{100 * share:.0f} % of paired structures lie across the midline")
    return Check("pass", "Sides", "left lies on left")


def lesion_checks(lesions: pd.DataFrame, lesion_mask: Volume | None, fixed_labels: Volume) -> list[Check]:
    """Judge what became of the lesions.

    Parameters
    ----------
    lesions
        One row a lesion with ``lesion``, ``atlas_volume_mm3`` and ``volume_factor``.
    lesion_mask
        The lesions in atlas space, or None when the patient came without a mask.
    fixed_labels
        The atlas' SegAnat labels, on the same grid.
    """
    if lesion_mask is None:
        return [Check("look", "No lesion mask", "tumours were not protected and are not counted")]
    if len(lesions) == 0:
        return [Check("look", "No lesion", "the mask is empty")]
    checks = []
    empty = lesions.loc[~(lesions["atlas_volume_mm3"] > 0), "lesion"]
    if len(empty):
        names = ", ".join(str(each) for each in empty)
        checks.append(Check("fail", "Lesion lost", f"empty after mapping to the atlas: lesion {names}"))
    factors = lesions.loc[lesions["atlas_volume_mm3"] > 0, "volume_factor"].dropna().to_numpy(np.float64)
    if len(factors):
        extreme = float(factors[np.abs(np.log(np.maximum(factors, 1e-6))).argmax()])
        limit = THRESHOLDS["volume_factor"]
        kept = sum(limit.judge(factor) == "pass" for factor in factors)
        checks.append(
            _judged(
                "volume_factor",
                extreme,
                f"Volume factor {extreme:.2f}",
                f"of the most changed of {len(factors)} lesions; "
                f"{kept} within {limit.pass_low} to {limit.pass_high}",
            )
        )
    if (lesion_mask.data > 0).any():
        inside = _share_in_brain(lesion_mask, fixed_labels)
        title = f"{100 * inside:.0f} % of lesions in the brain"
        checks.append(
            _judged("inside_fraction", inside, title, "is the mask this patient's and in this frame?")
        )
    return checks


def _share_in_brain(lesion_mask: Volume, labels: Volume) -> float:
    """Count lesion voxels in the brain or near it: a metastasis of the cortex bulges into a sulcus."""
    points = lesion_mask.space.voxel_to_world(np.argwhere(lesion_mask.data > 0).astype(np.float64))
    steps = NEAR_BRAIN_MM * np.concatenate([np.zeros((1, 3)), np.eye(3), -np.eye(3)])
    around = sample_points(labels, points[:, np.newaxis] + steps, interpolation="nearest")
    return float((around > 0).any(axis=1).mean())


def mirror_check(affine: Float64[np.ndarray, "4 4"]) -> Check:
    """Tell whether the affine step turns the patient into his or her mirror image.

    Parameters
    ----------
    affine
        Atlas world to patient world.
    """
    if np.linalg.det(affine[:3, :3]) < 0:
        return Check(
            "fail", "Mirrored", "the affine step swaps left and right: are the input's labels swapped?"
        )
    return Check("pass", "Not mirrored", "the affine step keeps left and right")


def labels_check(scan: Volume, labels: Volume) -> Check:
    """Tell whether a scan belongs to its labels, or its mirror image does.

    Parameters
    ----------
    scan, labels
        Native T1w and SegAnat labels, in one world frame.
    """
    explained, mirrored = explained_by_labels(scan, labels)
    if mirrored > max(explained, THRESHOLDS["explained"].fail_low) + MIRROR_MARGIN:
        return Check(
            "fail",
            "Scan and labels mirrored",
            f"the labels explain {mirrored:.2f} of the mirrored scan's variance and {explained:.2f} of the "
            "scan's own: left and right of one of the two files are wrong",
        )
    return _judged(
        "explained",
        explained,
        f"Labels fit the scan {explained:.2f}",
        f"share of its variance they explain (mirrored {mirrored:.2f}); are they this scan's?",
    )


def mask_check(scan: Volume, lesions: Volume, labels: Volume) -> list[Check]:
    """Tell whether the mask is drawn on this scan; nothing where no lesion is large enough to tell.

    Parameters
    ----------
    scan, lesions, labels
        Native T1w, lesion numbers and SegAnat labels, in one world frame.
    """
    rank = mask_contrast(scan, lesions, labels)
    if not math.isfinite(rank):
        return []
    words = (
        f"{100 * rank:.0f} % of other places in the brain have less contrast at the borders of such lesions"
    )
    title = f"Mask fits the scan {rank:.2f}"
    return [_judged("mask_contrast", rank, title, f"{words}; is the mask this patient's?")]


def deformation_check(jacobian: Volume) -> Check:
    """Tell an affine-only result from a deformed one."""
    if float(np.ptp(jacobian.data)) < 1e-4:
        return Check("fail", "Affine only", "there is no deformable step in this alignment")
    return Check("pass", "Deformable step", "done")


def warnings_check(warnings: tuple[str, ...]) -> Check:
    """Point to the warnings, if any."""
    if not warnings:
        return Check("pass", "No warnings", "")
    return Check(
        "look", f"{len(warnings)} warning{'s' if len(warnings) > 1 else ''}", "see the section Warnings"
    )
