import numpy as np
import pytest

from bidsapp.errors import ShapeError
from bidsapp.geometry.space import Space
from bidsapp.images.volume import Volume
from bidsapp.metrics.measurements import STRUCTURE_COLUMNS, SUMMARY_COLUMNS, Measurements, measure

GRID = Space((8, 10, 12), np.diag([2.0, 1.0, 1.0, 1.0]))
STILL = np.zeros((3, *GRID.shape), dtype=np.float32)


def slab(**stops: int) -> Volume:
    """Labels named a1, a2, ... each fill voxels [2, stop) of their own column."""
    data = np.zeros(GRID.shape, dtype=np.uint8)
    for name, stop in stops.items():
        data[2:stop, 3 * int(name[1:]) - 2 : 3 * int(name[1:]), 2:10] = int(name[1:])
    return Volume(data, GRID)


def weighed(fixed: Volume, affine: Volume, warped: Volume) -> Measurements:
    return measure(fixed, affine, warped, displacement=STILL, inverse_displacement=STILL, space=GRID)


def test_two_structures_are_weighed_by_hand() -> None:
    found = weighed(slab(a1=6, a2=6), slab(a1=4, a2=6), slab(a1=6, a2=6))
    first, second = found.structures.iloc[0], found.structures.iloc[1]
    assert first["name"] == "Left Cerebral White Matter"
    assert first["dice_affine"] == pytest.approx(2 / 3)
    assert first["hd_affine_mm"] == 4.0  # two voxels of 2 mm
    assert (first["dice"], first["hd_mm"], first["assd_mm"]) == (1.0, 0.0, 0.0)
    assert (first["volume_atlas_ml"], first["volume_affine_ml"]) == (0.128, 0.064)
    assert second["dice_affine"] == 1.0
    assert found.summary["dice_affine_mean"] == pytest.approx((2 / 3 + 1) / 2)
    assert found.summary["hd_affine_mm_mean"] == pytest.approx(2.0)
    assert found.summary["dice_mean"] == 1.0


def test_structures_that_one_side_lacks_take_no_part_and_are_listed() -> None:
    found = weighed(slab(a1=6, a2=6), slab(a1=6, a3=6), slab(a1=6, a3=6))
    assert found.summary["n_structures"] == 1
    assert found.summary["dice_mean"] == 1.0
    listed = str(found.summary["missing_structures"]).split(", ")
    assert len(listed) == 33
    assert "Right Cerebral White Matter" in listed
    assert "Left Cerebral White Matter" not in listed


def test_a_structure_lost_by_the_deformable_step_counts_as_zero() -> None:
    found = weighed(slab(a1=6, a2=6), slab(a1=6, a2=6), slab(a1=6))
    assert found.summary["n_structures"] == 2
    assert found.summary["dice_mean"] == 0.5
    assert found.summary["hd_mm_mean"] == 0.0  # of the one structure that still has a surface


def test_the_table_lists_all_structures_and_explains_all_columns() -> None:
    found = weighed(slab(a1=6), slab(a1=6), slab(a1=6))
    assert found.structures["index"].tolist() == list(range(1, 35))
    assert list(found.structures.columns) == list(STRUCTURE_COLUMNS)
    assert list(found.summary) == list(SUMMARY_COLUMNS)
    assert all(text.endswith(".") for text in (*STRUCTURE_COLUMNS.values(), *SUMMARY_COLUMNS.values()))


def test_the_deformation_may_live_on_a_coarser_grid_than_the_labels() -> None:
    coarse = GRID.with_spacing(2.0)
    shift = np.full((3, *coarse.shape), 0.5, dtype=np.float32)
    labels = slab(a1=6)
    found = measure(labels, labels, labels, displacement=shift, inverse_displacement=-shift, space=coarse)
    assert found.summary["inverse_error_mm_p99"] == pytest.approx(0.0, abs=1e-6)
    assert found.summary["folded_fraction"] == 0.0


def test_a_fold_outside_the_brain_does_not_count() -> None:
    field = STILL.copy()
    field[0, 6] = -6.0
    far, near = slab(a1=5), slab(a1=8)
    away = measure(far, far, far, displacement=field, inverse_displacement=STILL, space=GRID)
    hit = measure(near, near, near, displacement=field, inverse_displacement=STILL, space=GRID)
    assert away.summary["folded_fraction"] == 0.0
    assert float(hit.summary["folded_fraction"]) > 0
    assert float(hit.summary["ndv_percent"]) > 0
    assert hit.summary["inverse_error_mm_p99"] == 6.0


def test_no_shared_structure_gives_no_mean() -> None:
    found = weighed(slab(a1=6), slab(a2=6), slab(a2=6))
    assert found.summary["n_structures"] == 0
    assert np.isnan(float(found.summary["dice_mean"]))


def test_a_record_with_an_unexplained_column_is_refused() -> None:
    found = weighed(slab(a1=6), slab(a1=6), slab(a1=6))
    with pytest.raises(ShapeError, match="must have the columns"):
        Measurements(found.structures.assign(extra=1), found.summary)
