import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bidsapp.images.volume import Volume
from bidsapp.lesions.instances import find_lesions
from bidsapp.lesions.table import LESION_COLUMNS, LesionScan, empty_lesion_table, lesion_table
from tests.lesions.conftest import BareAtlas, ScalingAlignment, ball, centred_space

SPACE = centred_space((44, 30, 30))


@pytest.fixture(scope="module")
def atlas(atlas_labels: Volume) -> Any:
    territories = Volume((atlas_labels.data == 1).astype(np.int16) * 7, atlas_labels.space)
    x = atlas_labels.space.voxel_centres_mm()[:, 0].reshape(atlas_labels.space.shape)
    flow = np.where(x < 0, 50 + x, np.nan)
    return BareAtlas(
        labels=atlas_labels,
        territories=territories,
        territory_names={7: "Left middle"},
        perfusion=Volume(flow, atlas_labels.space),
    )


@pytest.fixture(scope="module")
def table(atlas: Any) -> pd.DataFrame:
    mask = ball(SPACE, (-8.0, 0.5, 0.5), 4.0).data | ball(SPACE, (12.0, 0.5, 0.5), 2.0).data
    lesions = find_lesions(Volume(mask, SPACE), "binary")
    return lesion_table(LesionScan("01", None, lesions, SPACE), ScalingAlignment(), atlas)


def test_there_is_one_row_a_lesion_with_every_described_column(table: pd.DataFrame) -> None:
    assert list(table.columns) == list(LESION_COLUMNS)
    assert table["lesion"].tolist() == [1, 2]
    assert (table["subject"] == "01").all()


def test_a_lesion_inside_a_structure_is_named_after_it(table: pd.DataFrame) -> None:
    row = table.iloc[0]
    assert row["structure_centroid"] == "Left Cerebral White Matter"
    regions = row[["region_centroid", "region_nearest", "region_majority"]].tolist()
    assert regions == ["Cerebral White Matter"] * 3
    assert (row["hemisphere"], row["territory"], row["outside_fraction"]) == ("left", "Left middle", 0)
    assert row["junction_distance_mm"] == pytest.approx(-8, abs=0.6)
    assert row[["volume_factor", "jacobian_ratio"]].tolist() == pytest.approx([1, 1], rel=0.01)


def test_a_lesion_outside_is_given_to_its_neighbour_only_where_asked(table: pd.DataFrame) -> None:
    row = table.iloc[1]
    assert pd.isna(row["structure_centroid"])
    assert pd.isna(row["region_centroid"])
    assert pd.isna(row["territory"])
    assert row["region_nearest"] == "Cerebral Cortex"
    assert row["hemisphere"] == "right"
    assert row["outside_fraction"] == 1


def test_shares_of_territories_and_the_flow_are_those_of_the_whole_lesion(table: pd.DataFrame) -> None:
    inside, outside = table.iloc[0], table.iloc[1]
    assert json.loads(inside["territory_overlap"]) == {"Left middle": 1.0}
    assert json.loads(outside["territory_overlap"]) == {"outside": 1.0}
    flow = inside[["perfusion_min", "perfusion_median", "perfusion_max", "perfusion_fraction"]].tolist()
    assert flow == pytest.approx([38.5, 42, 45.5, 1], abs=0.3)
    assert outside["perfusion_fraction"] == 0
    assert outside[["perfusion_min", "perfusion_median", "perfusion_max"]].isna().all()


def test_a_scan_without_lesions_has_a_table_without_rows(atlas: Any) -> None:
    table = lesion_table(LesionScan("01", "02", (), SPACE), ScalingAlignment(), atlas)
    pd.testing.assert_frame_equal(table, empty_lesion_table())
    assert table["native_volume_mm3"].dtype == np.float64


def test_an_atlas_without_territories_leaves_them_out(atlas: Any) -> None:
    bare = BareAtlas(labels=atlas.labels, territories=None, territory_names={}, perfusion=None)
    lesions = find_lesions(ball(SPACE, (-8.0, 0.5, 0.5), 3.0), "binary")
    table = lesion_table(LesionScan("01", "02", lesions, SPACE), ScalingAlignment(), bare)
    assert (
        table[["territory", "territory_overlap", "perfusion_median", "perfusion_fraction"]]
        .isna()
        .all(axis=None)
    )
    assert table["session"].tolist() == ["02"]
