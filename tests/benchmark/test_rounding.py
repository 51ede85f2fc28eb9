"""How far rounding moves a result: what is measured, and what the page says of it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark import rounding
from benchmark.gpu_parts import apart_mm
from benchmark.rounding import PLAIN, SHIFTED, build_block, measure_case
from bidsapp.geometry.kernels import backends, reference
from bidsapp.geometry.space import Space
from bidsapp.images.alignment import Alignment
from tests.benchmark.conftest import PROVENANCE
from tests.benchmark.test_gpu import SETTINGS, heads


def test_a_start_that_is_hardly_shifted_hardly_moves_a_phantom() -> None:
    (row,) = measure_case(heads(), "fast", SETTINGS, [SHIFTED])
    assert 0 <= row["mm_p50"] <= row["mm_p99"] <= row["mm_max"] < 0.01
    assert row["dsc_mean"] == pytest.approx(row["dsc_mean_other"], abs=1e-3)
    assert row["dsc_mean"] > 0.5


def test_the_second_start_is_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounding, "SHIFT_MM", 2.0)
    (row,) = measure_case(heads(), "fast", SETTINGS, [SHIFTED])
    assert row["mm_p50"] > 0.2
    assert row["dsc_mean"] != row["dsc_mean_other"]


def test_plain_torch_takes_over_for_one_alignment_and_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(reference, "label_votes", note(asked, reference.label_votes))
    (row,) = measure_case(heads(), "fast", SETTINGS, [PLAIN])
    assert len(asked) == sum(stage.iterations for stage in SETTINGS.stages)
    assert 0 <= row["mm_p99"] < 0.01
    assert backends.on_cpu() is not reference


def note(asked: list[int], call: Callable[..., Any]) -> Callable[..., Any]:
    def noted(*arguments: Any) -> Any:
        asked.append(1)
        return call(*arguments)

    return noted


def test_distances_are_euclidean_and_of_the_brain_alone() -> None:
    pair = heads()
    grid = Space((20, 24, 22), pair.labels[0].space.with_spacing(4.0).affine)
    still = np.zeros((3, *grid.shape), dtype=np.float32)
    moved = still + np.array([3.0, 0.0, 4.0], dtype=np.float32).reshape(3, 1, 1, 1)
    moved[:, 0] = 1000.0  # beside the brain
    one, other = (Alignment(np.eye(4), grid, field, -field) for field in (still, moved))
    apart = apart_mm(pair, one, other)
    assert 100 < len(apart) < still[0].size
    np.testing.assert_allclose(apart, 5.0)


def test_the_page_tells_medians_and_the_worst_case() -> None:
    def row(preset: str, p50: float, p99: float, other: float) -> dict[str, object]:
        apart = {"against": SHIFTED, "mm_p50": p50, "mm_p99": p99}
        return {"preset": preset, **apart, "dsc_mean": 0.9, "dsc_mean_other": other}

    rows = [row("fast", 0.01, 0.2, 0.9), row("fast", 0.03, 0.6, 0.902), row("fast", 0.02, 0.3, 0.899)]
    rows.append(row("default", 0.1, 0.7, 0.9) | {"against": PLAIN})
    block = build_block({"provenance": PROVENANCE, "data": "Starts apart", "rows": rows})
    assert "| `fast` | start shifted | 3 | 0.0200 | 0.300 | 0.600 | 0.0010 |" in block
    assert "| `default` | plain torch | 1 | 0.1000 | 0.700 | 0.700 | 0.0000 |" in block


def test_results_are_kept_where_they_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounding, "load_heads", heads)
    monkeypatch.setattr(rounding.RegistrationSettings, "preset", staticmethod(lambda _: SETTINGS))
    page = rounding.PAGE.read_text()
    assert rounding.main(["--cases", "oas1", "--plain", "--presets", "fast", "--results", str(tmp_path)]) == 0
    kept = json.loads((tmp_path / "rounding.json").read_text())
    assert [(row["case"], row["preset"], row["against"]) for row in kept["rows"]] == [
        ("oas1", "fast", SHIFTED)
    ]
    assert rounding.PAGE.read_text() == page


def test_a_case_that_is_not_known_is_told(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    assert rounding.main(["--cases", "nobody", "--results", str(tmp_path)]) != 0
    assert "got nobody" in caplog.text
    assert not (tmp_path / "rounding.json").exists()
