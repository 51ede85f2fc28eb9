"""The low-memory mode: a coarser grid of the displacements that are kept, and nothing else."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from bidsapp.arguments import build_parser
from bidsapp.requested import read_settings
from bidsapp.resume import choices
from bidsapp.settings import RunSettings, Selection

PLACE = Path("unused")
PLAIN = RunSettings(selection=Selection(bids_dir=PLACE), output_dir=PLACE, work_dir=PLACE)


@pytest.mark.parametrize("option", ["--low-mem", "--low_mem"])
def test_the_option_reaches_the_settings(tmp_path: Path, option: str) -> None:
    (tmp_path / "bids").mkdir()
    words = [str(tmp_path / "bids"), str(tmp_path / "out"), "participant"]
    parser = build_parser()
    assert read_settings(parser.parse_intermixed_args([*words, option]), {}).low_memory
    assert not read_settings(parser.parse_intermixed_args(words), {}).low_memory


def test_only_the_spacing_of_what_is_kept_changes() -> None:
    before, after = PLAIN.registration, replace(PLAIN, low_memory=True).registration
    assert (before.field_mm, after.field_mm) == (0.67, 1.2)
    assert replace(after, field_mm=0.67) == before


def test_a_grid_that_is_coarser_already_stays() -> None:
    sloppy = replace(PLAIN, sloppy=True, low_memory=True)
    assert sloppy.registration == replace(sloppy, low_memory=False).registration


def test_results_made_with_less_memory_are_not_taken_for_the_others() -> None:
    atlas = SimpleNamespace(name="MNI", checksums={})
    recipes = [choices(settings, atlas) for settings in (PLAIN, replace(PLAIN, low_memory=True))]  # type: ignore[arg-type]
    assert recipes[0] != recipes[1]
