import gc
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "table4.json"


@pytest.fixture(autouse=True, scope="session")
def _quick_collection() -> Iterator[None]:
    """Spare statsmodels' calls of the garbage collector the objects of all imported libraries."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="session")
def golden() -> dict[str, Any]:
    return json.loads(GOLDEN.read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def golden_regions(golden: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(golden["regions"], columns=golden["region_columns"])


def stratum_counts(
    golden: dict[str, Any], regions: pd.DataFrame, stratum: str
) -> tuple[pd.Series, pd.Series]:
    """Counts and null fractions of one stratum of table 4; rows rounded to 0 expected are one more region."""
    rows = regions[regions["stratum"] == stratum].set_index("region")
    n_lesions = golden["n_lesions"][stratum]
    observed = rows["n_observed"].copy()
    fractions = rows["n_expected"] / n_lesions
    observed["Rounded to none"] = n_lesions - observed.sum()
    fractions["Rounded to none"] = 0.0
    return observed, fractions


def null_cohort(rng: np.random.Generator, fractions: pd.Series, n_patients: int, icc: float) -> pd.DataFrame:
    """Patients with 1 to about 20 lesions, whose region mix varies by a Dirichlet of the given ICC."""
    sizes = 1 + rng.negative_binomial(0.5, 0.25, size=n_patients)
    mean = fractions.to_numpy()
    mixes = rng.dirichlet(mean * (1 - icc) / icc, size=n_patients) if icc else [mean] * n_patients
    counts = [rng.multinomial(size, mix) for size, mix in zip(sizes, mixes, strict=True)]
    return pd.DataFrame(counts, columns=fractions.index)
