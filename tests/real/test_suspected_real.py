"""What is taken for a lesion without a mask in a real scan, with virtual tumours and without any."""

from pathlib import Path

import pytest

from benchmark.tumours_scans import TumourScan, load_tumour_scan
from bidsapp.aligning import find_start
from bidsapp.images.volume import Volume
from bidsapp.lesions.handling import guide

SCANS = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "scans"
SMALLEST_MM, LEAST_SHARE = 6.0, 0.7

pytestmark = pytest.mark.skipif(
    not SCANS.is_dir(), reason="the real scans are not at hand (shared/data/scans)"
)


@pytest.fixture(scope="module")
def scan() -> TumourScan:
    return load_tumour_scan("sub-oasis1001")


def suspected(scan: TumourScan, t1w: Volume, labels: Volume) -> Volume | None:
    guided, _ = find_start(scan.case.fixed.labels, t1w, guide(labels, None, "auto"))
    return guided.lesions


def test_in_a_scan_without_tumours_next_to_nothing_is_suspected(scan):
    found = suspected(scan, scan.healthy.t1w, scan.healthy.labels)
    n_brain = int((scan.healthy.labels.data > 0).sum())
    assert (0 if found is None else int(found.data.sum())) < 0.005 * n_brain


def test_every_tumour_that_is_not_tiny_is_found(scan):
    found = suspected(scan, scan.implanted.t1w, scan.implanted.labels)
    assert found is not None
    diameters = scan.implanted.truth["diameter_mm"]
    shares = [float((found.data[tuple(lesion.voxels.T)] > 0).mean()) for lesion in scan.lesions]
    found_shares = [share for share, mm in zip(shares, diameters, strict=True) if mm >= SMALLEST_MM]
    assert len(found_shares) >= 4
    assert min(found_shares) > LEAST_SHARE, dict(zip(diameters, shares, strict=True))
    inside = sum(int(found.data[tuple(lesion.voxels.T)].sum()) for lesion in scan.lesions)
    assert inside > 0.5 * found.data.sum()
