"""Every choice of a run: frozen dataclasses, one default each."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which files of which datasets a run works on.

    Parameters
    ----------
    bids_dir
        The raw BIDS dataset.
    participants
        Labels without "sub-"; empty means all.
    sessions
        Labels without "ses-"; empty means all.
    derivatives
        Name to folder, as given with ``-d NAME=PATH``.
    filters
        ``t1w``, ``dseg`` or ``lesion`` to BIDS entities a file must have (``--bids-filter-file``);
        None: the entity must be absent, "*": present with any value.
    """

    bids_dir: Path
    participants: tuple[str, ...] = ()
    sessions: tuple[str, ...] = ()
    derivatives: Mapping[str, Path] = field(default_factory=lambda: MappingProxyType({}))
    filters: Mapping[str, Mapping[str, object]] = field(default_factory=lambda: MappingProxyType({}))
