"""The presets' benchmark: it sums up by preset, keeps rows of a stopped run, and measures the whole grid."""

from pathlib import Path

import pytest

from benchmark import engine
from bidsapp.settings import RegistrationSettings


def row(scan: str, preset: str, dice: float) -> dict[str, object]:
    """Make a row as `measure_one` gives it."""
    numbers = dict.fromkeys(
        ("assd_mm_mean", "sd_log_jacobian", "folded_fraction", "ndv_percent", "inverse_error_mm_p99"), 0.25
    )
    return {
        "scan": scan,
        "preset": preset,
        "dice_mean": dice,
        **numbers,
        "cpu_seconds": 30.0,
        "peak_gib": 1.5,
        "grid": "2x3x4",
        "commit": "0" * 40,
    }


def test_figures_are_means_and_worst_values_of_each_preset() -> None:
    rows = [row("sub-a", "fast", 0.8), row("sub-b", "fast", 0.9), row("sub-a", engine.FULL_SIZE, 0.7)]
    found = engine.sum_up(rows)
    fast, whole = found["fast"], found["full_size"]
    assert found["commits"] == ["0" * 40]
    assert isinstance(fast, dict)
    assert isinstance(whole, dict)
    assert (fast["n_scans"], fast["dsc_min"]) == (2, 0.8)
    assert fast["dsc_mean"] == pytest.approx(0.85)
    assert (whole["n_scans"], whole["grid"]) == (1, "2x3x4")


def test_rows_of_a_stopped_run_are_not_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not engine.SCANS.is_dir():
        pytest.skip(f"no scans in {engine.SCANS}")
    monkeypatch.setattr(engine, "find_participants", lambda _: ["oasis1000"])
    kept = {"fast": row("sub-oasis1000", "fast", 0.8), engine.FULL_SIZE: row("sub-oasis1000", "whole", 0.7)}
    for preset, values in kept.items():
        engine.save_json(values, tmp_path / f"oasis1000_{preset.replace(' ', '-')}.json")
    assert list(engine.measure_all(["fast"], 1, tmp_path, "1" * 40)) == list(kept.values())


@pytest.mark.parametrize("preset", ["fast", "default", "best", engine.FULL_SIZE])
def test_every_turn_has_its_settings(preset: str) -> None:
    settings = engine.settings_of(preset)
    whole = preset == engine.FULL_SIZE
    assert settings.stages == RegistrationSettings.preset("default" if whole else preset).stages
    assert (settings.margin_mm > 100) == whole
