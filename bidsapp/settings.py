"""Every choice of a run: frozen dataclasses, one default each."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from bidsapp.errors import UsageError


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
    shard
        (I, N): only every N-th participant, from the I-th on, 1 the first.
    """

    bids_dir: Path
    participants: tuple[str, ...] = ()
    sessions: tuple[str, ...] = ()
    derivatives: Mapping[str, Path] = field(default_factory=dict)
    filters: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    shard: tuple[int, int] = (1, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One step of the coarse-to-fine over-fitting.

    Parameters
    ----------
    grid_mm
        Spacing of the velocity's grid.
    labels_mm
        Spacing at which labels are compared (never finer than they are).
    smoothing_mm
        Standard deviation of the Gaussian that every update of the velocity passes through.
    step_mm
        Longest that an update can be, in millimetres of velocity; two fifths of it where slopes are as steep
        as their root mean square.
    iterations
        Number of updates.
    image_weight
        Of one minus the local correlation of intensities, against a label dissimilarity from 0 to 1.
    images_mm
        Spacing at which intensities are compared.
    """

    grid_mm: float
    labels_mm: float
    smoothing_mm: float
    step_mm: float
    iterations: int
    image_weight: float = 0.0
    images_mm: float = 2.0


SIGHTS = ("images", "labels")
"""What a network can see of atlas and patient."""
PRESETS = ("fast", "default", "best")
LESION_HANDLINGS = ("auto", "mask", "volume", "none")

_COARSE = (
    Stage(
        grid_mm=8.0,
        labels_mm=4.0,
        smoothing_mm=8.0,
        step_mm=1.0,
        iterations=12,
        image_weight=2.0,
        images_mm=4.0,
    ),
    Stage(grid_mm=4.0, labels_mm=2.0, smoothing_mm=4.0, step_mm=0.5, iterations=24, image_weight=2.0),
)
_FINE = Stage(grid_mm=1.75, labels_mm=1.0, smoothing_mm=0.8, step_mm=1.0, iterations=25, image_weight=0.03)
_NETWORK = Stage(grid_mm=4.0, labels_mm=2.0, smoothing_mm=4.0, step_mm=0.5, iterations=100, image_weight=2.0)
_SLOPPY_NETWORK = replace(_NETWORK, grid_mm=8.0, labels_mm=4.0, images_mm=4.0, iterations=10)
_FINER = (
    Stage(grid_mm=2.0, labels_mm=2.0, smoothing_mm=1.5, step_mm=0.4, iterations=12, image_weight=1.0),
    Stage(grid_mm=1.25, labels_mm=1.0, smoothing_mm=0.6, step_mm=1.0, iterations=50),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationSettings:
    """How a patient is aligned to the atlas.

    Parameters
    ----------
    stages
        Coarse to fine.
    objective
        "overlap" of the structures, or the "paper"'s correlation of distance maps, whose weights are its own.
    smoothness_weight
        Of the mean squared gradient of the velocity (mm per mm).
    curvature_weight
        Of the mean squared curvature of the velocity (mm per mm2), hence in mm2.
    volume_weight
        Of the variance of the log Jacobian determinant within each structure.
    lesion_weight
        Of the squared log Jacobian of lesions against the growth of their ring; with 0 they are not levelled
        with it at the end either.
    squaring_steps
        N of scaling and squaring.
    field_mm
        Spacing of the displacements that are kept: fine enough for trilinear interpolation to follow them.
    margin_mm
        How far the velocity's grid reaches beyond the atlas labels.
    parameterisation
        What is moved: the velocity "field" itself, or the weights of the "network" that gives it.
    initial_model
        File of a general model to begin with; None to begin with nothing, or an untrained network.
    random_seed
        Of an untrained network.
    """

    stages: tuple[Stage, ...] = (*_COARSE, _FINE)
    objective: str = "overlap"
    smoothness_weight: float = 0.012
    curvature_weight: float = 0.06
    volume_weight: float = 0.025
    lesion_weight: float = 5.0
    squaring_steps: int = 3
    field_mm: float = 0.67
    margin_mm: float = 6.0
    parameterisation: str = "field"
    initial_model: Path | None = None
    random_seed: int = 0

    @property
    def levels_lesions(self) -> bool:
        """Whether lesions are levelled with the tissue around them at the end."""
        return self.objective == "overlap" and self.lesion_weight > 0

    @classmethod
    def preset(cls, name: str) -> "RegistrationSettings":
        """Give a point of the measured frontier of overlap against time: fast, default or best.

        Raises
        ------
        UsageError
            If the name is another one.
        """
        if name not in PRESETS:
            raise UsageError(f"a preset must be one of {', '.join(PRESETS)}, got {name!r}")
        if name == "fast":
            first, second = (replace(stage, iterations=8, image_weight=0.0) for stage in _COARSE)
            fine = replace(_FINE, grid_mm=2.25, smoothing_mm=0.6, iterations=9, image_weight=0.0)
            return cls(stages=(first, second, fine), curvature_weight=0.25, field_mm=0.88)
        if name == "best":
            return cls(
                stages=(*_COARSE, *_FINER),
                smoothness_weight=0.01,
                curvature_weight=0.05,
                volume_weight=0.02,
                field_mm=0.53,
            )
        return cls()

    @classmethod
    def sloppy(cls) -> "RegistrationSettings":
        """Coarse and quick, for tests only."""
        return cls(
            stages=(
                Stage(grid_mm=8.0, labels_mm=4.0, smoothing_mm=8.0, step_mm=1.0, iterations=10),
                Stage(grid_mm=4.0, labels_mm=2.0, smoothing_mm=4.0, step_mm=0.5, iterations=15),
            ),
            field_mm=2.0,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """Two groups of patients that are compared with each other.

    Parameters
    ----------
    column
        Of participants.tsv.
    first, second
        The two entries of the column; patients with another one take no part.
    """

    column: str
    first: str
    second: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSettings:
    """How the group is analysed; both presets are always computed.

    Parameters
    ----------
    preset
        Whose verdict leads: "clustered" keeps the lesions of a patient together, "paper" takes each lesion
        as independent.
    group_by
        Column of participants.tsv that divides the patients into centres.
    session
        Of patients with several: "first" or "last" with lesions, or "all" as one patient's lesions.
    off_structure
        What becomes of a lesion whose centre of gravity lies outside all structures: "exclude", "nearest"
        (structure within 3 mm) or "overlap" (every lesion belongs to the structure it shares most with).
    contrast
        Two groups to compare voxel by voxel, or None.
    lesions_in_atlas_space
        Folder of lesion masks that lie in the atlas already, instead of the participant level's results.
    maps
        Read every patient's mask for the frequency map.

    Raises
    ------
    UsageError
        If a contrast is wanted without maps.
    """

    preset: str = "clustered"
    group_by: str = "site"
    session: str = "first"
    off_structure: str = "exclude"
    contrast: Contrast | None = None
    lesions_in_atlas_space: Path | None = None
    maps: bool = True

    def __post_init__(self) -> None:
        if self.contrast and not self.maps:
            raise UsageError(
                "a contrast compares patients voxel by voxel and needs maps, got --contrast with --no-maps: "
                "leave one of them out"
            )


_LOW_MEMORY_FIELD_MM = 1.2


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
        What torch computes on: "cpu", "cuda" or "cuda:N", and "auto" until that is settled.
    gpu
        "require" a GPU, "try" to find one, or "none".
    n_processes
        Scans worked on at the same time.
    n_threads
        Threads of each process.
    random_seed
        Seed of every random choice of the run.
    preset
        Of the registration: "fast", "default" or "best".
    objective
        What the registration lowers: "overlap" or "paper".
    parameterisation
        What the registration moves: "field" or "network".
    initial_model
        File of a general model the registration begins with; None for none.
    lesion_handling
        "mask", "volume" or "none", as in `bidsapp.lesions.handling`; "auto": by the mask where there is one.
    low_memory
        Keep displacements on a coarser grid, which needs a third less memory.
    sloppy
        Coarse and quick, for tests only.
    atlas
        Folder of the user's own atlas pack; None for the embedded one.
    group
        How the group is analysed.
    location_ensemble
        Alignments repeated from perturbed starts, to measure how sure places of lesions are; 0: none.
    force
        Work on scans again whose results are up to date.
    scheduler
        Address or file of a Dask scheduler whose workers do the work; None: processes of this machine.
    reports_only
        Draw the pages of finished scans again, and register nothing.
    command
        What was typed, for the pages; "" if nothing was.
    """

    selection: Selection
    output_dir: Path
    work_dir: Path
    levels: tuple[str, ...] = ("participant",)
    device: str = "cpu"
    gpu: str = "try"
    n_processes: int = 1
    n_threads: int = 1
    random_seed: int = 0
    preset: str = "default"
    objective: str = "overlap"
    parameterisation: str = "field"
    initial_model: Path | None = None
    lesion_handling: str = "auto"
    low_memory: bool = False
    sloppy: bool = False
    atlas: Path | None = None
    group: GroupSettings = field(default_factory=GroupSettings)
    location_ensemble: int = 0
    force: bool = False
    scheduler: str | None = None
    reports_only: bool = False
    command: str = ""

    @property
    def registration(self) -> RegistrationSettings:
        """How patients are aligned in this run."""
        chosen = RegistrationSettings.sloppy() if self.sloppy else RegistrationSettings.preset(self.preset)
        if self.parameterisation == "network":
            stage = _SLOPPY_NETWORK if self.sloppy else _NETWORK
            chosen = replace(chosen, parameterisation="network", stages=(stage,))
        return replace(
            chosen,
            objective=self.objective,
            field_mm=max(chosen.field_mm, _LOW_MEMORY_FIELD_MM) if self.low_memory else chosen.field_mm,
            initial_model=self.initial_model,
            random_seed=self.random_seed,
            volume_weight=0.0 if self.lesion_handling == "none" else chosen.volume_weight,
        )
