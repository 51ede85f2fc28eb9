"""One list of figures from all results."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmark.summary import FIGURES, collect, load_results, main
from bidsapp.errors import DataError


def test_figures_are_read_from_the_results_that_are_there(real: dict[str, Any]) -> None:
    figures = collect({"real.json": real})
    assert {name: entry["value"] for name, entry in figures.items()} == {
        "real.affine.dsc_mean": pytest.approx(0.55),
        "real.final.dsc_mean": pytest.approx(0.85),
        "real.final.dsc_min": 0.8,
        "real.final.folded_fraction_max": 0.0,
        "real.subjects": 2,
    }
    assert figures["real.final.dsc_mean"] == {
        "value": pytest.approx(0.85),
        "unit": "1",
        "n": 2,
        "source": "real.json",
        "command": "python -m benchmark.measure real",
    }


def test_every_figure_has_a_name_of_its_own_that_begins_with_its_case() -> None:
    names = [figure.name for figure in FIGURES]
    assert len(set(names)) == len(names)
    cases = {"real", "virtual", "demo", "engine", "peers", "heldout", "scale", "container", "faults"}
    cases |= {"calibration", "group_scale", "tumour", "network", "gpu"}
    assert {figure.source for figure in FIGURES} == {f"{case}.json" for case in cases}


def test_a_figure_can_be_read_from_the_result_of_another_case(real: dict[str, Any]) -> None:
    found = {
        "provenance": real["provenance"],
        "heldout_structures": {"n": 21, "dsc_mean": 0.8, "greedy_dsc_mean": 0.7},
    }
    figures = collect({"heldout.json": found})
    assert figures["engine.heldout_structures.dsc_mean"]["value"] == 0.8
    assert figures["engine.heldout_structures.greedy_dsc_mean"]["value"] == 0.7
    assert {entry["source"] for entry in figures.values()} == {"heldout.json"}


def test_no_results_make_no_figures() -> None:
    assert collect({}) == {}


def test_a_result_without_what_a_figure_needs_is_refused(real: dict[str, Any]) -> None:
    del real["aggregates"]["dice_mean"]
    with pytest.raises(DataError, match=r"real\.json must hold aggregates\.dice_mean\.mean, but has no dice"):
        collect({"real.json": real})


def test_the_command_writes_the_same_bytes_again(tmp_path: Path, real: dict[str, Any]) -> None:
    (tmp_path / "real.json").write_text(json.dumps(real), encoding="utf-8")
    assert main(["--results", str(tmp_path)]) == 0
    first = (tmp_path / "summary.json").read_bytes()
    (tmp_path / "summary.json").unlink()
    assert main(["--results", str(tmp_path)]) == 0
    assert (tmp_path / "summary.json").read_bytes() == first


def test_without_results_nothing_is_written(tmp_path: Path) -> None:
    assert main(["--results", str(tmp_path)]) == 66
    assert not list(tmp_path.iterdir())


def test_sloppy_results_are_not_published(tmp_path: Path, real: dict[str, Any]) -> None:
    (tmp_path / "real.json").write_text(json.dumps(real | {"sloppy": True}), encoding="utf-8")
    with pytest.raises(DataError, match="must not be published"):
        load_results(tmp_path)


@pytest.mark.parametrize("text", ["{", "[1]"])
def test_a_damaged_result_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "demo.json").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match="measure again"):
        load_results(tmp_path)
