"""What the page of one scan shows, as one record."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float32, Float64

from bidsapp.errors import ShapeError
from bidsapp.images.volume import Volume


@dataclass(frozen=True)
class ParticipantPage:
    """Everything the page of one scan shows.

    Parameters
    ----------
    title
        The scan, as in "sub-01 ses-02 ce-gadolinium".
    virtual
        Whether the data are made up; then every picture says so.
    inputs
        What was found: (what, path relative to the dataset, note).
    template, fixed_labels
        The atlas and its SegAnat labels.
    warped_affine, warped
        The T1w on the atlas grid, after the affine step alone and after both steps.
    affine_labels, warped_labels
        The patient's SegAnat labels, likewise.
    affine_lesion_mask, lesion_mask
        The lesions on the atlas grid, likewise: a mask, or the number of the lesion at each voxel; None
        without a mask.
    t1w, native_lesion_mask
        Native scan and mask; each on its own grid, in one world frame.
    native_labels
        The scan's SegAnat labels, on a grid of their own in the world of `t1w`; None leaves out the checks
        that ask whether scan, labels and mask belong together.
    jacobian
        Determinant of the deformable map atlas to patient, on its own grid in the atlas' world frame.
    displacement_mm
        That map's displacement, world millimetres, on the grid of `jacobian`; None leaves the grid out.
    affine
        The affine step, atlas world to patient world; None leaves the check for mirror images out.
    structures, summary
        As made by ``bidsapp.metrics.measurements``.
    lesions
        As made by `bidsapp.lesions.table.lesion_table`.
    convergence
        ``iteration``, ``level`` and one column a loss term.
    warnings
        Sentences.
    methods
        As `participant_methods` wants them.
    provenance
        What made this page: version, command, device, seconds, atlas, checksums.

    Raises
    ------
    ShapeError
        If a volume that belongs on the atlas grid lies elsewhere.
    """

    title: str
    virtual: bool
    inputs: tuple[tuple[str, str, str], ...]
    template: Volume
    warped_affine: Volume
    warped: Volume
    fixed_labels: Volume
    warped_labels: Volume
    affine_labels: Volume
    lesion_mask: Volume | None
    affine_lesion_mask: Volume | None
    t1w: Volume
    native_lesion_mask: Volume | None
    jacobian: Volume
    structures: pd.DataFrame
    summary: Mapping[str, float | int | str]
    lesions: pd.DataFrame
    convergence: pd.DataFrame
    warnings: tuple[str, ...]
    methods: Mapping[str, object]
    provenance: Mapping[str, str]
    native_labels: Volume | None = None
    displacement_mm: Float32[np.ndarray, "3 i j k"] | None = None
    affine: Float64[np.ndarray, "4 4"] | None = None

    def __post_init__(self) -> None:
        for name in ("warped_affine", "warped", "fixed_labels", "warped_labels", "affine_labels"):
            space = getattr(self, name).space
            if not space.matches(self.template.space):
                raise ShapeError(
                    f"{name} must lie on the template's grid {self.template.space.shape}, got {space.shape}"
                )
        for name in ("lesion_mask", "affine_lesion_mask"):
            mask = getattr(self, name)
            if mask is not None and not mask.space.matches(self.template.space):
                raise ShapeError(
                    f"{name} must lie on the template's grid {self.template.space.shape}, got "
                    f"{mask.space.shape}"
                )
