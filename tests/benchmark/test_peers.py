"""Turns, scores and sums of the tools side by side; none of them needs to be installed."""

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark import heldout
from benchmark.peers import __main__ as peers
from benchmark.peers import cases, keep, turns
from benchmark.peers.cases import Brain, Case, leave_out
from benchmark.peers.collect import MEASURED, collect, race
from benchmark.peers.common_grid import cover, still
from benchmark.peers.drivers import run_ours
from benchmark.peers.drivers.stopwatch import weigh
from benchmark.peers.keep import Keep
from benchmark.peers.page import build_block, draw, write_page
from benchmark.peers.score import score, score_parcels, score_structures
from benchmark.peers.tools import ENVIRONMENT, GREEDY_LABELS, PRESETS, SHORT, TOOLS, Tool
from bidsapp.errors import DataError, MissingInputError, UsageError
from bidsapp.geometry.space import Space
from bidsapp.images.alignment import Alignment
from bidsapp.images.volume import Volume

SPACE = Space((20, 22, 24), np.array([[-1.0, 0, 0, 10], [0, 1.0, 0, -4], [0, 0, 1.0, 3], [0, 0, 0, 1]]))
OURS = next(tool for tool in TOOLS if tool.name == "ours-default")
GREEDY = next(tool for tool in TOOLS if tool.name == "greedy-half")
PROVENANCE = {
    "command": "python -m benchmark.peers",
    "commit": "0123456789abcdef",
    "uncommitted_changes": False,
    "date": "2026-01-02",
    "machine": {"class": "2 x Abacus, 4 GiB, no GPU"},
    "n_runs": 1,
    "versions": {"metsatlas": "1.0"},
}


def brain(shift: int = 0) -> Brain:
    """Two structures and two parcels; the second brain sits `shift` voxels further along j."""
    labels = np.zeros(SPACE.shape, dtype=np.uint8)
    labels[4:9, 4 + shift : 12 + shift, 5:15] = 1
    labels[9:14, 4 + shift : 12 + shift, 5:15] = 2
    parcels = np.where(labels == 1, 100, np.where(labels == 2, 101, 0)).astype(np.uint8)
    return Brain(Volume(labels + np.float32(1), SPACE), Volume(labels, SPACE), Volume(parcels, SPACE))


def moved_case(shift: int) -> tuple[Case, Alignment, Space]:
    case = Case("moved", brain(), brain(shift))
    grid = cover(case.fixed.labels)
    return case, still(np.eye(4), grid), grid


def row(case: str, tool: Tool, dice: float, seconds: float, **changes: object) -> dict[str, Any]:
    values = dict.fromkeys(MEASURED, 0.5) | {"dsc_mean": dice, "dsc_back_mean": dice, "cpu_seconds": seconds}
    fixed = {"case": case, "tool": tool.name, "threads": 2, "machine": "Abacus", "versions": {"torch": "2"}}
    return {**fixed, **values, **changes}


def test_a_brain_on_itself_scores_one_and_nothing_folds() -> None:
    case, alignment, grid = moved_case(0)
    scores = score(case, alignment, grid)
    assert scores == {
        "n_structures": 2,
        "dsc_mean": 1.0,
        "dsc_back_mean": 1.0,
        "assd_mm_mean": 0.0,
        "sd_log_jacobian": 0.0,
        "folded_fraction": 0.0,
        "ndv_percent": 0.0,
    }
    assert score_parcels(case, alignment) == {"dsc_mean": 1.0, "dsc_back_mean": 1.0}


def test_a_shift_by_two_of_eight_voxels_costs_a_quarter_of_the_overlap_both_ways() -> None:
    case, alignment, grid = moved_case(2)
    found = score(case, alignment, grid)
    assert (found["dsc_mean"], found["dsc_back_mean"]) == (0.75, 0.75)
    assert score_parcels(case, alignment) == {"dsc_mean": 0.75, "dsc_back_mean": 0.75}


