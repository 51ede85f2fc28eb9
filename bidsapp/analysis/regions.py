"""Do lesions prefer regions: counts against volumes, and what the answer hangs on."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bidsapp.atlas.seganat import structures
from bidsapp.images.volume import Volume
from bidsapp.statistics.heterogeneity import HeterogeneityTest
from bidsapp.statistics.influence import most_influential_patients, without_each_centre
from bidsapp.statistics.omnibus import SimulatedOmnibus, simulated_omnibus
from bidsapp.statistics.power import power_table
from bidsapp.statistics.regions import volume_fractions
from bidsapp.statistics.strata import StratumAnalysis, analyse_stratum, compare_centres, count_lesions

COMBINED = "combined"


@dataclass(frozen=True)
class RegionAnalysis:
    """All tests of regions.

    Parameters
    ----------
    strata
        "combined" first, then each centre if there are several.
    heterogeneity
        Comparison of the centres; None unless there are several.
    omnibus
        All regions at once against simulated cohorts.
    influence
        The patient each region's finding hangs on most: `bidsapp.statistics.influence.INFLUENCE_COLUMNS`.
    without_centres
        The clustered analysis without each centre: `WITHOUT_CENTRE_COLUMNS` of the same module.
    power
        What a cohort of this size can find: `bidsapp.statistics.power.POWER_COLUMNS`.
    """

    strata: Mapping[str, StratumAnalysis]
    heterogeneity: HeterogeneityTest | None
    omnibus: SimulatedOmnibus
    influence: pd.DataFrame
    without_centres: pd.DataFrame
    power: pd.DataFrame


def region_volumes(labels: Volume) -> pd.DataFrame:
    """Measure each region of an atlas in mm3, its left, right and unpaired structures apart."""
    named = structures()
    counts = np.bincount(labels.data.ravel(), minlength=len(named))
    regions = pd.Index(dict.fromkeys(each.region for each in named[1:]), name="region")
    volumes = pd.DataFrame(0.0, index=regions, columns=["left", "right", "none"])
    for each in named[1:]:
        volumes.loc[each.region, each.hemisphere] += counts[each.index] * labels.space.voxel_volume_mm3
    return volumes


def analyse_regions(lesions: pd.DataFrame, volumes: pd.DataFrame, *, seed: int) -> RegionAnalysis:
    """Test all patients together and, if there are several centres, each centre and their agreement.

    Parameters
    ----------
    lesions
        One row a lesion: ``subject``, ``site``, ``region``, ``hemisphere``.
    volumes
        Of `region_volumes`.
    seed
        Of permutations and simulated cohorts.
    """
    fractions = volume_fractions(volumes.sum(axis=1))
    counts = count_lesions(lesions, volumes.index)
    known = lesions[lesions["site"].notna()]
    sites = known.drop_duplicates("subject").set_index("subject")["site"]
    strata = {COMBINED: analyse_stratum(lesions, volumes)}
    centres = sorted(sites.unique())
    for centre in centres if len(centres) > 1 else []:
        name = f"{centre} (centre)" if centre == COMBINED else str(centre)
        strata[name] = analyse_stratum(lesions[lesions["site"] == centre], volumes)
    effects = strata[COMBINED].regions.set_index("region")["design_effect"]
    return RegionAnalysis(
        strata=strata,
        heterogeneity=compare_centres(lesions, volumes.index, seed=seed) if len(centres) > 1 else None,
        omnibus=simulated_omnibus(counts, fractions, seed=seed),
        influence=most_influential_patients(counts, fractions),
        without_centres=without_each_centre(counts, sites, fractions),
        power=power_table(fractions, effects, int(counts.to_numpy().sum())),
    )
