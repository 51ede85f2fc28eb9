"""The benchmark of a CUDA card, tried on the processor with a phantom: parts, bytes, figures and page."""

import argparse
import json
import logging
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmark import gpu, gpu_others, gpu_parts
from benchmark.gpu_bytes import ADAM, ADD, REFINE, stage_bytes
from benchmark.gpu_page import build_block, write_page
from benchmark.gpu_parts import Heads, measure_agreement, measure_loop
from benchmark.peers.cases import Brain, Case
from benchmark.peers.turns import Prepared
from benchmark.roofline_kernels import OPERATIONS
from benchmark.roofline_kernels import Case as Sizes
from benchmark.summary import collect
from bidsapp.errors import DataError
from bidsapp.images.volume import Volume
from bidsapp.registration.intensities import Intensities
from bidsapp.settings import RegistrationSettings, Stage
from tests.benchmark.conftest import PROVENANCE
from tests.registration.conftest import FIXED, phantom

STAGE = Stage(
    grid_mm=16.0, labels_mm=4.0, smoothing_mm=16.0, step_mm=1.0, iterations=2, image_weight=1.0, images_mm=4.0
)
SETTINGS = RegistrationSettings(stages=(STAGE, replace(STAGE, grid_mm=8.0)), field_mm=4.0)
CARD = {"name": "a card", "memory_gib": 80.0, "cuda": "13.0"}


def heads(name: str = "oas1") -> Heads:
    sides = []
    for shift in (0.0, 3.0):
        points = FIXED.voxel_centres_mm() + np.array([shift, -shift / 2, 0.0])
        labels = Volume(phantom(points).reshape(FIXED.shape), FIXED)
        sides.append(Brain(Volume(labels.data.astype(np.float32), FIXED), labels, None))
    return Heads(Case(name, *sides), Intensities(*(side.t1w for side in sides)))


def bench(tmp_path: Path) -> gpu.Bench:
    chosen = {"repeats": 1, "other_repeats": 1, "loop_repeats": 1, "network_steps": 1}
    options = argparse.Namespace(**chosen, peers_python=tmp_path / "no-python")
    presets = dict.fromkeys(("fast", "default", "best"), SETTINGS)
    return gpu.Bench([heads()], "cpu", options, presets)


def test_bytes_of_an_update_are_those_of_its_kernels() -> None:
    fixed, moving = heads().labels
    stage = replace(STAGE, labels_mm=2.0, image_weight=0.0)
    settings = replace(SETTINGS, margin_mm=1000.0, squaring_steps=2)
    counted = stage_bytes(fixed, moving, fixed, stage, settings)
    field = Sizes("", (5, 6, 6), (40, 48, 44), (44, 52, 48))
    votes = Sizes("", (40, 48, 44), (40, 48, 44), (44, 52, 48))
    costs = {operation.name: (operation.forward, operation.adjoint) for operation in OPERATIONS}
    expected = sum(cost.bytes(votes) for cost in costs["label votes"])
    for name in ("compose", "compose", "smooth, 7 weights", "squared differences", "squared curvature"):
        expected += sum(cost.bytes(field) for cost in costs[name])
    expected += sum(cost.bytes(field) for cost in costs["log Jacobian moments"])
    expected += 2 * REFINE.bytes(field) + ADD.bytes(field) + ADAM.bytes(field)
    assert counted == expected
    assert stage_bytes(fixed, moving, fixed, replace(stage, image_weight=1.0), settings) > counted


def test_a_loop_is_what_more_updates_take_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = heads()

    def fake(_: Heads, settings: RegistrationSettings, __: str) -> gpu_parts.Run:
        updates = sum(stage.iterations for stage in settings.stages)
        return gpu_parts.Run(None, 0.1, 2.0 + 0.5 * updates, 1.0)  # type: ignore[arg-type]

    monkeypatch.setattr(gpu_parts, "align", fake)
    row = measure_loop(pair, SETTINGS, "cpu", 1e9, 2)
    assert (row["n_updates"], row["loop_seconds"]) == (4, pytest.approx(2.0))
    assert row["preparation_seconds"] == pytest.approx(2.0)
    assert row["floor_seconds"] == pytest.approx(2 * sum(row["bytes_per_update"]) / 1e9, abs=1e-5)


def test_a_device_agrees_with_itself() -> None:
    assert measure_agreement(heads(), SETTINGS, ("cpu", "cpu"))["mm_max"] == 0.0


def test_all_parts_make_figures_and_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "measure_bandwidth", lambda _: 1e10)
    monkeypatch.setattr(gpu_others, "prepare", lambda _, start, folder: Prepared(folder, FIXED, start))
    monkeypatch.setattr(
        gpu, "measure_published_network", lambda *_, **__: {
            "case": "oas1", "grid": [4, 5, 6], "precision": "float32", "n_updates_measured": 1,
            "n_updates_before": 3, "seconds_per_update": 0.5, "n_updates_extrapolated_to": 1500,
            "seconds_extrapolated": 750.0, "peak_gib": None,
        },
    )  # fmt: skip
    monkeypatch.setattr(gpu_others, "take_turn", refuse)
    path = tmp_path / "gpu.json"
    found = gpu.measure_parts(
        bench(tmp_path), {"provenance": PROVENANCE | {"versions": {}}, "card": CARD}, path
    )
    assert found["sloppy"]  # not all cases
    assert set(found["presets"]) == {"fast", "default", "best"}
    assert "did not run" in found["fireants"]["skipped"]
    row = found["presets"]["default"][0]
    parts = row["affine_seconds"] + row["preparation_and_updates_seconds"] + row["way_back_seconds"]
    assert row["seconds"] == pytest.approx(parts, rel=0.5)
    assert row["dsc_mean"] > 0.5
    assert found["figures"]["speedup_vs_network"]["value"] == pytest.approx(
        750 / found["figures"]["seconds_median"]["value"], rel=0.01
    )
    kept = json.loads(path.read_text(encoding="utf-8"))
    block = build_block(kept)
    assert "a card, 80 GiB" in block
    assert "| `default` | 1 |" in block
    assert "750 s for 1500, extrapolated" in block
    assert "FireANTs did not run on this card" in block
    page = tmp_path / "page.md"
    page.write_text("<!-- gpu: start -->\n<!-- gpu: end -->\n", encoding="utf-8")
    assert write_page(tmp_path, page) == 0
    assert block in page.read_text(encoding="utf-8")


