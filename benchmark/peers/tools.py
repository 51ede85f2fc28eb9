"""Every tool with every setting, and how to start it."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from benchmark.peers.cases import PAIRS, RACE
from benchmark.running import ROOT
from bidsapp.settings import PRESETS, RegistrationSettings

ENVIRONMENT = ROOT / ".peers"
"""Where `make peers` installs the other tools."""

Where = Literal["all", "pairs", "race"]
Family = Literal["ours", "greedy", "ants", "fireants"]
FAMILIES: Mapping[Family, str] = MappingProxyType(
    {"ours": "this app", "greedy": "greedy", "ants": "ANTs", "fireants": "FireANTs"}
)
FIREANTS_FAST = MappingProxyType(
    {
        "scales": [4, 2, 1],
        "iterations": [100, 50, 10],
        "kernel": 5,
        "step": 0.5,
        "gradient_sigma": 1.0,
        "warp_sigma": 0.5,
    }
)


@dataclass(frozen=True, kw_only=True)
class Tool:
    """One tool with one setting.

    Parameters
    ----------
    name
        In file names.
    family
        The program.
    words
        The setting, for readers.
    options
        What its driver reads.
    drive
        What it looks at.
    where
        On every case, on the pairs, or on the pair `RACE` alone: as its seconds are worth.
    python
        Interpreter that has it; None: this one for ours, that of `make peers` for the others.
    """

    name: str
    family: Family
    words: str
    options: Mapping[str, object]
    drive: Literal["labels", "T1w", "T1w and labels"]
    where: Where = "pairs"
    python: Path | None = None

    def works_on(self, case: str) -> bool:
        """Tell whether a case is measured with this tool."""
        return {"all": True, "pairs": case in PAIRS, "race": case == RACE}[self.where]

    def command(self, folder: Path) -> list[str]:
        """Start the driver on a folder of prepared images."""
        usual = Path(sys.executable) if self.family == "ours" else ENVIRONMENT / "bin" / "python"
        return [str(self.python or usual), "-m", f"benchmark.peers.drivers.run_{self.family}", str(folder)]


def _ours(preset: str, *, last_iterations: int | None = None) -> Tool:
    short = last_iterations is not None
    sees_images = any(stage.image_weight for stage in RegistrationSettings.preset(preset).stages)
    return Tool(
        name=f"ours-{preset}" + (f"-{last_iterations}" if short else ""),
        family="ours",
        words=f"`{preset}`" + (f", last stage {last_iterations} iterations" if short else ""),
        options={"preset": preset} | ({"last_iterations": last_iterations} if short else {}),
        drive="T1w and labels" if sees_images else "labels",
        where="race" if short else "pairs" if preset == "best" else "all",
    )


def _greedy(name: str, iterations: str, *, where: Where = "pairs", **options: object) -> Tool:
    labels = bool(options.get("label_weight"))
    words = f"NCC 2x2x2, {iterations}" + (", with the inverse" if options.get("inverse") else "")
    return Tool(
        name=f"greedy-{name}",
        family="greedy",
        words=words,
        options={"metric": "NCC 2x2x2", "iterations": iterations, **options},
        drive="T1w and labels" if labels else "T1w",
        where=where,
    )


SHORT = tuple(_ours(PRESETS[0], last_iterations=number) for number in (0, 2, 5, 10, 20))
"""Ever more of the quickest preset: how soon it reaches what greedy reaches."""

GREEDY_LABELS = _greedy("labels", "100x50x10", label_weight=1)
GREEDY_LABELS_INVERSE = _greedy("labels-inverse", "100x50x10", where="race", label_weight=1, inverse=True)

TOOLS: tuple[Tool, ...] = (
    _greedy("half", "100x50x0"),
    _greedy("fast", "100x50x10"),
    *(_ours(preset) for preset in PRESETS),
    _greedy("labels-half", "100x50x0", where="all", label_weight=1),
    *SHORT,
    GREEDY_LABELS,
    GREEDY_LABELS_INVERSE,
    Tool(
        name="ants-syn",
        family="ants",
        words="SyN (mutual information, default)",
        options={"transform": "SyNOnly"},
        drive="T1w",
    ),
    Tool(
        name="fireants-fast",
        family="fireants",
        words="greedy, NCC 5x5x5, 100x50x10",
        options=FIREANTS_FAST,
        drive="T1w",
    ),
    _greedy("standard", "100x100x50", where="race"),
)
"""In the order in which they take turns on each case."""
