"""Whether the size of a lesion depends on where it lies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pandas as pd
from scipy.stats import t
from statsmodels.genmod.cov_struct import Exchangeable, Independence
from statsmodels.genmod.generalized_estimating_equations import GEE

from bidsapp.statistics.multiple_comparisons import adjust
from bidsapp.statistics.ranks import RankTest, kruskal_within_patients

SIZE_CLASSES = ("micro", "small", "medium", "large")

FEWEST_LESIONS, FEWEST_PATIENTS = 5, 10
"""A region is compared from so many lesions up, and a cohort from so many patients up: below that the
robust standard errors are too small."""
FEWEST_PATIENTS_IN_REGION = 5
"""Where one patient has all lesions of a region, its error is not defined; where a few have, hardly."""

VOLUME_COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "region": "Region of the lesions.",
        "n_lesions": "Lesions in it.",
        "n_patients": "Patients they belong to.",
        "median_volume_mm3": "Median native volume.",
        "ratio": "Geometric mean volume in the region over that of all other lesions compared, by "
        "generalised estimating equations with patients as clusters.",
        "ratio_low": "Lower end of its 95 % interval.",
        "ratio_high": "Upper end of its 95 % interval.",
        "p_value": "Two-sided p-value of ratio, not corrected.",
        "holm_p_value": "p_value, Holm over the regions compared.",
        "reason": "Why the region is not compared; n/a if it is.",
    }
)

SIZE_COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "region": "Region of the lesions; outside for those in none.",
        "micro": "Lesions below 25 mm3.",
        "small": "Lesions from 25 to below 125 mm3.",
        "medium": "Lesions from 125 to below 1000 mm3.",
        "large": "Lesions from 1000 mm3 up.",
        "n_lesions": "All of them.",
    }
)


@dataclass(frozen=True, slots=True)
class VolumeAnalysis:
    """Volume against region.

    Parameters
    ----------
    table
        One row a region: columns of `VOLUME_COLUMNS`.
    kruskal
        All regions at once.
    """

    table: pd.DataFrame
    kruskal: RankTest


def volume_by_region(
    lesions: pd.DataFrame, regions: Sequence[str], rng: np.random.Generator, *, n_permutations: int = 999
) -> VolumeAnalysis:
    """Test whether the volume of a lesion depends on its region, patients kept together.

    Null hypothesis: the volumes of a patient's lesions have nothing to do with their regions. All at once
    by Kruskal and Wallis, lesions shuffled within patients; each region against the others by generalised
    estimating equations of the logarithm of volume, lesions of a patient equally correlated.

    Parameters
    ----------
    lesions
        ``subject``, ``region`` (missing outside all) and ``native_volume_mm3`` above 0.
    regions
        Rows of the table, in their order.
    rng
        Source of chance.
    n_permutations
        Of the test of all regions.

    References
    ----------
    Liang and Zeger 1986, Biometrika 73:13-22. doi:10.1093/biomet/73.1.13
    Mancl and DeRouen 2001, Biometrics 57:126-134 (standard errors for few patients).
    doi:10.1111/j.0006-341X.2001.00126.x
    """
    inside = lesions[lesions["region"].notna() & (lesions["native_volume_mm3"] > 0)]
    kruskal = kruskal_within_patients(
        inside["native_volume_mm3"].to_numpy(np.float64),
        inside["region"].to_numpy(object),
        inside["subject"].to_numpy(object),
        rng,
        n_permutations=n_permutations,
    )
    table = _describe(inside, regions)
    counts = zip(table["n_lesions"], table["n_patients"], strict=True)
    reasons = [_too_few(n_lesions, n_patients) for n_lesions, n_patients in counts]
    enough = [name for name, reason in zip(regions, reasons, strict=True) if reason is None]
    table["reason"] = reasons
    compared = inside[inside["region"].isin(enough)]
    reason = _why_not(compared, enough)
    if reason:
        table.loc[enough, "reason"] = reason
        table = table.assign(**dict.fromkeys(("ratio", "ratio_low", "ratio_high", "p_value"), np.nan))
    else:
        table = table.join(_ratios(compared, enough))
    table["holm_p_value"] = adjust(table["p_value"], "holm")
    return VolumeAnalysis(table.rename_axis("region").reset_index()[list(VOLUME_COLUMNS)], kruskal)


def size_class_table(lesions: pd.DataFrame, regions: Sequence[str]) -> pd.DataFrame:
    """Count the lesions of each size class in each region and outside.

    Parameters
    ----------
    lesions
        ``region`` (missing outside all) and ``size_class``.
    regions
        Rows of the table, in their order; "outside" comes last.

    References
    ----------
    Patel et al. 2023 (SPIRS).

    Examples
    --------
    >>> lesions = pd.DataFrame({"region": ["Putamen", None], "size_class": ["small", "large"]})
    >>> size_class_table(lesions, ["Putamen"])[["region", "small", "large"]].values.tolist()
    [['Putamen', 1, 0], ['outside', 0, 1]]
    """
    names = lesions["region"].astype(object).where(lesions["region"].notna(), "outside")
    counts = pd.crosstab(names, lesions["size_class"])
    counts = counts.reindex(index=[*regions, "outside"], columns=list(SIZE_CLASSES), fill_value=0)
    counts["n_lesions"] = counts.sum(axis=1)
    return counts.rename_axis(index="region", columns=None).reset_index()


def _describe(inside: pd.DataFrame, regions: Sequence[str]) -> pd.DataFrame:
    by_region, rows = inside.groupby("region"), pd.Index(regions)
    return pd.DataFrame(
        {
            "n_lesions": by_region.size().reindex(rows, fill_value=0),
            "n_patients": by_region["subject"].nunique().reindex(rows, fill_value=0),
            "median_volume_mm3": by_region["native_volume_mm3"].median().reindex(rows),
        }
    )


def _too_few(n_lesions: int, n_patients: int) -> str | None:
    """Say why a region has no ratio; one patient's lesions alone would leave its error undefined."""
    if n_lesions < FEWEST_LESIONS:
        return f"fewer than {FEWEST_LESIONS} lesions"
    too_few = n_patients < FEWEST_PATIENTS_IN_REGION
    return f"lesions of fewer than {FEWEST_PATIENTS_IN_REGION} patients" if too_few else None


