"""Figures come from the results only."""

from pathlib import Path
from typing import Any

from benchmark.figures import draw_real_dice, main
from bidsapp.bids.save import save_json


def test_each_scan_has_its_two_dots_the_best_on_top(real: dict[str, Any]) -> None:
    axes = draw_real_dice(real).axes[0]
    before, after = (dots.get_offsets().tolist() for dots in axes.collections[1:])
    assert before == [[0.5, 0.0], [0.6, 1.0]]
    assert after == [[0.8, 0.0], [0.9, 1.0]]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["sub-b", "sub-a"]


def test_the_same_result_gives_the_same_bytes(tmp_path: Path, real: dict[str, Any]) -> None:
    save_json(real, tmp_path / "real.json")
    drawn = []
    for name in ("one", "two"):
        assert main(["--results", str(tmp_path), "--figures", str(tmp_path / name)]) == 0
        drawn.append((tmp_path / name / "real_dice.svg").read_bytes())
    assert drawn[0] == drawn[1]
    assert b"sub-a" in drawn[0]


def test_without_a_result_nothing_is_drawn(tmp_path: Path) -> None:
    assert main(["--results", str(tmp_path), "--figures", str(tmp_path)]) == 66
    assert not list(tmp_path.iterdir())
