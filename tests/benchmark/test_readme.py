"""README.md shows what was measured, and nothing else."""

from pathlib import Path
from typing import Any

import pytest

from benchmark.measure import RESULTS
from benchmark.readme import END, START, build_block, fill, main
from benchmark.running import ROOT
from benchmark.summary import NAME, collect, load_json, load_results
from bidsapp.bids.save import save_json
from bidsapp.errors import DataError

PAGE = f"# Title\n\n{START}\nold\n{END}\n\nThe end.\n"


def test_the_block_shows_value_n_data_machine_and_command(real: dict[str, Any]) -> None:
    block = build_block(collect({"real.json": real}), {"real.json": real})
    line = "| Dice after both steps, mean | **0.850** | 2 | 2 scans | `python -m benchmark.measure real` |"
    assert line in block
    assert "Machine (real): 2 x Abacus, 4 GiB, no GPU; 2026-01-02, commit 0123456789." in block
    assert "| sub-a | 0.600 | 0.900 | 0.400 | 1.50 | 0 | 0 | 0.200 | 0.0500 | 20.0 |" in block
    assert "refused with the way out: sub-c" in block
    assert "demo" not in block


def test_filling_twice_changes_nothing_and_keeps_the_rest() -> None:
    once = fill(PAGE, "new")
    assert once == f"# Title\n\n{START}\nnew\n{END}\n\nThe end.\n"
    assert fill(once, "new") == once


@pytest.mark.parametrize("text", ["# Title\n", f"{START}\n", f"{END}\n{START}\n", PAGE + PAGE])
def test_a_page_without_one_pair_of_markers_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="once each, in this order"):
        fill(text, "new")


def test_the_command_fills_the_page(tmp_path: Path, real: dict[str, Any]) -> None:
    save_json(real, tmp_path / "real.json")
    save_json(collect({"real.json": real}), tmp_path / NAME)
    page = tmp_path / "README.md"
    page.write_text(PAGE, encoding="utf-8")
    command = ["--results", str(tmp_path), "--readme", str(page)]
    assert main(command) == 0
    filled = page.read_text(encoding="utf-8")
    assert "**0.850**" in filled
    assert main(command) == 0
    assert page.read_text(encoding="utf-8") == filled


def test_a_page_without_markers_stays_as_it_is(tmp_path: Path, real: dict[str, Any]) -> None:
    save_json(real, tmp_path / "real.json")
    save_json(collect({"real.json": real}), tmp_path / NAME)
    page = tmp_path / "README.md"
    page.write_text("# Title\n", encoding="utf-8")
    assert main(["--results", str(tmp_path), "--readme", str(page)]) == 65
    assert page.read_text(encoding="utf-8") == "# Title\n"


def test_the_summary_is_what_the_results_say() -> None:
    assert load_json(RESULTS / NAME) == collect(load_results(RESULTS))


def test_readme_is_up_to_date() -> None:
    summary: dict[str, Any] = dict(load_json(RESULTS / NAME))
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text == fill(text, build_block(summary, load_results(RESULTS))), "run python -m benchmark.readme"
