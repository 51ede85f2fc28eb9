from pathlib import Path

import pytest

from bidsapp.arguments import build_parser
from bidsapp.errors import MetsAtlasError, UsageError
from bidsapp.requested import read_settings
from bidsapp.settings import Contrast, GroupSettings


def read(folder: Path, *options: str) -> GroupSettings:
    (folder / "bids").mkdir(exist_ok=True)
    arguments = build_parser().parse_intermixed_args(
        [str(folder / "bids"), str(folder / "out"), "participant", *options]
    )
    return read_settings(arguments, {"TMPDIR": str(folder)}).group


def test_without_options_patients_are_kept_together(tmp_path: Path) -> None:
    assert read(tmp_path) == GroupSettings(
        preset="clustered", group_by="site", session="first", off_structure="exclude"
    )


def test_every_choice_of_the_group_arrives(tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    options = ["--preset", "paper", "--group-by", "scanner", "--group-session", "all"]
    options += ["--off-structure", "overlap", "--contrast", "primary: melanoma :lung"]
    found = read(tmp_path, *options, "--lesions-in-atlas-space", str(tmp_path / "masks"))
    assert found == GroupSettings(
        preset="paper",
        group_by="scanner",
        session="all",
        off_structure="overlap",
        contrast=Contrast(column="primary", first="melanoma", second="lung"),
        lesions_in_atlas_space=tmp_path / "masks",
    )


def test_a_group_without_maps_may_be_asked_for_unless_groups_are_compared_voxel_by_voxel(
    tmp_path: Path,
) -> None:
    assert read(tmp_path, "--no-maps") == GroupSettings(maps=False)
    with pytest.raises(UsageError, match="got --contrast with --no-maps: leave one of them out"):
        read(tmp_path, "--no-maps", "--contrast", "primary:melanoma:lung")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--preset", "chi2"], "'clustered', 'paper'"),
        (["--group-session", "middle"], "'first', 'last', 'all'"),
        (["--off-structure", "guess"], "'exclude', 'nearest', 'overlap'"),
        (["--contrast", "primary:lung"], "such as primary:melanoma:lung, got 'primary:lung'"),
        (["--contrast", "primary:lung:lung"], "two different groups"),
        (["--contrast", "primary::lung"], "COLUMN:A:B is needed"),
        (["--lesions-in-atlas-space", "/no/such/folder"], "the lesions in atlas space must be a folder"),
    ],
)
def test_a_mistaken_choice_is_refused_with_those_that_exist(
    tmp_path: Path, options: list[str], sentence: str
) -> None:
    with pytest.raises(MetsAtlasError, match=sentence):
        read(tmp_path, *options)


def test_masks_in_atlas_space_need_no_results_of_the_participant_level(tmp_path: Path) -> None:
    (tmp_path / "bids").mkdir()
    (tmp_path / "masks").mkdir()
    places = [str(tmp_path / "bids"), str(tmp_path / "out"), "group"]
    arguments = build_parser().parse_args([*places, "--lesions-in-atlas-space", str(tmp_path / "masks")])
    assert read_settings(arguments, {"TMPDIR": str(tmp_path)}).levels == ("group",)
