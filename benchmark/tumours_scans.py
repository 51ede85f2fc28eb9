"""Scans with tumours of known size and place, and the same scans without them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from benchmark.cases import SCANS, CaseSkippedError
from benchmark.peers.cases import Brain, Case, case_names, load_case
from bidsapp.demo.implant import Implanted, implant
from bidsapp.demo.mass_effect import undo_all
from bidsapp.demo.plan import JUNCTION, SMALLEST_RING_MM, Lesions, Tumour
from bidsapp.errors import DataError
from bidsapp.images.regrid import on_grid
from bidsapp.images.volume import Volume
from bidsapp.lesions.instances import Lesion, find_lesions

DIAMETERS_MM = (3.0, 6.0, 10.0, 16.0, 24.0, 30.0)
SITES = ("Cerebral Cortex", JUNCTION, "Cerebral White Matter", "Putamen", "Cerebellum Cortex")
MOST_ATTEMPTS = 50
_PUSH_RADII = 0.25


@dataclass(frozen=True)
class TumourScan:
    """A scan as it is, and with tumours.

    Parameters
    ----------
    case
        The scan as it is, to be laid over the embedded atlas.
    healthy
        The same, its labels on the grid of its T1w.
    implanted
        The scan with tumours, and the truth.
    tissue
        Labels of the pushed tissue, as if the tumours showed the tissue they replaced.
    lesions
        The tumours, in the order of the truth table.
    """

    case: Case
    healthy: Brain
    implanted: Implanted
    tissue: Volume
    lesions: tuple[Lesion, ...]

    def before(self, points_mm: Float64[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n 3"]:
        """Send points of the scan with tumours to where the same tissue lies in the scan without."""
        return undo_all(self.implanted.mass_effects, points_mm)


def scan_names() -> tuple[str, ...]:
    """List the scans with manual labels.

    Raises
    ------
    CaseSkippedError
        If there are no scans.
    """
    names = tuple(name for name in case_names() if name.startswith("sub-"))
    if not names:
        raise CaseSkippedError(f"no labelled scans in {SCANS.name}")
    return names


def plan_tumours(number: int) -> Lesions:
    """Plan one tumour for each site; six scans in turn have every diameter at every site once.

    Every second tumour pushes its surroundings by a quarter of its radius, every second one with a diameter
    of 8 mm or more has a dark core, and every second scan has a wrong structure where the others have
    background.

    Examples
    --------
    >>> [tumour.diameter_mm for tumour in plan_tumours(1).tumours]
    [6.0, 10.0, 16.0, 24.0, 30.0]
    """
    tumours = []
    for place, site in enumerate(SITES):
        diameter = DIAMETERS_MM[(number + place) % len(DIAMETERS_MM)]
        push = _PUSH_RADII * diameter / 2 if (number + place) % 2 else 0.0
        has_core = diameter >= SMALLEST_RING_MM and (number // 2 + place) % 2
        tumours.append(Tumour(diameter, site, "ring" if has_core else "solid", push))
    return Lesions(tuple(tumours), "wrong" if number % 2 else "background")


def load_tumour_scan(name: str) -> TumourScan:
    """Read a scan and implant the tumours that its place in the list asks for.

    Raises
    ------
    DataError
        If there is no room for them.
    """
    number = scan_names().index(name)
    case = load_case(name)
    t1w, plan = case.moving.t1w, plan_tumours(number)
    labels = on_grid(case.moving.labels, t1w.space)
    for attempt in range(MOST_ATTEMPTS):
        try:
            done = implant(t1w, labels, plan, np.random.default_rng([number, attempt]))
            kept = Lesions(plan.tumours, "keep", plan.contrast)
            same = implant(t1w, labels, kept, np.random.default_rng([number, attempt]))
        except DataError:
            if attempt == MOST_ATTEMPTS - 1:
                raise
        else:
            found = {
                int(done.instances.data[tuple(lesion.voxels[0])]): lesion
                for lesion in find_lesions(done.instances, "instances")
            }
            return TumourScan(
                case,
                Brain(t1w, labels, None),
                done,
                same.labels,
                tuple(found[number] for number in sorted(found)),
            )
    raise AssertionError("the last attempt returns or raises")
