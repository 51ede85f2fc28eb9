"""Where lesions sit when several explanations are weighed against each other: point-process regression.

Tissue, distance to the junction, distance to the surface, perfusion and territory overlap: what looks like
one preference in each of them may be one and the same. Here the rate of lesions at a place is a product of
factors, one for each explanation, estimated together.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import pandas as pd
import statsmodels.api as sm
from jaxtyping import Float64
from scipy.stats import norm
from statsmodels.tools.sm_exceptions import (
    ConvergenceWarning,
    HessianInversionWarning,
    PerfectSeparationWarning,
)

from bidsapp.errors import DataError
from bidsapp.statistics.clustered import FEW_PATIENTS, effective_patients
from bidsapp.statistics.multiple_comparisons import adjust

FEWEST_LESIONS = 5
"""A group with fewer lesions has no rate of its own; its places take no part."""

JUNCTION_SCALE_MM = 2.0

MODEL_COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "term": "Explanation.",
        "compared": "What the rate ratio compares.",
        "n_lesions": "Lesions in the group; n/a for an explanation that is measured.",
        "rate_ratio": "Rate of lesions in a volume, all other explanations equal; 1 is no difference.",
        "rate_ratio_low": "Lower end of its 95 % interval, errors robust to alikeness within patients.",
        "rate_ratio_high": "Upper end of the same interval.",
        "p_value": "Two-sided, robust in the same way, not corrected for the number of terms.",
        "holm_p_value": "The same, Holm over all terms of the model.",
        "reason": "Why there are no numbers; n/a if there are.",
    }
)


@dataclass(frozen=True, slots=True)
class AdjustedModel:
    """Rate ratios, and what they rest on.

    Parameters
    ----------
    table
        One row a term: columns of `MODEL_COLUMNS`; without rows if nothing could be fitted.
    n_lesions, n_patients, n_background
        That took part.
    left_out
        Explanations and groups that could not take part, in words.
    caution
        What the reader must know before quoting; empty if nothing.
    reason
        Why there is no model; empty if there is one.
    """

    table: pd.DataFrame
    n_lesions: int
    n_patients: int
    n_background: int
    left_out: tuple[str, ...] = ()
    caution: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Term:
    name: str
    compared: str
    values: Float64[np.ndarray, " n"]
    n_lesions: float


def adjusted_model(lesions: pd.DataFrame, background: pd.DataFrame, patients: pd.Series) -> AdjustedModel:
    """Estimate how the rate of lesions depends on several properties of a place at once.

    An inhomogeneous Poisson process, fitted as a logistic regression of lesions against places spread
    evenly over the brain. Null hypothesis of each row: the rate does not depend on this term, the others
    being equal. Two-sided; intervals and p-values from standard errors that sum over patients first.

    Parameters
    ----------
    lesions, background
        One row a lesion, and one a place spread evenly over the same brain. Categories (text) such as
        ``tissue`` and ``territory``; ``junction_distance_mm``, whose term is exp(-|distance| / 2 mm);
        other numbers are taken as they are, per standard deviation of the background. Columns without any
        value are left out.
    patients
        Patient of each lesion.

    Raises
    ------
    DataError
        If lesions, patients and background do not belong together.

    References
    ----------
    Warton and Shepherd 2010, Ann. Appl. Stat. 4:1383-1402 (logistic regression against background points).
    doi:10.1214/10-AOAS331. Liang and Zeger 1986, Biometrika 73:13-22 (errors robust to clusters).
    """
    if len(lesions) != len(patients) or list(lesions.columns) != list(background.columns):
        raise DataError(
            f"lesions, patients and background must belong together, got {len(lesions)} lesions, "
            f"{len(patients)} patients and the columns {list(lesions.columns)}, {list(background.columns)}"
        )
    both = pd.concat([lesions, background], ignore_index=True)
    is_lesion = np.arange(len(both)) < len(lesions)
    both, is_lesion, left_out = _complete(both, is_lesion)
    kept = patients.to_numpy()[np.flatnonzero(is_lesion)]
    found = AdjustedModel(
        pd.DataFrame(columns=list(MODEL_COLUMNS)),
        int(is_lesion.sum()),
        len(set(kept)),
        int((~is_lesion).sum()),
        tuple(left_out),
    )
    enough = found.n_lesions >= FEWEST_LESIONS and found.n_background > 0
    terms = [term for name in both.columns if enough for term in _terms(name, both[name], is_lesion)]
    least = max(10, FEWEST_LESIONS * (len(terms) + 1))
    fewest = len(terms) + 2
    if found.n_patients < fewest or found.n_lesions < least or not terms:
        why = f"{found.n_lesions} lesions of {found.n_patients} patients are too few for {len(terms)} terms"
        return replace(found, reason=f"{why}: at least {least} lesions of {fewest} patients are needed")
    return _fit(terms, is_lesion, kept, found)


def _complete(both: pd.DataFrame, is_lesion: np.ndarray) -> tuple[pd.DataFrame, np.ndarray, list[str]]:
    """Leave out empty columns, then places where something is missing or whose group has few lesions."""
    left_out = [f"{name}: no map" for name in both.columns if both[name].isna().all()]
    both = both.dropna(axis=1, how="all")
    whole = both.notna().all(axis=1).to_numpy()
    if (is_lesion & ~whole).any():
        left_out.append(f"{int((is_lesion & ~whole).sum())} lesions at places where a map says nothing")
    for name in both.columns:
        if not pd.api.types.is_numeric_dtype(both[name]):
            n_lesions = both.loc[is_lesion & whole, name].value_counts()
            groups = both.loc[whole, name].unique()
            rare = sorted(str(group) for group in groups if n_lesions.get(group, 0) < FEWEST_LESIONS)
            left_out += [f"{name} {group}: fewer than {FEWEST_LESIONS} lesions" for group in rare]
            whole = whole & ~both[name].isin(rare).to_numpy()
    return both[whole].reset_index(drop=True), is_lesion[whole], left_out


def _terms(name: str, column: pd.Series, is_lesion: np.ndarray) -> list[_Term]:
    """Turn one explanation into columns of the model."""
    if not pd.api.types.is_numeric_dtype(column):
        groups = column[~is_lesion].value_counts().index.tolist()
        return [
            _Term(
                name,
                f"{group} against {groups[0]}",
                (column == group).to_numpy(np.float64),
                float((column[is_lesion] == group).sum()),
            )
            for group in groups[1:]
        ]
    values = column.to_numpy(np.float64)
    if name == "junction_distance_mm":
        near = np.exp(-np.abs(values) / JUNCTION_SCALE_MM)
        return [_Term(name, "at the junction against far from it", near, np.nan)]
    spread = float(values[~is_lesion].std())
    if spread == 0:
        return []
    return [_Term(name, f"{spread:.3g} more", values / spread, np.nan)]


def _fit(
    terms: list[_Term], is_lesion: np.ndarray, patients: np.ndarray, found: AdjustedModel
) -> AdjustedModel:
    """Fit by logistic regression; every background place is its own cluster."""
    design = np.column_stack([np.ones(len(is_lesion)), *(term.values for term in terms)])
    _, codes = np.unique(patients, return_inverse=True)
    clusters = np.concatenate([codes, codes.max() + 1 + np.arange(found.n_background)])
    if np.linalg.matrix_rank(design) < design.shape[1]:
        return replace(found, reason="the explanations say the same: their rates cannot be told apart")
    try:
        with warnings.catch_warnings():
            for kind in (ConvergenceWarning, HessianInversionWarning, PerfectSeparationWarning):
                warnings.simplefilter("error", kind)
            model = sm.Logit(is_lesion.astype(np.float64), design).fit(
                disp=False, cov_type="cluster", cov_kwds={"groups": clusters}, maxiter=100
            )
    except (np.linalg.LinAlgError, ConvergenceWarning, HessianInversionWarning, PerfectSeparationWarning):
        return replace(found, reason="the rates could not be estimated: too few lesions for these terms")
    half = float(norm.isf(0.025)) * model.bse[1:]
    rows = [
        {
            "term": term.name,
            "compared": term.compared,
            "n_lesions": term.n_lesions,
            "rate_ratio": float(np.exp(model.params[place])),
            "rate_ratio_low": float(np.exp(model.params[place] - half[place - 1])),
            "rate_ratio_high": float(np.exp(model.params[place] + half[place - 1])),
            "p_value": float(model.pvalues[place]),
            "reason": "",
        }
        for place, term in enumerate(terms, 1)
    ]
    table = pd.DataFrame(rows)
    table["holm_p_value"] = adjust(table["p_value"], "holm")
    n_effective = effective_patients(np.bincount(codes))
    few = f"with {n_effective:.1f} effective patients the intervals are too narrow"
    return replace(found, table=table[list(MODEL_COLUMNS)], caution=few if n_effective < FEW_PATIENTS else "")
