"""The scan on the grid of the atlas: after both steps, and after the affine one alone."""

from dataclasses import dataclass

from bidsapp.atlas.pack import AtlasPack
from bidsapp.bids.load import LoadedSubject
from bidsapp.images.alignment import Alignment
from bidsapp.images.volume import Volume
from bidsapp.lesions.mapping import warped_instances
from bidsapp.lesions.table import LesionScan


@dataclass(frozen=True)
class Warped:
    """What arrives on the atlas grid.

    Parameters
    ----------
    t1w, affine_t1w
        Intensities after both steps, and after the affine step alone.
    labels, affine_labels
        SegAnat labels, likewise.
    lesions, affine_lesions
        Lesion numbers, likewise; None without a mask.
    """

    t1w: Volume
    affine_t1w: Volume
    labels: Volume
    affine_labels: Volume
    lesions: Volume | None
    affine_lesions: Volume | None


def warp(subject: LoadedSubject, scan: LesionScan, alignment: Alignment, atlas: AtlasPack) -> Warped:
    """Sample the native scan once, through both steps; and once more through the affine alone, to compare."""
    t1w, labels, lesions = warp_once(subject, scan, alignment, atlas)
    affine_t1w, affine_labels, affine_lesions = warp_once(subject, scan, alignment.affine_only(), atlas)
    return Warped(t1w, affine_t1w, labels, affine_labels, lesions, affine_lesions)


def warp_once(
    subject: LoadedSubject, scan: LesionScan, alignment: Alignment, atlas: AtlasPack
) -> tuple[Volume, Volume, Volume | None]:
    """Bring T1w, labels and numbered lesions (None if there is none) onto the grid of the atlas."""
    onto = atlas.template.space
    t1w, labels = alignment.resample_all([(subject.t1w, "linear"), (subject.labels, "nearest")], onto=onto)
    lesions = warped_instances(scan.lesions, scan.space, alignment, onto) if scan.lesions else None
    return t1w, labels, lesions
