"""How a run chooses the settings of its registration."""

from pathlib import Path

import pytest

from bidsapp.errors import UsageError
from bidsapp.settings import RegistrationSettings, RunSettings, Selection


def run(**choices: object) -> RunSettings:
    return RunSettings(
        selection=Selection(bids_dir=Path("/bids")),
        output_dir=Path("/out"),
        work_dir=Path("/work"),
        **choices,
    )  # type: ignore[arg-type]


def n_updates(settings: RegistrationSettings) -> int:
    return sum(stage.iterations for stage in settings.stages)


def points_read(settings: RegistrationSettings) -> float:
    """Count the points at which labels are read, per cubic millimetre."""
    return sum(stage.iterations / stage.labels_mm**3 for stage in settings.stages)


def test_presets_go_from_fewer_updates_on_coarser_grids_to_more_on_finer_ones() -> None:
    fast, default, best = (RegistrationSettings.preset(name) for name in ("fast", "default", "best"))
    assert n_updates(fast) < n_updates(default) < n_updates(best)
    assert fast.field_mm > default.field_mm > best.field_mm
    assert [stage.grid_mm for stage in fast.stages] == [8, 4, 2.25]
    assert [stage.grid_mm for stage in default.stages] == [8, 4, 1.75]
    assert [stage.grid_mm for stage in best.stages] == [8, 4, 2, 1.25]


def test_default_is_what_one_gets_without_asking() -> None:
    assert RegistrationSettings.preset("default") == RegistrationSettings()
    assert run().registration == RegistrationSettings()


@pytest.mark.parametrize("name", ["fast", "default", "best", "sloppy"])
def test_every_choice_goes_from_coarse_to_fine(name: str) -> None:
    settings = RegistrationSettings.sloppy() if name == "sloppy" else RegistrationSettings.preset(name)
    grids = [stage.grid_mm for stage in settings.stages]
    labels = [stage.labels_mm for stage in settings.stages]
    assert grids == sorted(grids, reverse=True)
    assert labels == sorted(labels, reverse=True)
    assert settings.field_mm <= grids[-1]


@pytest.mark.parametrize("name", ["fast", "default", "best"])
def test_a_run_takes_the_preset_it_names(name: str) -> None:
    assert run(preset=name).registration == RegistrationSettings.preset(name)


def test_the_objective_goes_with_every_preset_and_changes_nothing_else() -> None:
    chosen = run(preset="fast", objective="paper").registration
    assert chosen.objective == "paper"
    assert chosen.stages == RegistrationSettings.preset("fast").stages
    assert run(sloppy=True, objective="paper").registration.objective == "paper"
    assert run().registration.objective == "overlap"


def test_sloppy_beats_the_preset() -> None:
    assert run(sloppy=True, preset="best").registration == RegistrationSettings.sloppy()
    assert points_read(RegistrationSettings.sloppy()) < points_read(RegistrationSettings.preset("fast")) / 2


def test_an_unknown_preset_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match="fast, default, best, got 'slow'"):
        RegistrationSettings.preset("slow")
