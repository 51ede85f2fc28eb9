"""From a table of lesions to the tests of one stratum: one centre, or all of them together."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pandas as pd

from bidsapp.errors import DataError
from bidsapp.statistics.clustered import clustered_table, estimate_clustering
from bidsapp.statistics.hemispheres import HemisphereTest, clustered_hemisphere_test, hemisphere_test
from bidsapp.statistics.heterogeneity import HeterogeneityTest, heterogeneity_test, pool_regions
from bidsapp.statistics.regions import (
    PAPER,
    PAPER_CELLS,
    ChiSquareTest,
    RegionSettings,
    omnibus_test,
    region_table,
    volume_fractions,
)
from bidsapp.statistics.shrinkage import RATIO_COLUMNS, ratio_table

CENTRE_CELLS = (*PAPER_CELLS, "Putamen")
"""Regions that are compared between centres; the others are pooled."""

REGION_COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "region": "Region: structures of SegAnat with left and right merged.",
        "n_observed": "Lesions that count for the region (column region of lesions.tsv).",
        "n_expected": "Lesions it would hold by its share of the volume.",
        "expected_fraction": "Share of the region in the volume of all regions of the atlas.",
        "ratio": "n_observed / n_expected.",
        "ratio_low": "Lower end of the 95 % interval of ratio (Wilson), every lesion independent.",
        "ratio_high": "Upper end of the 95 % interval of ratio (Wilson), every lesion independent.",
        "chi2": "Chi-square of this region against the rest, 1 degree of freedom.",
        "z": "Standardised difference of n_observed and n_expected; its square is chi2.",
        "chi2_p_value": "Paper preset: p-value of chi2, every lesion independent, not corrected.",
        "exact_p_value": "Exact binomial p-value, every lesion independent, two-sided, not corrected.",
        "tested": "Paper preset: whether the region has enough lesions to be tested.",
        "bonferroni_p_value": "Paper preset: chi2_p_value times the number of tested regions, at most 1.",
        "significant": "Paper preset: whether bonferroni_p_value is below alpha.",
        "reason": "Why the paper preset leaves the region out; n/a if it does not.",
        "icc": "How alike the lesions of a patient are: intraclass correlation, at least the pooled one; it "
        "errs upwards with fewer than 20 effective patients.",
        "null_icc": "The likeliest intraclass correlation if the region had its volume's share, at least "
        "icc: what clustered_p_value uses.",
        "design_effect": "Lesions of this cohort that weigh as much as one independent lesion.",
        "clustered_ratio_low": "Lower end of the 95 % interval of ratio, lesions divided by design_effect.",
        "clustered_ratio_high": "Upper end of the 95 % interval of ratio, lesions divided by design_effect.",
        "clustered_p_value": "p-value with the lesions of a patient kept together (beta-binomial).",
        "largest_design_effect": "Design effect up to which chi2 stays significant, Bonferroni over all "
        "regions; below 1: not significant even for independent lesions.",
        "largest_icc": "The same as intraclass correlation; n/a if not significant, or no patient has two "
        "lesions.",
        "clustered_reason": "Why there is no clustered p-value; n/a if there is one.",
        "clustered_bonferroni_p_value": "clustered_p_value, Bonferroni over all regions with a volume.",
        "clustered_holm_p_value": "clustered_p_value, Holm over all regions with a volume.",
        "clustered_benjamini_hochberg_p_value": "clustered_p_value, false discovery rate over all regions.",
        "clustered_significant": "Whether clustered_bonferroni_p_value is below alpha.",
        **RATIO_COLUMNS,
        "n_left": "Lesions in the left structure of the region.",
        "n_right": "Lesions in the right structure of the region.",
        "hemisphere_p_value": "Left against right, exact binomial, not corrected; n/a without both.",
    }
)


@dataclass(frozen=True, slots=True)
class StratumAnalysis:
    """Every test of one stratum.

    Parameters
    ----------
    regions
        Both analyses side by side, one row a region: columns of `REGION_COLUMNS`.
    omnibus
        All regions at once, those that expect fewer than 5 lesions pooled.
    paper_omnibus
        The paper's largest regions and the rest: four cells.
    hemispheres
        Left against right over all paired structures.
    pooled_icc
        How alike the lesions of a patient are.
    effective_patients
        See `bidsapp.statistics.clustered.Clustering`.
    n_patients, n_lesions
        Patients with lesions and their lesions; those outside all structures included.
    n_off_structure
        Lesions that count for no region: they take no part in the tests.
    """

    regions: pd.DataFrame
    omnibus: ChiSquareTest
    paper_omnibus: ChiSquareTest
    hemispheres: HemisphereTest
    pooled_icc: float
    effective_patients: float
    n_patients: int
    n_lesions: int
    n_off_structure: int


def count_lesions(lesions: pd.DataFrame, regions: pd.Index) -> pd.DataFrame:
    """Count the lesions of each patient (rows) in each region (columns).

    Patients without a lesion in any region have no row.

    Parameters
    ----------
    lesions
        One row a lesion: ``subject`` and ``region``, missing where it counts for none.
    regions
        Names of all regions.

    Raises
    ------
    DataError
        If a lesion lies in a region of another atlas.
    """
    inside = lesions[lesions["region"].notna()]
    unknown = sorted(set(inside["region"]) - set(regions))
    if unknown:
        raise DataError(f"regions of lesions must be regions of the atlas, got {', '.join(unknown)}")
    counts = pd.crosstab(inside["subject"], inside["region"])
    return counts.reindex(columns=regions, fill_value=0)


def analyse_stratum(
    lesions: pd.DataFrame, volumes: pd.DataFrame, settings: RegionSettings = PAPER
) -> StratumAnalysis:
    """Test where the lesions of a stratum sit, by the paper's preset and with patients kept together.

    Parameters
    ----------
    lesions
        One row a lesion: ``subject``, ``region``, ``hemisphere``.
    volumes
        Volume of each region (index) on the ``left``, ``right`` and ``none`` side, one unit.
    settings
        Alpha, smallest count of the paper preset, coverage of intervals.

    Raises
    ------
    DataError
        If a lesion lies in an unknown region or all volumes are zero.
    """
    fractions = volume_fractions(volumes.sum(axis=1))
    counts = count_lesions(lesions, volumes.index)
    observed = counts.sum(axis=0)
    clustering = estimate_clustering(counts, fractions)
    inside = lesions[lesions["region"].notna()]
    paired = volumes[(volumes["left"] > 0) & (volumes["right"] > 0)].sum()
    regions = region_table(observed, fractions, settings)
    regions = regions.merge(clustered_table(counts, fractions, settings), on="region", validate="one_to_one")
    regions = regions.merge(
        ratio_table(observed, fractions, settings.confidence), on="region", validate="one_to_one"
    )
    return StratumAnalysis(
        regions=regions.merge(_sides(inside, volumes), on="region", validate="one_to_one"),
        omnibus=omnibus_test(observed, fractions),
        paper_omnibus=_four_cells(observed, fractions),
        hemispheres=clustered_hemisphere_test(_side_counts(inside), paired["left"], paired["right"]),
        pooled_icc=clustering.pooled_icc,
        effective_patients=clustering.effective_patients,
        n_patients=int(lesions["subject"].nunique()),
        n_lesions=len(lesions),
        n_off_structure=len(lesions) - len(inside),
    )


def _four_cells(observed: pd.Series, fractions: pd.Series) -> ChiSquareTest:
    """Test the paper's three largest regions and the rest; territories have none of them."""
    if not set(PAPER_CELLS) <= set(observed.index):
        return ChiSquareTest(None, None, None, PAPER_CELLS, "the paper's regions are not among these")
    return omnibus_test(observed, fractions, PAPER_CELLS)