def refuse(*_: object) -> None:
    raise DataError("there must be a module named fireants")


def test_fireants_stands_beside_every_preset() -> None:
    ours = {"seconds": 1.5, "dsc_mean": 0.9, "peak_gib": 1.0, "case": "oas1"} | dict.fromkeys(
        ("affine_seconds", "preparation_and_updates_seconds", "way_back_seconds"), 0.5
    )
    theirs = {"case": "oas1", "seconds": 3.0, "dsc_mean": 0.7}
    found = gpu.assemble({"presets": {"default": [ours]}})
    found |= {"card": CARD, "provenance": PROVENANCE | {"versions": {"torch": "2.11"}}}
    found["fireants"] = {"setting": "fast", "drive": "T1w", "rows": [theirs]}
    block = build_block(found)
    assert "| oas1 | 3.00 | 0.700 | 1.50 | 0.900 |" in block
    assert "torch 2.11" in block


def test_a_cut_run_keeps_what_it_has_and_is_not_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise DataError("the card is gone")

    monkeypatch.setattr(gpu, "measure_whole_grid", stop)
    path = tmp_path / "gpu.json"
    with pytest.raises(DataError, match="the card is gone"):
        gpu.measure_parts(bench(tmp_path), {"provenance": PROVENANCE}, path)
    kept = json.loads(path.read_text(encoding="utf-8"))
    assert kept["missing"] == [
        *("whole_grid", "loops", "published_network", "agreement", "fireants", "other_presets")
    ]
    assert set(kept["figures"]) == {"seconds_median"}


def test_of_a_cut_run_the_figures_that_are_there_are_published_and_the_rest_is_named() -> None:
    row = {"seconds": 1.5, "dsc_mean": 0.9, "peak_gib": 1.0, "case": "oas1"} | dict.fromkeys(
        ("affine_seconds", "preparation_and_updates_seconds", "way_back_seconds"), 0.5
    )
    found = gpu.assemble({"presets": {"default": [row]}}) | {"missing": ["loops", "whole_grid"]}
    found |= {"card": CARD, "provenance": PROVENANCE | {"versions": {}}}
    assert "Not measured in this run: loops, whole grid." in build_block(found)
    assert list(collect({"gpu.json": found})) == ["engine.gpu.seconds_median"]
    with pytest.raises(DataError):
        collect({"gpu.json": found | {"missing": []}})


def test_the_published_network_is_timed_by_its_updates(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter((0.0, 7.0, 10.0, 11.0))
    monkeypatch.setattr(gpu_others.time, "perf_counter", lambda: next(ticks))
    row = gpu_others.measure_published_network(heads(), "cpu", steps=2, warm_up=1, spacing_mm=8.0)
    assert row["seconds_per_update"] == pytest.approx(3.0)
    assert row["seconds_extrapolated"] == pytest.approx(4500.0)
    assert row["grid"] == [10, 12, 11]


def test_figures_of_a_card_are_published_by_name() -> None:
    values = {"seconds_median": 1.5, "over_floor": 3.0, "speedup_vs_network": 200.0, "peak_gib": 3.5}
    values |= {"agreement_mm_p99": 0.01}
    figures = {name: {"value": value, "n": 6} for name, value in values.items()}
    listed = collect({"gpu.json": {"provenance": PROVENANCE, "figures": figures}})
    assert {name: entry["value"] for name, entry in listed.items()} == {
        f"engine.gpu.{name}": value for name, value in values.items()
    }


def test_without_a_card_the_command_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu.torch.cuda, "is_available", lambda: False)
    with caplog.at_level(logging.WARNING):
        assert gpu.main(["--results", str(tmp_path)]) == 0
    assert "skipped, no CUDA card on this machine" in caplog.text
    assert not list(tmp_path.iterdir())


def test_a_machine_with_a_card_needs_no_more_than_numbers_and_images() -> None:
    absent = ("bids", "jinja2", "distributed", "dask", "ot", "optuna", "statsmodels")
    code = f"import sys; sys.modules.update(dict.fromkeys({absent})); import benchmark.gpu, benchmark.network"
    done = subprocess.run([sys.executable, "-c", code], cwd=gpu.PAGE.parents[1], check=False)
    assert done.returncode == 0


def test_the_page_has_room_for_the_tables() -> None:
    page = gpu.PAGE.read_text(encoding="utf-8")
    assert page.count("<!-- gpu: start -->") == page.count("<!-- gpu: end -->") == 1
