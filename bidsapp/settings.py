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


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """Everything the command line chooses.

    Parameters
    ----------
    selection
        Which files of which datasets are worked on.
    output_dir
        The derivative dataset that is written.
    work_dir
        Scratch folder; nothing in it is needed after the run.
    levels
        "participant", "group" or both, in the order they run.
    device
        What torch computes on, already settled: "cpu", "cuda" or "cuda:N".
    n_processes
        Scans worked on at the same time.
    n_threads
        Threads of each process.
    random_seed
        Seed of every random choice of the run.
    sloppy
        Coarse and quick, for tests only.
    atlas
        Folder of the user's own atlas pack; None for the embedded one.
    """

    selection: Selection
    output_dir: Path
    work_dir: Path
    levels: tuple[str, ...] = ("participant",)
    device: str = "cpu"
    n_processes: int = 1
    n_threads: int = 1
    random_seed: int = 0
    sloppy: bool = False
    atlas: Path | None = None
