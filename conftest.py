"""Names that every doctest may use, and a way around the shape checks."""

import os
from collections.abc import Iterator

import jaxtyping
import numba  # noqa: F401 - now: imported inside a test of the command line, it would keep that test's threads
import numpy as np
import pytest
import torch

if not torch.cuda.is_available():
    # Triton asks once, on import, whether to interpret; another test may import it before its own do.
    os.environ["TRITON_INTERPRET"] = "1"


@pytest.fixture(autouse=True)
def _doctest_names(doctest_namespace: dict[str, object]) -> None:
    doctest_namespace["np"] = np
    doctest_namespace["torch"] = torch


@pytest.fixture
def _shapes_unchecked() -> Iterator[None]:
    """Let wrong shapes and types through the annotations, to test what the function itself says to them."""
    jaxtyping.config.update("jaxtyping_disable", True)  # noqa: FBT003 - not our function
    yield
    jaxtyping.config.update("jaxtyping_disable", False)  # noqa: FBT003