def _why_not(compared: pd.DataFrame, enough: Sequence[str]) -> str:
    if len(enough) < 2:
        return "no other region to compare with"
    if compared["subject"].nunique() < FEWEST_PATIENTS:
        return f"fewer than {FEWEST_PATIENTS} patients"
    return "all volumes are equal" if compared["native_volume_mm3"].nunique() == 1 else ""


def _ratios(compared: pd.DataFrame, regions: Sequence[str]) -> pd.DataFrame:
    """Fit one mean a region, and hold each against the weighted mean of the others."""
    ordered = compared.sort_values("subject", kind="stable")
    design = (ordered["region"].to_numpy()[:, None] == np.array(regions)).astype(np.float64)
    single = ordered["subject"].is_unique
    model = GEE(
        np.log(ordered["native_volume_mm3"].to_numpy(np.float64)),
        design,
        groups=ordered["subject"].to_numpy(),
        cov_struct=Independence() if single else Exchangeable(),
    )
    fit = model.fit(maxiter=60, cov_type="bias_reduced")
    share = design.mean(axis=0)
    contrasts = np.eye(len(regions)) - (1 - np.eye(len(regions))) * share / (1 - share)[:, None]
    difference = contrasts @ fit.params
    error = np.sqrt(np.einsum("ij,jk,ik->i", contrasts, fit.cov_params(), contrasts))
    spread = t(max(1, ordered["subject"].nunique() - len(regions)))
    reach = spread.ppf(0.975) * error
    return pd.DataFrame(
        {
            "ratio": np.exp(difference),
            "ratio_low": np.exp(difference - reach),
            "ratio_high": np.exp(difference + reach),
            "p_value": 2 * spread.sf(np.abs(difference) / error),
        },
        index=pd.Index(regions, name="region"),
    )