def test_the_field_that_undoes_the_shift_brings_it_back() -> None:
    case, alignment, grid = moved_case(2)
    field = alignment.displacement.copy()
    field[1] = 2.0
    assert score(case, Alignment(np.eye(4), grid, field, -field), grid)["dsc_mean"] == 1.0
    wrong = score(case, Alignment(np.eye(4), grid, -field, field), grid)
    assert (wrong["dsc_mean"], wrong["dsc_back_mean"]) == (0.5, 0.5)


def test_each_way_is_scored_on_its_own_grid() -> None:
    """Stretched twofold behind its middle, 8 voxels meet 6 on the fixed grid and 12 on the moving one."""
    case, _, grid = moved_case(0)
    y = grid.voxel_centres_mm()[:, 1].reshape(grid.shape)
    field = np.zeros((3, *grid.shape), dtype=np.float32)
    field[1] = np.maximum(0, y - 3.5)
    found = score(case, Alignment(np.eye(4), grid, field, -field), grid)
    assert found["dsc_mean"] == pytest.approx(2 * 6 / (8 + 6), abs=1e-5)
    assert found["dsc_back_mean"] == pytest.approx(2 * 8 / (8 + 12), abs=1e-5)


def test_folds_are_seen_on_the_common_grid_whatever_grid_the_tool_works_on() -> None:
    case, _, grid = moved_case(0)
    coarse = grid.with_spacing(2.0)
    x = coarse.voxel_centres_mm()[:, 0].reshape(coarse.shape)
    field = np.zeros((3, *coarse.shape), dtype=np.float32)
    field[0] = -1.5 * x  # mirrors and stretches: det J is -0.5 everywhere
    scores = score(case, Alignment(np.eye(4), coarse, field, np.zeros_like(field)), grid)
    assert scores["folded_fraction"] == 1.0


def test_only_the_structures_asked_for_are_scored() -> None:
    case, alignment, _ = moved_case(2)
    labels = case.moving.labels.data.copy()
    labels[labels == 2] = 0
    labels[9:14, 4:12, 5:15] = 2  # the second structure did not move
    half = Case("half", case.fixed, Brain(case.moving.t1w, Volume(labels, SPACE), None))
    assert score_structures(half, alignment, (2,)) == {"dsc_mean": 1.0, "dsc_back_mean": 1.0}
    assert score_structures(half, alignment, (1,)) == {"dsc_mean": 0.75, "dsc_back_mean": 0.75}
    assert score_parcels(half, alignment) == {}


def test_structures_are_left_out_on_both_sides_and_nothing_else_changes() -> None:
    case, _, _ = moved_case(1)
    shown = case.without((2,))
    for before, after in ((case.fixed, shown.fixed), (case.moving, shown.moving)):
        assert set(np.unique(after.labels.data)) == {0, 1}
        np.testing.assert_array_equal(after.labels.data == 1, before.labels.data == 1)
        assert after.t1w is before.t1w
    assert leave_out(case.fixed.labels, ()).data.max() == 2


def test_every_tool_has_a_name_of_its_own_and_reads_numbers_only_from_its_options() -> None:
    assert len({tool.name for tool in TOOLS}) == len(TOOLS)
    for tool in TOOLS:
        json.dumps(dict(tool.options))
        python = sys.executable if tool.family == "ours" else str(ENVIRONMENT / "bin" / "python")
        assert tool.command(Path("x"))[0] == python
    assert replace(GREEDY, python=Path("elsewhere/python")).command(Path("x"))[0] == "elsewhere/python"
    assert OURS.works_on("sub-oasis1000")
    assert not GREEDY_LABELS.works_on("sub-oasis1000")
    assert GREEDY_LABELS.works_on("oas2")
    assert [case for case in ("oas1", "oas2", "sub-a") if SHORT[0].works_on(case)] == ["oas1"]


