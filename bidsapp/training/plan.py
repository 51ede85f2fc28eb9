"""Every choice of a training run."""

from dataclasses import dataclass

from bidsapp.errors import UsageError
from bidsapp.settings import SIGHTS

OBJECTIVES = ("paper", "overlap")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPlan:
    """How a general model is trained.

    Parameters
    ----------
    objective
        "paper": eq. (1), correlation of distance maps; "overlap": our dissimilarity in its place.
    sees
        What the network sees of atlas and head: "images", as in the paper, or "labels".
    spacing_mm
        Of the grid that images and velocity live on; labels are compared at half of it by "overlap".
    steps
        Updates, each from two scans.
    learning_rate
        Of Adam.
    synthetic_fraction
        How often a scan is replaced by one of random contrast, made from its label map.
    largest_bend_mm
        Root mean square of the strongest random deformation of a training scan.
    check_every
        Steps from one validation, and one checkpoint, to the next.
    bfloat16
        Compute the network in bfloat16 on a processor, too; on CUDA it always is.
    saves_memory
        Compute parts of the network twice rather than keep them.
    random_seed
        Start of the weights, order of the scans and every random change to them.

    Raises
    ------
    UsageError
        If a number is out of its range.

    References
    ----------
    Wielenberg et al. 2026, section on training (weights, Adam). doi:10.48550/arXiv.2602.12933
    """

    objective: str = "paper"
    sees: str = "images"
    spacing_mm: float = 4.0
    steps: int = 2000
    learning_rate: float = 1e-4
    synthetic_fraction: float = 0.5
    largest_bend_mm: float = 4.0
    check_every: int = 50
    bfloat16: bool = False
    saves_memory: bool = False
    random_seed: int = 0

    def __post_init__(self) -> None:
        if self.objective not in OBJECTIVES:
            raise UsageError(f"the objective must be one of {', '.join(OBJECTIVES)}, got {self.objective!r}")
        if self.sees not in SIGHTS:
            raise UsageError(f"a network sees {' or '.join(SIGHTS)}, got {self.sees!r}")
        if not 0.5 <= self.spacing_mm <= 10:
            raise UsageError(f"the spacing must be 0.5 to 10 mm, got {self.spacing_mm:g}: choose 2 to 4")
        if self.steps < 1 or self.check_every < 1:
            raise UsageError(
                f"training needs a step and a check at least, got {self.steps} and {self.check_every}"
            )
        if not 0 < self.learning_rate < 1:
            raise UsageError(f"the learning rate must lie between 0 and 1, got {self.learning_rate:g}")
