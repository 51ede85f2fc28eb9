"""The tumour benchmark: its plan, its sums and its page."""

from collections import Counter

import numpy as np
import pytest

from benchmark.tumours import choose, read_rows
from benchmark.tumours_methods import METHODS
from benchmark.tumours_page import build_block
from benchmark.tumours_scans import DIAMETERS_MM, SITES, plan_tumours
from benchmark.tumours_scores import point_overlap
from benchmark.tumours_summary import sum_up
from bidsapp.bids.save import save_json
from bidsapp.errors import DataError, UsageError


def row(method: str, ratio: float, *, diameter_mm: float = 10.0, lost: bool = False) -> dict[str, object]:
    tumour = {
        "diameter_mm": diameter_mm,
        "structure": "Putamen",
        "mass_effect_mm": 0.0,
        "labels_inside": "wrong",
        "jacobian_ratio": ratio,
        "volume_factor": 0.9,
        "volume_vs_control": 1.0,
        "centroid_error_mm": 1.5,
        "middle_error_mm": 1.8,
        "ring_error_mm": 1.0,
        "overlap": 0.8,
        "lost": lost,
    }
    return {
        "scan": "sub-a",
        "method": method,
        "commit": "0" * 40,
        "dsc_mean": 0.9,
        "control_dsc_mean": 0.91,
        "cpu_seconds": 40.0,
        "tumours": [tumour, {**tumour, "diameter_mm": 3.0, "jacobian_ratio": ratio + 0.2}],
    }


def test_six_scans_have_every_diameter_at_every_site_once():
    seen = Counter((t.diameter_mm, t.structure) for scan in range(6) for t in plan_tumours(scan).tumours)
    assert set(seen) == {(diameter, site) for diameter in DIAMETERS_MM for site in SITES}
    assert set(seen.values()) == {1}


def test_tumours_with_and_without_push_core_and_background_are_planned():
    plans = [plan_tumours(scan) for scan in range(6)]
    tumours = [tumour for plan in plans for tumour in plan.tumours]
    assert {plan.inside for plan in plans} == {"background", "wrong"}
    assert {tumour.kind for tumour in tumours} == {"solid", "ring"}
    assert {tumour.mass_effect_mm > 0 for tumour in tumours} == {True, False}


def test_every_method_has_a_name_of_its_own_and_unknown_ones_are_refused():
    assert len({method.name for method in METHODS}) == len(METHODS)
    assert choose(["greedy", "affine"])[0].name == "greedy"
    with pytest.raises(UsageError, match="a method must be one of"):
        choose(["guess"])


def test_means_spreads_and_medians_are_those_of_the_tumours():
    found = sum_up([row("overlap-mask", 1.0)])
    assert found["mask"]["jacobian_ratio_mean"] == pytest.approx(1.1)
    assert found["mask"]["jacobian_ratio_sd"] == pytest.approx(0.1)
    assert found["mask"]["centroid_beyond_ring_mm_median"] == pytest.approx(0.5)
    assert found["mask"]["middle_beyond_ring_mm_median"] == pytest.approx(0.8)
    assert found["mask"]["dsc_change_mean"] == pytest.approx(-0.01)
    assert found["mask"]["by"]["diameter_mm"]["3.0"]["n"] == 1
    assert found["commits"] == ["0" * 40]


def test_rows_that_do_not_tell_the_centroid_have_no_say_in_its_median():
    old = row("overlap-mask", 1.0)
    for tumour in old["tumours"]:
        del tumour["centroid_error_mm"]
    both = sum_up([row("overlap-mask", 1.0), old])["mask"]
    assert (both["n"], both["n_centroids"]) == (4, 2)
    assert both["centroid_beyond_ring_mm_median"] == pytest.approx(0.5)
    alone = sum_up([old])["mask"]
    assert (alone["n_centroids"], alone["centroid_error_mm_median"]) == (0, None)
    provenance = {"date": "2026-01-01", "machine": {"class": "none"}}
    page = build_block({**sum_up([old]), "provenance": provenance})
    assert "| not measured | not measured | +0.80 |" in page


def test_peers_stand_side_by_side_with_and_without_mask():
    found = sum_up([row("greedy", 0.7), row("greedy-mask", 0.9)])
    assert found["greedy"]["nomask"]["jacobian_ratio_mean"] == pytest.approx(0.8)
    assert found["greedy"]["mask"]["jacobian_ratio_mean"] == pytest.approx(1.0)


def test_nothing_measured_is_refused():
    with pytest.raises(DataError, match="there must be a result to sum up"):
        sum_up([])


def test_nothing_measured_is_nothing_read(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmark.tumours.scan_names", lambda: ("sub-a",))
    assert read_rows(tmp_path) == []
    save_json(row("affine", 1.0), tmp_path / "sub-a" / "affine.json")
    assert [one["method"] for one in read_rows(tmp_path)] == ["affine"]


def test_the_page_has_a_row_a_method_and_a_table_a_property():
    found = sum_up([row("overlap-mask", 1.0), row("greedy", 0.7, lost=True)])
    provenance = {"date": "2026-01-01", "machine": {"class": "a machine"}}
    block = build_block({**found, "provenance": provenance})
    assert "| field, our objective, volume term and mask | 2 | 1.10 ± 0.10 |" in block
    assert "| greedy, NCC 2x2x2, 100x50x10 | 2 | 0.80 ± 0.10 |" in block
    assert "| 3 | 1.20 ± 0.00 (1.00) | 0.90 ± 0.00 (1.00) |" in block
    assert "All methods" not in block


def test_a_method_that_lacks_a_scan_is_compared_on_the_scans_that_all_have():
    others = [{**row("overlap-mask", 2.0), "scan": "sub-b"}, row("overlap-mask", 1.0)]
    found = sum_up([*others, row("paper-none", 0.5)])
    assert found["methods"]["overlap-mask"]["n"] == 4
    together = found["side_by_side"]
    assert together["n_scans"] == 1
    assert together["methods"]["overlap-mask"]["jacobian_ratio_mean"] == pytest.approx(1.1)
    provenance = {"date": "2026-01-01", "machine": {"class": "a machine"}}
    first, second = build_block({**found, "provenance": provenance}).split("All methods, on the 1 scans")
    assert "paper objective" not in first
    assert "| field, paper objective, no volume term | 2 | 0.60 ± 0.10 |" in second
    assert "| field, our objective, volume term and mask | 2 | 1.10 ± 0.10 |" in second


def test_bodies_that_share_nothing_overlap_by_nothing():
    cube = np.argwhere(np.ones((3, 3, 3))).astype(float)
    assert point_overlap(cube, cube + np.array([9.0, 0, 0]), 1.0) == 0
    assert point_overlap(cube, cube + np.array([0.25, 0, 0]), 1.0) > 0.7
