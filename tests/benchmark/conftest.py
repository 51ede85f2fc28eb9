"""A result as `benchmark.measure` writes it, small."""

import copy
from typing import Any

import pytest

from benchmark.outcomes import sum_up

PROVENANCE: dict[str, Any] = {
    "command": "python -m benchmark.measure real",
    "commit": "0123456789abcdef",
    "uncommitted_changes": False,
    "date": "2026-01-02",
    "machine": {"class": "2 x Abacus, 4 GiB, no GPU"},
    "n_runs": 1,
}


def row(scan: str, before: float, after: float) -> dict[str, object]:
    """Make a row of the scans' table."""
    return {
        "scan": scan,
        "dice_affine_mean": before,
        "dice_mean": after,
        "assd_mm_mean": 0.4,
        "hd95_mm_mean": 1.5,
        "folded_fraction": 0.0,
        "ndv_percent": 0.0,
        "sd_log_jacobian": 0.2,
        "inverse_error_mm_p99": 0.05,
        "missing_structures": "Choroid Plexus",
        "wall_seconds": 20.0,
    }


@pytest.fixture
def real() -> dict[str, Any]:
    """Two scans aligned, one refused."""
    rows = [row("sub-a", 0.6, 0.9), row("sub-b", 0.5, 0.8)]
    return {
        "case": "real",
        "sloppy": False,
        "provenance": copy.deepcopy(PROVENANCE),
        "data": "2 scans",
        "n_subjects": 2,
        "subjects": rows,
        "aggregates": sum_up(rows),
        "lesions": {
            "n": 3,
            "volume_factor": {"mean": 0.98, "sd": 0.1},
            "jacobian_ratio": {"mean": 1.0, "sd": None},
        },
        "refused": {"sub-c": "sub-c must have a label map"},
        "run": {"exit_status": 1, "wall_seconds": 40.0, "cpu_seconds": 70.0, "peak_gib": 2.5},
    }
