"""The page about registration shows the settings as they are."""

from pathlib import Path

import pytest

from bidsapp.settings import RegistrationSettings

PAGE = Path(__file__).parents[2] / "docs" / "registration.md"


def rows(preset: str) -> list[str]:
    settings = RegistrationSettings.preset(preset)
    stages = [
        f"| {preset} | {number} | {stage.grid_mm:g} | {stage.labels_mm:g} | {stage.images_mm:g} | "
        f"{stage.smoothing_mm:g} | {stage.step_mm:g} | {stage.iterations} | {stage.image_weight:g} |"
        for number, stage in enumerate(settings.stages, start=1)
    ]
    weights = (
        f"| {preset} | {settings.smoothness_weight:g} | {settings.curvature_weight:g} mm² | "
        f"{settings.volume_weight:g} | {settings.field_mm:g} mm |"
    )
    return [*stages, weights]


@pytest.mark.parametrize("preset", ["fast", "default", "best"])
def test_the_page_lists_every_stage_and_weight_of_a_preset_and_no_other(preset):
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith(f"| {preset} |")] == rows(preset)


def test_the_page_says_what_all_presets_share():
    every = [RegistrationSettings.preset(name) for name in ("fast", "default", "best")]
    assert {(one.squaring_steps, one.margin_mm) for one in every} == {(3, 6.0)}
    page = PAGE.read_text(encoding="utf-8")
    assert "Scaling and squaring takes three steps" in page
    assert "6 mm beyond the labels" in page
