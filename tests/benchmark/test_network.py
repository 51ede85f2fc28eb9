"""The paper's table for network and field: its plan, scores, sums and page, and a run that goes on."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmark import network
from benchmark.network_methods import GENERAL, OVERFITTED, plan_methods
from benchmark.network_page import MARKERS, PAGE, build_block, write_page
from benchmark.network_scores import score_labels
from benchmark.network_summary import figures, sum_up
from benchmark.peers.cases import Brain, Case
from benchmark.summary import FIGURES, collect
from benchmark.tumours_methods import AFFINE, align_control
from benchmark.tumours_scans import TumourScan
from benchmark.tumours_scores import healthy_structures, leave_tumours_out
from bidsapp.bids.save import save_json
from bidsapp.errors import DataError, UsageError
from bidsapp.geometry.space import Space
from bidsapp.images.volume import Volume
from bidsapp.registration.network.unet import VelocityNet
from bidsapp.registration.network.weights import GeneralModel, Provenance, to_bytes
from tests.benchmark.conftest import PROVENANCE
from tests.registration.conftest import FIXED, phantom

MODEL = Path("model.safetensors")
METHODS = plan_methods(MODEL, "cpu")
LEARNT = Provenance(4.0, "tiny", "paper", 7, "0.1", "CC0", ("a",))


def row(scan: str, method: str, dice: float) -> dict[str, Any]:
    """Make a row of two structures, the second of which has no surface, and two tumours."""
    side = {
        "dsc": [dice, dice - 0.2], "hd_mm": [6.0, None], "assd_mm": [0.5, None], "folded_fraction": 0.003,
        "cpu_seconds": 40.0, "wall_seconds": 20.0,
    }  # fmt: skip
    tumour = {"diameter_mm": 10.0, "volume_factor": 0.8, "jacobian_ratio": 0.9, "lost": False}
    tumours = [tumour, {**tumour, "volume_factor": 1.0, "lost": True}]
    patients = {**side, "tumours": tumours}
    return {"scan": scan, "method": method, "commit": "0" * 40, "healthy": side, "patients": patients}


def whole() -> list[dict[str, Any]]:
    """Give rows of all methods on a scan the model saw and one that it did not."""
    return [
        row(scan, method.name, 0.8 if method.name == AFFINE.name else 0.9 + 0.02 * (scan == "sub-b"))
        for method in METHODS
        for scan in ("sub-a", "sub-b")
    ]


def published() -> dict[str, Any]:
    found = sum_up(whole(), METHODS, ["sub-b"])
    model = {"steps": 7, "spacing_mm": 4.0, "sees": "labels", "objective": "paper", "sha256": "f" * 64}
    return {"case": "network", "provenance": PROVENANCE, "device": "cpu", "model": model, **found}


def test_every_method_has_a_name_of_its_own_and_only_some_need_a_model() -> None:
    assert len({method.name for method in METHODS}) == len(METHODS) == 7
    assert [method.name for method in METHODS if method.predicts_only] == [GENERAL]
    assert {method.name for method in plan_methods(None, "cpu")} == {
        AFFINE.name,
        "network-overlap",
        "field-overlap",
    }
    for method in METHODS:
        assert method.choices is not None
        assert method.choices["lesion_handling"] == "volume"
        assert not method.uses_mask


def test_a_structure_that_is_lost_has_no_overlap_and_no_distance() -> None:
    space = Space((4, 5, 6), np.diag([2.0, 1.0, 1.0, 1.0]))
    labels = np.zeros(space.shape, dtype=np.uint8)
    labels[0, 1:4, 1:4], labels[3, 1:4, 1:4] = 1, 2
    moved = np.roll(np.where(labels == 1, 1, 0), 1, axis=0).astype(np.uint8)
    scores = score_labels(Volume(labels, space), Volume(moved, space), [1, 2])
    assert scores["dsc"] == [0.0, 0.0]
    assert scores["hd_mm"][0] == scores["assd_mm"][0] == 2.0
    assert np.isnan(scores["hd_mm"][1])
    assert np.isnan(scores["assd_mm"][1])


def test_the_distance_is_that_of_the_farthest_voxel() -> None:
    space = Space((24, 25, 26), np.diag([1.0, 1.0, 2.0, 1.0]))
    labels = np.zeros(space.shape, dtype=np.uint8)
    labels[4:16, 4:16, 4:16] = 1
    strayed = labels.copy()
    strayed[10, 10, 25] = 1
    scores = score_labels(Volume(labels, space), Volume(strayed, space), [1])
    assert scores["hd_mm"] == [20.0]
    assert scores["assd_mm"][0] < 0.1


def test_what_tumours_cover_counts_for_no_structure() -> None:
    space = Space((4, 5, 6), np.eye(4))
    whole = Volume(np.repeat(np.array([1, 1, 2, 2], dtype=np.uint8), 30).reshape(space.shape), space)
    covered = np.zeros(space.shape, dtype=bool)
    covered[:2, :4] = True
    covered[2, :2] = True
    outside = leave_tumours_out(whole, covered)
    assert np.bincount(outside.data.ravel()).tolist() == [60, 12, 48]
    assert np.flatnonzero(healthy_structures(outside, whole)).tolist() == [2]


def test_the_general_model_alone_is_its_prediction_and_nothing_more(tmp_path: Path) -> None:
    model, net = tmp_path / MODEL, VelocityNet(seed=3)
    with torch.no_grad():
        net.to_velocity.weight.zero_()
        net.to_velocity.get_parameter("bias").copy_(torch.tensor([0.2, 0.0, 0.0]))
    model.write_bytes(to_bytes(GeneralModel(net, replace(LEARNT, spacing_mm=8.0))))
    labels = Volume(phantom(FIXED.voxel_centres_mm()).reshape(FIXED.shape), FIXED)
    head = Brain(Volume(labels.data.astype(np.float32), FIXED), labels, None)
    scan = TumourScan(Case("a", head, head), head, None, None, ())  # type: ignore[arg-type]
    general = next(method for method in plan_methods(model, "cpu", sloppy=True) if method.predicts_only)
    found = align_control(general, scan, tmp_path)
    middle = tuple(size // 2 for size in found.space.shape)
    assert found.displacement[(slice(None), *middle)] == pytest.approx([1.6, 0.0, 0.0], abs=0.05)


def test_means_and_spreads_are_over_structures_and_scans_together() -> None:
    part = figures([row("sub-a", "affine", 0.9)["patients"], row("sub-b", "affine", 0.8)["patients"]])
    values = np.array([0.9, 0.7, 0.8, 0.6])
    assert part["dsc_mean"] == pytest.approx(values.mean())
    assert part["dsc_sd"] == pytest.approx(values.std(ddof=1), rel=1e-5)
    assert part["dsc_sd_over_scans"] == pytest.approx(np.std([0.8, 0.7], ddof=1), rel=1e-5)
    assert (part["hd_mm_mean"], part["n"], part["n_tumours"], part["lost"]) == (6.0, 2, 4, 2)
    assert part["volume_factor_mean"] == pytest.approx(0.9)


def test_the_gain_counts_only_scans_the_model_never_saw() -> None:
    found = sum_up(whole(), METHODS, ["sub-b"])
    assert found["general"]["dsc_mean"] == pytest.approx(0.81)
    assert found["general"]["gain_over_affine"] == pytest.approx(0.12)
    assert found["general"]["n_unseen"] == 1
    assert "gain_over_affine" not in sum_up(whole(), METHODS, [])["general"]
    with pytest.raises(DataError, match="there must be a result to sum up"):
        sum_up([], METHODS, [])


def test_the_list_of_figures_reads_network_and_field() -> None:
    listed = collect({"network.json": published()})
    assert set(listed) == {figure.name for figure in FIGURES if figure.source == "network.json"}
    assert set(listed) == {
        "network.general.dsc_mean", "network.overfitted.dsc_mean", "network.overfitted_paper.dsc_mean",
        "network.field.dsc_mean", "network.general.gain_over_affine",
    }  # fmt: skip
    assert listed["network.general.gain_over_affine"]["n"] == 1


def test_the_page_has_blocks_of_healthy_scans_and_patients_and_of_those_never_seen(tmp_path: Path) -> None:
    found = published()
    block = build_block(found)
    general = "| general model, no over-fitting | 2 | 0.810 ± 0.116 | 6.00 ± 0.00 | 0.50 ± 0.00 | 0.3 | "
    assert general + "40 |" in block
    assert general + "40 | 20 |" in build_block(found | {"device": "cuda:0, a card"})
    assert general + "0.90 ± 0.12 | 0.90 ± 0.00 | 40 |" in block
    assert block.count("| general model, no over-fitting | 1 | 0.820") == 2
    assert "it never saw 1 of the 2 scans" in block
    save_json(found, tmp_path / "network.json")
    page = tmp_path / "page.md"
    page.write_text("\n".join(MARKERS), encoding="utf-8")
    assert write_page(tmp_path, page) == 0
    assert block in page.read_text(encoding="utf-8")
    assert all(PAGE.read_text(encoding="utf-8").count(marker) == 1 for marker in MARKERS)


def test_who_was_never_seen_stands_in_the_file_or_is_told_but_not_both(tmp_path: Path) -> None:
    path = tmp_path / MODEL
    scans = ("sub-a", "sub-b", "sub-c")
    path.write_bytes(to_bytes(GeneralModel(VelocityNet(seed=0), LEARNT)))
    assert network.find_unseen(scans, path, ()) == ["sub-b", "sub-c"]
    with pytest.raises(UsageError, match="got both: leave it out"):
        network.find_unseen(scans, path, ("b",))
    path.write_bytes(to_bytes(GeneralModel(VelocityNet(seed=0), replace(LEARNT, learnt_from=None))))
    assert network.find_unseen(scans, path, ("sub-c",)) == ["sub-c"]
    with pytest.raises(UsageError, match="got neither: name them"):
        network.find_unseen(scans, path, ())
    assert network.find_unseen(scans, None, ()) == []


def test_a_run_goes_on_and_rows_of_another_model_do_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[tuple[str, str]] = []

    def fake(turns: network.Turns, name: str) -> None:
        for method in turns.due(name):
            measured.append((name, method.name))
            save_json(row(name, method.name, 0.9), turns.path(name, method))

    monkeypatch.setattr(network, "measure", fake)
    one = network.Turns(METHODS, "cpu", tmp_path, "one", "0" * 40)
    network.measure_all(one, ["sub-a"], 1)
    assert len(measured) == len(METHODS)
    network.measure_all(one, ["sub-a"], 1)
    assert len(measured) == len(METHODS)
    network.measure_all(replace(one, model="other"), ["sub-a"], 1)
    again: list[Mapping[str, Any]] = list(network.read_rows(one, ["sub-a"]))
    assert {name for _, name in measured[len(METHODS) :]} == {
        method.name for method in METHODS if "model" in method.name or method.name == GENERAL
    }
    assert [entry["method"] for entry in again] == [method.name for method in METHODS]


def test_an_incomplete_run_is_not_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "scan_names", lambda: ("sub-a", "sub-b"))
    monkeypatch.setattr(network, "measure_all", lambda *_: None)
    monkeypatch.setattr(network, "read_rows", lambda *_: [row("sub-a", AFFINE.name, 0.8)])
    command = ["--commit", "0" * 40, "--work", str(tmp_path / "work"), "--methods", AFFINE.name]
    assert network.main(command) == UsageError.exit_status
    assert network.main([*command, "--results", str(tmp_path)]) == 0
    assert network.main(["--methods", OVERFITTED, "--results", str(tmp_path)]) == UsageError.exit_status


def test_only_scans_that_every_method_aligned_are_compared() -> None:
    rows = [entry for entry in whole() if (entry["scan"], entry["method"]) != ("sub-a", OVERFITTED)]
    assert {entry["scan"] for entry in network.compared(rows)} == {"sub-b"}
    assert len(network.compared(rows)) == len(METHODS)
    assert network.compared(rows[:3]) == []


def test_where_no_scan_was_seen_there_is_one_table_a_side() -> None:
    found = {**published(), **sum_up(whole(), METHODS, ["sub-a", "sub-b"])}
    assert "it never saw 2 of the 2 scans" in build_block(found)
    assert build_block(found).count("| general model, no over-fitting |") == 2