def test_a_short_run_keeps_the_stages_before_its_last() -> None:
    whole = run_ours.settings_of({"preset": PRESETS[0]})
    none, two = (run_ours.settings_of(dict(tool.options)) for tool in SHORT[:2])
    assert none == replace(whole, stages=whole.stages[:-1])
    assert two == replace(whole, stages=(*whole.stages[:-1], replace(whole.stages[-1], iterations=2)))


def test_the_stopwatch_leaves_seconds_and_versions(tmp_path: Path) -> None:
    with weigh(tmp_path, "numpy"):
        np.linalg.svd(np.random.default_rng(0).normal(size=(300, 300)))
    run = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))
    assert run["cpu_seconds"] > 0
    assert run["versions"] == {"numpy": np.__version__}


PROGRAM = """
import json, sys, os, numpy as np
folder = sys.argv[1]
options = json.load(open(folder + "/options.json"))
threads = [int(os.environ[name]) for name in ("OMP_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")]
assert threads == [options["threads"]] * 2
field = np.full((3, 4, 5, 6), options["step"], dtype=np.float32)
np.savez(folder + "/alignment.npz", grid=np.eye(4), displacement=field, inverse=-field)
run = {"cpu_seconds": 1.5, "wall_seconds": 2.5, "versions": {"toy": "1"}}
json.dump(run, open(folder + "/run.json", "w"))
"""


class Toy(Tool):
    """A tool that needs no installation."""

    def command(self, folder: Path) -> list[str]:
        return [
            sys.executable,
            "-c",
            PROGRAM if self.options else "raise SystemExit('no memory left')",
            str(folder),
        ]


def toy(**options: object) -> Toy:
    return Toy(name="toy", family="greedy", words="", options=options, drive="T1w", where="all")


def test_a_turn_gives_the_field_and_what_it_cost(tmp_path: Path) -> None:
    case, _, _ = moved_case(0)
    prepared = turns.prepare(case, np.eye(4), tmp_path)
    (tmp_path / "displacement.nii").write_text("left over from another tool", encoding="utf-8")
    alignment, cost = turns.take_turn(toy(step=0.25), prepared, threads=3)
    assert float(alignment.displacement.max()) == 0.25
    assert (cost["cpu_seconds"], cost["wall_seconds"], cost["threads"]) == (1.5, 2.5, 3)
    assert cost["process_wall_seconds"] > 0
    assert not (tmp_path / "displacement.nii").exists()


def test_a_tool_that_fails_is_reported_with_its_last_words(tmp_path: Path) -> None:
    case, _, _ = moved_case(0)
    with pytest.raises(DataError, match="no memory left"):
        turns.take_turn(toy(), turns.prepare(case, np.eye(4), tmp_path), threads=1)


def test_a_result_is_kept_as_long_as_setting_and_machine_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = Keep(tmp_path)
    assert not results.has("oas1", toy(step=1))
    results.save("oas1", toy(step=1), {"dsc_mean": 0.5})
    assert results.has("oas1", toy(step=1))
    assert not results.has("oas1", toy(step=2))
    assert not results.has("oas2", toy(step=1))
    assert results.rows([toy(step=1)], ["oas1", "oas2"]).keys() == {("oas1", "toy")}
    monkeypatch.setattr(keep, "describe_machine", lambda: {"class": "another"})
    assert not results.has("oas1", toy(step=1))


def test_a_run_measures_what_is_missing_and_scores_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case, _, _ = moved_case(0)
    monkeypatch.setattr(peers, "TOOLS", (toy(step=0.0),))
    monkeypatch.setattr(peers, "ENVIRONMENT", tmp_path)
    monkeypatch.setattr(peers, "load_case", lambda _: case)
    monkeypatch.setattr(peers, "case_names", lambda: ("moved",))
    monkeypatch.setattr(peers, "find_affine", lambda _: np.eye(4))
    monkeypatch.setattr(peers, "describe_provenance", lambda _: PROVENANCE)
    folders = ["--work", str(tmp_path / "work"), "--results", str(tmp_path)]
    assert peers.main(folders) == 0
    found = json.loads((tmp_path / "peers.json").read_text(encoding="utf-8"))
    assert found["rows"][0]["dsc_mean"] == 1.0
    assert not found["sloppy"]
    monkeypatch.setattr(peers, "take_turn", None)  # a second run takes no turn
    assert peers.main(folders) == 0


