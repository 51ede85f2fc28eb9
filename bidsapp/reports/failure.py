"""The page of a scan that could not be worked on: why, in words, and where the program stopped."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bidsapp.reports.page import write_page


@dataclass(frozen=True, slots=True)
class Failure:
    """What the page of a failed scan shows.

    Parameters
    ----------
    title
        The scan, as in "sub-01 ses-02".
    virtual
        Whether the data are made up.
    error
        One sentence: what must hold, what came, what to do.
    traceback
        Where the program stopped, as Python prints it.
    provenance
        What made this page: version, command, device.
    """

    title: str
    virtual: bool
    error: str
    traceback: str
    provenance: Mapping[str, str]


def write_failure_report(failure: Failure, path: Path) -> None:
    """Write the page of a scan that failed.

    Parameters
    ----------
    failure
        What it shows.
    path
        The HTML file.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    write_page("failure.html.j2", {"page": failure}, path)
