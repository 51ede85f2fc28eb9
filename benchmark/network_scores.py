"""How well one alignment lays the structures over each other, one by one, as the paper tells it."""

from collections.abc import Sequence

import numpy as np

from benchmark.peers.cases import Case
from benchmark.peers.common_grid import cover
from benchmark.peers.score import crop, regularity_in_brain, shared_structures, to_fixed
from benchmark.tumours_scans import TumourScan
from benchmark.tumours_scores import healthy_structures, leave_tumours_out, score_tumours
from bidsapp.images.alignment import Alignment
from bidsapp.images.volume import Volume
from bidsapp.metrics.overlap import dice
from bidsapp.metrics.surface import surface_distances

MEASURES = ("dsc", "hd_mm", "assd_mm")


def score_scan(case: Case, alignment: Alignment) -> dict[str, object]:
    """Measure a scan without tumours, over the structures that both brains have."""
    fixed, warped = to_fixed(case.fixed.labels, case.moving.labels, alignment)
    return {**score_labels(fixed, warped, shared_structures(case)), **_folds(case, alignment)}


def score_patient(scan: TumourScan, alignment: Alignment, control: Alignment) -> dict[str, object]:
    """Measure a scan with tumours: the structures outside them, and every tumour.

    What a tumour covers counts for no structure; one that is tumour for the most part takes no part.

    Parameters
    ----------
    scan
        With the truth.
    alignment, control
        Of the scan with tumours, and of the same scan without, by the same method.
    """
    box = crop(scan.case.fixed.labels)
    covered = alignment.resample(scan.implanted.mask, onto=box.space, interpolation="nearest").data > 0
    warped = alignment.resample(scan.tissue, onto=box.space, interpolation="nearest")
    fixed, warped = (leave_tumours_out(labels, covered) for labels in (box, warped))
    healthy = healthy_structures(fixed, box)
    counted = [index for index in shared_structures(scan.case) if healthy[index]]
    return {
        **score_labels(fixed, warped, counted),
        **_folds(scan.case, alignment),
        "tumours": [
            {key: tumour[key] for key in ("diameter_mm", "volume_factor", "jacobian_ratio", "lost")}
            for tumour in score_tumours(scan, alignment, control)
        ],
    }


def score_labels(fixed: Volume, warped: Volume, counted: Sequence[int]) -> dict[str, object]:
    """Give Dice, Hausdorff distance (the largest, not a percentile) and mean surface distance, in mm.

    Parameters
    ----------
    fixed, warped
        SegAnat labels on one grid.
    counted
        Structures that are measured. One that `warped` lost has Dice 0 and no distances (NaN).
    """
    surfaces, indices = surface_distances(fixed, warped), list(counted)
    values = (dice(fixed, warped), surfaces.hd_mm, surfaces.assd_mm)
    return {name: np.round(value[indices], 5).tolist() for name, value in zip(MEASURES, values, strict=True)}


def _folds(case: Case, alignment: Alignment) -> dict[str, float]:
    """Share of the brain's voxels, at 1 mm, whose Jacobian is zero or negative."""
    shape = regularity_in_brain(case.fixed.labels, alignment, cover(case.fixed.labels))
    return {"folded_fraction": shape.folded_fraction}
