"""Corrections for asking several questions at once."""

import numpy as np
import pandas as pd
from statsmodels.stats.multitest import multipletests

from bidsapp.errors import UsageError

METHODS = {"bonferroni": "bonferroni", "holm": "holm", "benjamini_hochberg": "fdr_bh"}


def adjust(p_values: pd.Series, method: str) -> pd.Series:
    """Correct a family of p-values for its size.

    The family is every p-value that is there: a missing one (NaN) was not tested, stays missing and does
    not count. Compare the adjusted values with the same alpha as a single p-value.

    Parameters
    ----------
    p_values
        One p-value a question, NaN where nothing was tested.
    method
        "bonferroni" or "holm" (no false finding at all, with probability 1 - alpha) or
        "benjamini_hochberg" (at most a share alpha of the findings false, on average).

    Raises
    ------
    UsageError
        If `method` is none of the three.

    References
    ----------
    Holm 1979, Scandinavian Journal of Statistics 6:65-70; Benjamini and Hochberg 1995, Journal of the
    Royal Statistical Society B 57:289-300. doi:10.1111/j.2517-6161.1995.tb02031.x

    Examples
    --------
    >>> adjust(pd.Series([0.01, 0.04, np.nan]), "bonferroni").tolist()
    [0.02, 0.08, nan]
    """
    if method not in METHODS:
        raise UsageError(f"the correction must be one of {', '.join(METHODS)}, got {method!r}")
    adjusted = pd.Series(np.nan, index=p_values.index, dtype=np.float64)
    there = p_values.notna()
    if there.any():
        adjusted[there] = multipletests(p_values[there].to_numpy(np.float64), method=METHODS[method])[1]
    return adjusted
