"""Measurements: everything the scales say about one alignment, as tables."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pandas as pd
from jaxtyping import Float32

from bidsapp.atlas.seganat import structures
from bidsapp.errors import ShapeError
from bidsapp.geometry.space import Space
from bidsapp.images.regrid import on_grid
from bidsapp.images.volume import Volume
from bidsapp.metrics.deformation import inverse_error_mm, regularity
from bidsapp.metrics.overlap import dice_of, joint_counts
from bidsapp.metrics.surface import surface_distances

_EMPTY = "n/a when the structure is empty in the atlas or in the patient."
_MEAN = "Mean over the structures that are in both maps"

STRUCTURE_COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "index": "Number of the structure in a SegAnat label map.",
        "name": "Name of the structure with its side.",
        "is_compared": "Whether the structure is in both the atlas and the patient.",
        "dice_affine": "Dice coefficient after the affine step; higher is better. "
        "0 when one map lacks the structure, n/a when both do.",
        "dice": "Dice coefficient after the deformable step; higher is better. "
        "0 when one map lacks the structure, n/a when both do.",
        "hd_affine_mm": f"Hausdorff distance after the affine step, mm; lower is better. {_EMPTY}",
        "hd_mm": f"Hausdorff distance after the deformable step, mm; lower is better. {_EMPTY}",
        "hd95_affine_mm": f"95th percentile of the surface distance after the affine step, mm. {_EMPTY}",
        "hd95_mm": f"95th percentile of the surface distance after the deformable step, mm. {_EMPTY}",
        "assd_affine_mm": f"Average symmetric surface distance after the affine step, mm. {_EMPTY}",
        "assd_mm": f"Average symmetric surface distance after the deformable step, mm. {_EMPTY}",
        "volume_atlas_ml": "Volume of the structure in the atlas, mL.",
        "volume_affine_ml": "Volume of the patient's structure after the affine step, mL.",
        "volume_ml": "Volume of the patient's structure after the deformable step, mL.",
    }
)

SUMMARY_COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "n_structures": "Structures that are in both the atlas and the patient, of 34.",
        "missing_structures": "Names of the others, separated by commas.",
        "dice_affine_mean": f"{_MEAN}: Dice coefficient after the affine step.",
        "dice_mean": f"{_MEAN}: Dice coefficient after the deformable step.",
        "hd_affine_mm_mean": f"{_MEAN}: Hausdorff distance after the affine step, mm.",
        "hd_mm_mean": f"{_MEAN}: Hausdorff distance after the deformable step, mm.",
        "hd95_affine_mm_mean": f"{_MEAN}: 95th percentile of the surface distance, affine step, mm.",
        "hd95_mm_mean": f"{_MEAN}: 95th percentile of the surface distance, deformable step, mm.",
        "assd_affine_mm_mean": f"{_MEAN}: average symmetric surface distance, affine step, mm.",
        "assd_mm_mean": f"{_MEAN}: average symmetric surface distance, deformable step, mm.",
        "folded_fraction": "Share of the atlas brain's voxels where the Jacobian is zero or negative.",
        "ndv_percent": "Non-diffeomorphic volume (Liu et al. 2024) in percent of the atlas brain's volume.",
        "sd_log_jacobian": "Standard deviation of the natural logarithm of the Jacobian in the atlas brain.",
        "inverse_error_mm_p99": "99th percentile over the atlas brain of the distance, in mm, that going "
        "there and back misses.",
    }
)


@dataclass(frozen=True)
class Measurements:
    """How good one alignment is.

    Parameters
    ----------
    structures
        One row for each of the 34 structures; the columns are explained in ``STRUCTURE_COLUMNS``.
    summary
        One value a name; the names are explained in ``SUMMARY_COLUMNS``.

    Raises
    ------
    ShapeError
        If a column or a name is missing or unexplained.
    """

    structures: pd.DataFrame
    summary: Mapping[str, float | int | str]

    def __post_init__(self) -> None:
        for got, explained in (
            (list(self.structures.columns), list(STRUCTURE_COLUMNS)),
            (list(self.summary), list(SUMMARY_COLUMNS)),
        ):
            if got != explained:
                raise ShapeError(f"measurements must have the columns {explained}, got {got}")


def measure(
    fixed_labels: Volume,
    affine_labels: Volume,
    warped_labels: Volume,
    *,
    displacement: Float32[np.ndarray, "3 i j k"],
    inverse_displacement: Float32[np.ndarray, "3 i j k"],
    space: Space,
) -> Measurements:
    """Weigh one alignment: overlap and surfaces before and after, and how regular the deformation is.

    A structure that the atlas lacks, or that the patient's map lacks after both steps, takes no part in the
    means and is listed in ``missing_structures``. A structure that only one of the two steps has lost counts
    as Dice 0 there and has no surface distance.

    Parameters
    ----------
    fixed_labels
        SegAnat labels of the atlas.
    affine_labels, warped_labels
        The patient's SegAnat labels on the atlas grid, after the affine step alone and after both steps.
    displacement, inverse_displacement
        World millimetres (RAS+) on `space`: the deformable step from atlas to patient, and its inverse.
    space
        A grid in atlas world space; it need not be the atlas grid.

    Returns
    -------
    measurements
        The table of structures and the summary.

    Raises
    ------
    ShapeError
        If the three label maps are not on one grid or a field does not fit `space`.
    DataError
        If a map does not hold SegAnat labels.
    """
    table = _structure_table(fixed_labels, affine_labels, warped_labels)
    brain = on_grid(fixed_labels, space).data > 0
    shape = regularity(displacement, space, brain)
    error = inverse_error_mm(displacement, inverse_displacement, space, brain)
    compared = table[table["is_compared"]]
    means = [name for name in STRUCTURE_COLUMNS if name.startswith(("dice", "hd", "assd"))]
    values: dict[str, float | int | str] = {
        "n_structures": len(compared),
        "missing_structures": ", ".join(table.loc[~table["is_compared"], "name"]),
        **{f"{name}_mean": float(compared[name].mean()) for name in means},
        "folded_fraction": shape.folded_fraction,
        "ndv_percent": shape.ndv_percent,
        "sd_log_jacobian": shape.sd_log_jacobian,
        "inverse_error_mm_p99": float(np.percentile(error, 99)),
    }
    return Measurements(table, MappingProxyType({name: values[name] for name in SUMMARY_COLUMNS}))


def _structure_table(fixed: Volume, affine: Volume, warped: Volume) -> pd.DataFrame:
    before, after = surface_distances(fixed, affine), surface_distances(fixed, warped)
    counts = joint_counts(fixed, affine), joint_counts(fixed, warped)
    voxels = counts[0].sum(axis=1), counts[0].sum(axis=0), counts[1].sum(axis=0)
    millilitres = [count * fixed.space.voxel_volume_mm3 / 1000 for count in voxels]
    table = pd.DataFrame(
        {
            "index": [structure.index for structure in structures()],
            "name": [structure.name for structure in structures()],
            "is_compared": (voxels[0] > 0) & (voxels[1] + voxels[2] > 0),
            "dice_affine": dice_of(counts[0]),
            "dice": dice_of(counts[1]),
            "hd_affine_mm": before.hd_mm,
            "hd_mm": after.hd_mm,
            "hd95_affine_mm": before.hd95_mm,
            "hd95_mm": after.hd95_mm,
            "assd_affine_mm": before.assd_mm,
            "assd_mm": after.assd_mm,
            "volume_atlas_ml": millilitres[0],
            "volume_affine_ml": millilitres[1],
            "volume_ml": millilitres[2],
        }
    )
    return table.iloc[1:].reset_index(drop=True)