def compare_centres(lesions: pd.DataFrame, regions: pd.Index, *, seed: int) -> HeterogeneityTest:
    """Test whether centres agree on where lesions sit; patients without a centre take no part.

    Null hypothesis: patients are exchangeable between centres. One test.

    Parameters
    ----------
    lesions
        One row a lesion: ``subject``, ``site``, ``region``.
    regions
        Names of all regions.
    seed
        Of the permutations.
    """
    known = lesions[lesions["site"].notna()]
    counts = pool_regions(count_lesions(known, regions), CENTRE_CELLS)
    centres = known.drop_duplicates("subject").set_index("subject")["site"]
    return heterogeneity_test(counts, centres, seed=seed)


def _side_counts(inside: pd.DataFrame) -> pd.DataFrame:
    """Count each patient's lesions on the left and right."""
    subjects = inside["subject"]
    sides = {side: (inside["hemisphere"] == side).astype(int) for side in ("left", "right")}
    return pd.DataFrame(sides).groupby(subjects).sum()


def _sides(inside: pd.DataFrame, volumes: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for region in volumes.index:
        here = inside.loc[inside["region"] == region, "hemisphere"]
        left, right = int((here == "left").sum()), int((here == "right").sum())
        test = hemisphere_test(left, right, volumes.loc[region, "left"], volumes.loc[region, "right"])
        p_value = np.nan if test.p_value is None else test.p_value
        rows.append({"region": region, "n_left": left, "n_right": right, "hemisphere_p_value": p_value})
    return pd.DataFrame(rows)