def test_an_unknown_tool_and_tools_that_are_not_installed_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match=r"a tool must be one of .*ours-default.*, got demons"):
        peers.choose(["demons"])
    monkeypatch.setattr(peers, "ENVIRONMENT", tmp_path / "nowhere")
    with pytest.raises(MissingInputError, match="run make peers"):
        peers.choose(["greedy-half"])
    assert peers.choose(["ours-default"]) == (OURS,)


def test_turns_that_are_missing_are_not_published(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(peers, "RESULTS", tmp_path)
    with pytest.raises(UsageError, match="only 1 of 2 turns are taken"):
        peers._publish({"sloppy": True, "n_turns": 1, "n_turns_due": 2}, tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_unknown_case_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cases, "case_names", lambda: ("oas1",))
    with pytest.raises(UsageError, match="a case must be one of oas1, got sub-nobody"):
        cases.load_case("sub-nobody")


def rows_of(*rows: Mapping[str, Any]) -> dict[tuple[str, str], Mapping[str, Any]]:
    return {(str(each["case"]), str(each["tool"])): each for each in rows}


def test_pairs_and_scans_are_summed_up_apart() -> None:
    rows = rows_of(
        row("oas1", OURS, 0.9, 10),
        row("oas2", OURS, 0.8, 30),
        row("sub-a", OURS, 0.7, 20),
        row("oas1", GREEDY, 0.6, 5),
    )
    found: Any = collect(rows, (OURS, GREEDY), ("oas1", "oas2", "sub-a"), PROVENANCE)
    ours, greedy = found["tools"]
    assert ours["pairs"]["n"] == 2
    assert ours["pairs"]["dsc_mean"]["mean"] == pytest.approx(0.85)
    assert ours["pairs"]["cpu_seconds"]["median"] == 20
    assert ours["atlas"]["dsc_mean"]["mean"] == 0.7
    assert greedy["atlas"] == {"n": 0}
    assert (found["n_turns"], found["n_turns_due"], found["sloppy"]) == (4, 5, True)
    assert found["provenance"]["versions"] == {"metsatlas": "1.0", "torch": "2"}


def test_two_versions_of_one_program_are_refused() -> None:
    rows = rows_of(row("oas1", OURS, 0.9, 10), row("oas2", OURS, 0.9, 10, versions={"torch": "3"}))
    with pytest.raises(DataError, match="must use one version of torch, got 2 and 3"):
        collect(rows, (OURS,), ("oas1", "oas2"), PROVENANCE)


def test_nothing_to_collect_is_refused() -> None:
    with pytest.raises(DataError, match="there must be a result to collect"):
        collect({}, TOOLS, ("oas1",), PROVENANCE)


def test_the_race_is_won_by_the_quickest_of_ours_that_reaches_greedy_both_ways() -> None:
    tools = (OURS, *SHORT[:3], GREEDY_LABELS)
    rows = rows_of(
        row("oas1", GREEDY_LABELS, 0.8, 50.0),
        row("oas1", SHORT[0], 0.7, 2.0),
        row("oas1", SHORT[1], 0.85, 4.0, dsc_back_mean=0.79),
        row("oas1", SHORT[2], 0.81, 8.0),
        row("oas1", OURS, 0.9, 40.0),
    )
    found = race(rows, tools)
    assert found is not None
    assert found["ours"] == SHORT[2].name
    assert found["cpu_ratio_at_equal_dice"] == 0.16
    del rows["oas1", GREEDY_LABELS.name]
    assert race(rows, tools) is None


def test_a_race_that_none_of_ours_finishes_has_no_ratio() -> None:
    found = race(
        rows_of(row("oas1", GREEDY_LABELS, 0.8, 50.0), row("oas1", OURS, 0.7, 1.0)), (OURS, GREEDY_LABELS)
    )
    assert found is not None
    assert "cpu_ratio_at_equal_dice" not in found


def held(name: str, group: str, tool: str, dice: float) -> dict[str, Any]:
    scores = {"dsc_mean": dice, "dsc_back_mean": dice - 0.1, "cpu_seconds": 3.0}
    return {"name": name, "group": group, "tool": tool, **scores}


def test_structures_left_out_are_averaged_over_groups_and_both_ways() -> None:
    rows = [
        held("oas1", "putamen", heldout.OURS, 0.9),
        held("oas2", "putamen", heldout.OURS, 0.7),
        held("oas1", "putamen", heldout.GREEDY, 0.8),
        held("oas2", "putamen", heldout.GREEDY, 0.8),
        held("oas1", "ventricles", heldout.OURS, 0.6),
        held("oas1", "ventricles", heldout.GREEDY, 0.5),
        held("oas1", heldout.PARCELS, heldout.OURS, 0.6),
        held("oas1", heldout.PARCELS, heldout.GREEDY, 0.3),
    ]
    found: Any = heldout.collect(rows, PROVENANCE)
    assert found["heldout_structures"] == {"n": 3, "dsc_mean": 0.65, "greedy_dsc_mean": 0.6}
    assert found["groups"]["putamen"]["n"] == 2
    assert found["groups"][heldout.PARCELS]["greedy"]["dsc_back_mean"] == 0.2
    assert found["sloppy"]
    with pytest.raises(DataError, match="putamen must be measured with both tools"):
        heldout.collect(rows[1:], PROVENANCE)
    with pytest.raises(DataError, match="at least one case"):
        heldout.collect([], PROVENANCE)


def test_the_page_shows_every_tool_and_the_figure_a_dot_for_each(tmp_path: Path) -> None:
    rows = rows_of(row("oas1", OURS, 0.9, 10), row("oas1", GREEDY, 0.6, 5), row("sub-a", OURS, 0.7, 20))
    found: Any = collect(rows, (OURS, GREEDY), ("oas1", "sub-a"), PROVENANCE)
    block = build_block(found, None)
    assert f"| this app | `default` | {OURS.drive} | 1 | 0.900 | 0.900 |" in block
    assert "| greedy | NCC 2x2x2, 100x50x0 | T1w | 1 | 0.600 |" in block
    figure = draw(found)
    assert [len(axes.collections) for axes in figure.axes] == [2, 1]
    assert figure.axes[0].collections[0].get_offsets().tolist() == [[10.0, 0.9]]
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- figures:start -->\n<!-- figures:end -->\nafter", encoding="utf-8")
    with pytest.raises(MissingInputError, match="a result are needed"):
        write_page(tmp_path, page, tmp_path)
    (tmp_path / "peers.json").write_text(json.dumps(found), encoding="utf-8")
    write_page(tmp_path, page, tmp_path)
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before") and text.endswith("after") and block in text  # noqa: PT018
    assert (tmp_path / "peers.svg").is_file()


@pytest.mark.skipif(not ENVIRONMENT.is_dir(), reason="greedy is not installed here: make peers")
def test_greedy_itself_finds_a_shift(tmp_path: Path) -> None:
    case, still_, grid = moved_case(2)
    prepared = turns.prepare(case, np.eye(4), tmp_path)
    alignment, cost = turns.take_turn(GREEDY, prepared, threads=1)
    assert score(case, alignment, grid)["dsc_mean"] > score(case, still_, grid)["dsc_mean"] + 0.1
    assert set(cost["versions"]) == {"picsl-greedy"}
