"""A virtual cohort of patients with metastases, whose every answer is known, as a BIDS dataset."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd

from bidsapp.atlas.builtin import load_builtin
from bidsapp.atlas.pack import AtlasPack
from bidsapp.bids.names import scan_name
from bidsapp.bids.save import save_json, save_table, save_text
from bidsapp.demo.dataset import TRUTH_FOLDER, VirtualScan, start_dataset, write_scan, write_truth
from bidsapp.demo.patient import Visit, draw_patient
from bidsapp.demo.placement import region_volumes_mm3
from bidsapp.demo.plan import default_rates, draw_places
from bidsapp.demo.true_map import save_true_map
from bidsapp.errors import UsageError

logger = logging.getLogger(__name__)

NAME = "MetsAtlas virtual cohort"
AUTHORS = ("MetsAtlas", "no person was scanned")
README = """# MetsAtlas virtual cohort

Nothing in this dataset was measured and no person was scanned. Each virtual patient is a random smooth
deformation of an atlas, seen on a native grid of its own, with metastases implanted at known places.
Made by `python -m bidsapp.demo cohort`. The answers lie in `sourcedata/truth`; `docs/demo.md` of MetsAtlas
explains them.
"""
TRUTH_README = """# What is true of the virtual cohort

`lesions.tsv`: every implanted tumour. `rates.json`: the spatial preference they were drawn with.
`*_truth.npz`: the true correspondence of each scan with the atlas (numpy arrays, see `docs/demo.md`).
"""
SITES, PRIMARIES = ("north", "south"), ("lung", "breast", "melanoma", "kidney", "colorectal")
AGE_BANDS = ("40-49", "50-59", "60-69", "70-79")
PARTICIPANT_COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "participant_id": "Virtual patient; no person.",
        "site": "Virtual hospital.",
        "age_band": "Virtual age in years.",
        "primary": "Virtual primary tumour.",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CohortPlan:
    """The choices behind a virtual cohort.

    Parameters
    ----------
    n_subjects
        Number of virtual patients.
    seed
        The same plan and seed give the same files.
    rates
        Relative density of metastases per cubic millimetre, by region.
    clustering
        Intraclass correlation of the regions within a patient: 0, each metastasis for itself, to below 1.
    n_lesions
        Fewest and most metastases of a patient.

    Raises
    ------
    UsageError
        If a number is out of range.
    """

    n_subjects: int = 6
    seed: int = 1
    rates: Mapping[str, float] = field(default_factory=default_rates)
    clustering: float = 0.1
    n_lesions: tuple[int, int] = (1, 6)

    def __post_init__(self) -> None:
        if not 1 <= self.n_subjects <= 99 or self.seed < 0:
            raise UsageError(
                f"a cohort needs 1 to 99 subjects and a seed from 0, got {self.n_subjects} and {self.seed}"
            )
        if not 0 <= self.clustering < 1:
            raise UsageError(f"clustering must be from 0 to below 1, got {self.clustering:g}")
        if not 1 <= self.n_lesions[0] <= self.n_lesions[1]:
            raise UsageError(f"lesions per patient must be two rising numbers from 1, got {self.n_lesions}")


def write_cohort(folder: Path, plan: CohortPlan) -> None:
    """Write a virtual cohort as a valid BIDS dataset with the truth beside it.

    Metastases are drawn in the atlas with the plan's preference, sent to the patient by the true map, and
    drawn there, so that they are round in the patient.

    Parameters
    ----------
    folder
        New or empty.
    plan
        The choices.

    Raises
    ------
    OutputError
        If the folder holds something or cannot be written.
    """
    atlas = load_builtin()
    volumes = region_volumes_mm3(atlas.labels)
    start_dataset(folder, {"Name": NAME, "Authors": AUTHORS}, README)
    truths: list[pd.DataFrame] = []
    people = []
    for number in range(1, plan.n_subjects + 1):
        rng = np.random.default_rng([plan.seed, number])
        label = f"virtual{number:02d}"
        places = draw_patient_places(plan, volumes, rng)
        visits = draw_patient(atlas, number, places, rng)
        truths.extend(_write_visit(folder, label, visit) for visit in visits)
        people.append(
            {
                "participant_id": f"sub-{label}",
                "site": SITES[number % 2],
                "age_band": str(rng.choice(AGE_BANDS)),
                "primary": str(rng.choice(PRIMARIES)),
            }
        )
        logger.info("sub-%s written: %d virtual metastases", label, len(places))
    save_table(pd.DataFrame(people), folder / "participants.tsv", PARTICIPANT_COLUMNS)
    save_text(TRUTH_README, folder / TRUTH_FOLDER / "README.md")
    write_truth(folder, pd.concat(truths, ignore_index=True))
    _write_rates(folder, atlas, plan, volumes)


def draw_patient_places(
    plan: CohortPlan, volumes_mm3: Mapping[str, float], rng: np.random.Generator
) -> tuple[str, ...]:
    """Draw the regions of one patient's metastases by Pólya's urn.

    Each metastasis is drawn by rate times volume, or copies the region of an earlier one with probability
    n r / (1 - r + n r) after n of them, r being the clustering. Regions of one patient are then
    Dirichlet-multinomial with intraclass correlation r, while the rates over many patients stay exact.

    Parameters
    ----------
    plan
        Number of metastases, rates and clustering.
    volumes_mm3
        Of each region in the atlas.
    rng
        Source of chance.

    References
    ----------
    Blackwell & MacQueen 1973, Ann Statist 1: Pólya urn schemes. doi:10.1214/aos/1176342372
    """
    places: list[str] = []
    for count in range(int(rng.integers(plan.n_lesions[0], plan.n_lesions[1] + 1))):
        weight = count * plan.clustering
        if rng.random() < weight / (1 - plan.clustering + weight):
            places.append(places[int(rng.integers(count))])
        else:
            places.extend(draw_places(1, plan.rates, volumes_mm3, rng))
    return tuple(places)


def _write_visit(folder: Path, label: str, visit: Visit) -> pd.DataFrame:
    """Write the scans of one session; return its part of the truth table."""
    session = {"ses": visit.session} if visit.session else {}
    for contrast, t1w in visit.t1w.items():
        if contrast == "enhancing":
            scan = VirtualScan(label, {**session, "ce": "gadolinium"}, t1w, visit.labels, visit.mask)
            write_scan(folder, scan, {"ContrastBolusIngredient": "GADOLINIUM", "SkullStripped": True})
        else:
            write_scan(folder, VirtualScan(label, session, t1w, None, None), {"SkullStripped": True})
    save_true_map(visit.true_map, folder / TRUTH_FOLDER / f"{scan_name(label, session)}_truth.npz")
    truth = visit.truth.copy()
    truth.insert(0, "participant_id", f"sub-{label}")
    truth.insert(1, "session_id", f"ses-{visit.session}" if visit.session else "n/a")
    return truth


def _write_rates(folder: Path, atlas: AtlasPack, plan: CohortPlan, volumes: Mapping[str, float]) -> None:
    """Write what the places were drawn with."""
    weights = {name: rate * volumes.get(name, 0.0) for name, rate in plan.rates.items()}
    total = sum(weights.values())
    content = {
        "Virtual": True,
        "Atlas": atlas.name,
        "AtlasChecksums": atlas.checksums,
        "Seed": plan.seed,
        "WithinPatientCorrelation": plan.clustering,
        "RelativeRates": plan.rates,
        "Probabilities": {name: weight / total for name, weight in weights.items()},
        "VolumesMm3": volumes,
    }
    save_json(content, folder / TRUTH_FOLDER / "rates.json")
