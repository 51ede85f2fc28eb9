"""A section of a page: sentences, pictures and tables under one heading."""

from dataclasses import dataclass
from pathlib import Path

from bidsapp.bids.names import group_path
from bidsapp.reports.page import Table
from bidsapp.reports.picture import Picture


@dataclass(frozen=True, slots=True)
class CaptionedTable:
    """A table with what it says.

    Parameters
    ----------
    caption
        One or two sentences above it.
    table
        Ready for the template.
    strong
        Rows to set in bold.
    folded
        Shown only when the reader opens it.
    source
        Relative address of the file that holds the table, empty without one: `group_file`.
    """

    caption: str
    table: Table
    strong: tuple[int, ...] = ()
    folded: bool = False
    source: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """One section.

    Parameters
    ----------
    name
        Of its address on the page.
    short, title
        In the navigation and as heading.
    sentences, pictures, tables
        From top to bottom.
    """

    name: str
    short: str
    title: str
    sentences: tuple[str, ...] = ()
    pictures: tuple[Picture, ...] = ()
    tables: tuple[CaptionedTable, ...] = ()


def group_file(name: str) -> str:
    """Give the address of a table of the group, as seen from the page.

    Examples
    --------
    >>> group_file("lesions")
    'group/lesions.tsv'
    """
    return group_path(Path(), name).as_posix()
