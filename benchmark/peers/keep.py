"""Results of single turns, kept as JSON, so that a run that was stopped goes on where it was."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.peers.tools import Tool
from benchmark.provenance import describe_machine
from benchmark.summary import load_json
from bidsapp.bids.save import save_json


@dataclass(frozen=True)
class Keep:
    """A folder of results, one a case and tool.

    A result counts as long as the tool's setting and the machine are what they were. Delete the folder to
    measure everything again, after a change of the engine, say.
    """

    folder: Path

    def has(self, case: str, tool: Tool) -> bool:
        """Tell whether a result is there and counts."""
        return self.find(case, tool) is not None

    def find(self, case: str, tool: Tool) -> Mapping[str, object] | None:
        """Read a result if it is there and counts."""
        path = self._path(case, tool.name)
        if not path.is_file():
            return None
        row = load_json(path)
        is_same = row["options"] == dict(tool.options) and row["machine"] == describe_machine()["class"]
        return row if is_same else None

    def rows(
        self, tools: Sequence[Tool], cases: Sequence[str]
    ) -> dict[tuple[str, str], Mapping[str, object]]:
        """Read all results that are there and count."""
        found = {(case, tool.name): self.find(case, tool) for case in cases for tool in tools}
        return {key: row for key, row in found.items() if row is not None}

    def save(self, case: str, tool: Tool, row: Mapping[str, object]) -> None:
        """Keep a result with the setting and the machine it belongs to."""
        path = self._path(case, tool.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {**row, "options": dict(tool.options), "machine": describe_machine()["class"]}
        save_json(content, path)

    def scratch(self, case: str) -> Path:
        """Name a folder for the images of a case."""
        return self.folder / case / "scratch"

    def _path(self, case: str, tool: str) -> Path:
        return self.folder / case / f"{tool}.json"
