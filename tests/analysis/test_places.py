"""Places of lesions on a toy atlas that has every map."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bidsapp.analysis.places import PlaceAnalysis, analyse_places
from bidsapp.analysis.regions import analyse_regions, region_volumes
from bidsapp.atlas.pack import AtlasPack
from bidsapp.atlas.territories import territories
from bidsapp.group_tables import place_tables
from bidsapp.images.volume import Volume
from bidsapp.lesions.off_structure import assigned_regions
from bidsapp.lesions.table import LESION_COLUMNS
from bidsapp.reports.group_sections import group_sections
from tests.test_group import lesion_row, toy_atlas

HIT = "Left Medial Lenticulostriate"


def mapped_atlas() -> AtlasPack:
    """The toy atlas with territories in slabs, left and right alike, and flow that grows along an axis."""
    atlas = toy_atlas()
    space = atlas.labels.space
    kept = [each for each in territories() if each.group != "LV"][:8]
    codes = np.repeat(np.array([each.index for each in kept], dtype=np.uint8), 3)[: space.shape[1]]
    data = np.broadcast_to(codes[None, :20, None], (20, 20, 22))
    data = np.pad(data, [(0, 0), (0, space.shape[1] - 20), (0, 0)])
    flow = np.broadcast_to(np.linspace(20, 60, space.shape[0])[:, None, None], space.shape)
    names = {each.index: each.name for each in kept}
    return replace(
        atlas,
        territories=Volume(np.ascontiguousarray(data), space),
        territory_names=names,
        perfusion=Volume(np.ascontiguousarray(flow), space),
    )


def cohort(n_patients: int, n_each: int) -> pd.DataFrame:
    rows = [
        lesion_row(f"{patient:02d}", None, number, 1 + (patient + number) % 4) | {"territory": HIT}
        for patient in range(n_patients)
        for number in range(n_each)
    ]
    frame = pd.DataFrame(rows, columns=list(LESION_COLUMNS))
    flow = {name: 40.0 for name in LESION_COLUMNS if name.startswith("perfusion")}
    shares = json.dumps({HIT: 0.75, "outside": 0.25})
    frame = frame.assign(**flow, territory_overlap=shares)
    frame["site"] = np.where(frame["subject"] < "10", "a", "b") if rows else []
    return assigned_regions(frame, "exclude")


@pytest.fixture(scope="module")
def places() -> PlaceAnalysis:
    return analyse_places(cohort(20, 2), mapped_atlas(), seed=0, n_places=1500)


def test_every_map_that_is_there_is_used(places: PlaceAnalysis) -> None:
    assert places.skipped == ()
    names = {table.name for table in place_tables(places)}
    assert {"perfusion", "perfusion_by_site", "territory_fractions", "territories_group"} <= names
    assert set(places.distances) == {"junction", "pial"}


def test_each_patient_has_all_of_his_or_her_volume_somewhere(places: PlaceAnalysis) -> None:
    np.testing.assert_allclose(places.territory_fractions.sum(axis=1), 1)
    assert len(places.territory_fractions) == 20


def test_tables_describe_their_columns(places: PlaceAnalysis) -> None:
    for table in place_tables(places):
        assert set(table.table.columns) <= set(table.columns), table.name


def test_another_test_does_not_change_the_chance_of_this_one(places: PlaceAnalysis) -> None:
    without = analyse_places(cohort(20, 2), toy_atlas(), seed=0, n_places=1500)
    pd.testing.assert_frame_equal(without.distances["pial"].table, places.distances["pial"].table)
    assert any(sentence.startswith("Perfusion") for sentence in without.skipped)
    assert any(sentence.startswith("Arterial territories") for sentence in without.skipped)


def soft(errors: float | list[float]) -> tuple[pd.DataFrame, tuple[str, ...]]:
    lesions = cohort(4, 1).assign(location_error_mm=errors)
    found = analyse_places(lesions, mapped_atlas(), seed=0, n_places=400)
    return found.soft_counts.set_index("region"), found.skipped


def test_each_lesion_is_as_soft_as_its_own_place_is_uncertain() -> None:
    sure, notes = soft(0.0)
    assert (sure["n_soft"] == sure["n_hard"]).all()
    assert notes == ()
    counts = [soft([error, 0.0, 0.0, 0.0])[0]["n_soft"] for error in (1.0, 2.0, 4.0)]
    lost = [float((sure["n_hard"] - each).clip(lower=0).sum()) for each in counts]
    assert 0 < lost[0] < lost[1] < lost[2] < 1


def test_an_unknown_place_is_taken_as_a_millimetre_off_and_that_is_said() -> None:
    unknown, notes = soft([np.nan, 0.0, np.nan, 0.0])
    known, _ = soft([1.0, 0.0, 1.0, 0.0])
    pd.testing.assert_frame_equal(unknown, known)
    assert notes[0].startswith("Of 2 lesions the location error is not known")


def test_lesions_without_a_region_take_no_part_in_tests_of_distances_and_positions() -> None:
    """Places of chance lie in structures; so must lesions that are held against them."""
    lesions = cohort(12, 2)
    strays = lesions.iloc[:5].assign(region=None, subject="99", junction_distance_mm=400.0, atlas_x_mm=400.0)
    both = pd.concat([lesions, strays], ignore_index=True)
    alone, found = (analyse_places(each, mapped_atlas(), seed=0, n_places=400) for each in (lesions, both))
    for surface, analysis in alone.distances.items():
        pd.testing.assert_frame_equal(found.distances[surface].table, analysis.table)
    assert found.position == alone.position
    pd.testing.assert_frame_equal(found.model.table, alone.model.table)


@pytest.mark.parametrize(("n_patients", "n_each"), [(0, 0), (1, 1), (1, 2), (2, 1)])
def test_hardly_any_lesions_give_sections_without_invented_numbers(n_patients: int, n_each: int) -> None:
    lesions = cohort(n_patients, n_each)
    few = analyse_places(lesions, mapped_atlas(), seed=0, n_places=400)
    regions = analyse_regions(lesions, region_volumes(toy_atlas().labels), seed=0)
    sections = group_sections(regions, few, virtual=False)
    words = [sentence for section in sections for sentence in section.sentences]
    rows = [row for section in sections for part in section.tables for row in part.table.rows]
    cells = [cell.text for row in rows for cell in row]
    assert not [text for text in [*words, *cells] if "nan" in text.lower().split()]
    assert any("Not estimated" in sentence for sentence in words)


def test_the_sections_name_every_question(places: PlaceAnalysis) -> None:
    regions = analyse_regions(cohort(20, 2), region_volumes(toy_atlas().labels), seed=0)
    found = [section.name for section in group_sections(regions, places, virtual=True)]
    assert found == [
        "robustness", "power", "distances", "model", "territories", "perfusion", "volumes", "sensitivity",
    ]  # fmt: skip
    assert group_sections(None, None, virtual=False) == ()
