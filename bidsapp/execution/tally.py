"""Tally: who was done, who failed, who was left out, and the status the run ends with."""

from dataclasses import dataclass, field

from bidsapp.errors import MetsAtlasError


@dataclass(slots=True)
class Tally:
    """Counts scans as they come in.

    Examples
    --------
    >>> tally = Tally()
    >>> tally.done("sub-01")
    >>> tally.failed("sub-07", RuntimeError())
    >>> tally.last_line()
    'metsatlas finished: 1 ok, 1 failed (sub-07), 0 skipped; exit 1'
    >>> tally.done("sub-02", was_up_to_date=True)
    >>> tally.last_line()
    'metsatlas finished: 2 ok (1 up to date before), 1 failed (sub-07), 0 skipped; exit 1'
    """

    _done: list[str] = field(default_factory=list)
    _failed: list[str] = field(default_factory=list)
    _skipped: list[str] = field(default_factory=list)
    _n_up_to_date: int = 0
    _group: str = ""
    _first_status: int = 0

    def done(self, name: str, *, was_up_to_date: bool = False) -> None:
        """Count a scan whose outputs are complete, and whether they were so before."""
        self._done.append(name)
        self._n_up_to_date += was_up_to_date

    def failed(self, name: str, error: Exception) -> None:
        """Count a scan that ended with an error."""
        self._failed.append(name)
        self._remember(error)

    def skipped(self, name: str, error: Exception) -> None:
        """Count a participant of whom labels and filters select nothing."""
        self._skipped.append(name)
        self._remember(error)

    def group_ended(self, error: Exception | None) -> None:
        """Note that the group is done, or why it is not."""
        self._group = "failed" if error else "ok"
        if error:
            self._remember(error)

    def _remember(self, error: Exception) -> None:
        status = error.exit_status if isinstance(error, MetsAtlasError) else 1
        self._first_status = self._first_status or status

    @property
    def has_results(self) -> bool:
        """Whether any scan succeeded."""
        return bool(self._done)

    @property
    def exit_status(self) -> int:
        """0 when nothing failed, 1 when some did, the first error's own status when nothing succeeded."""
        if not self._done and self._group != "ok":
            return self._first_status
        return 1 if self._failed or self._group == "failed" else 0

    def last_line(self) -> str:
        """Sum up the run."""
        before = f" ({self._n_up_to_date} up to date before)" if self._n_up_to_date else ""
        counts = [f"{len(self._done)} ok{before}"]
        for names, word in ((self._failed, "failed"), (self._skipped, "skipped")):
            counts.append(f"{len(names)} {word}" + (f" ({', '.join(names)})" if names else ""))
        if self._group:
            counts.append(f"group {self._group}")
        return f"metsatlas finished: {', '.join(counts)}; exit {self.exit_status}"
