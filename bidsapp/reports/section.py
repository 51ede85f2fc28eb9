"""A section of a page: sentences, pictures and tables under one heading."""

from dataclasses import dataclass

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
    """

    caption: str
    table: Table
    strong: tuple[int, ...] = ()
    folded: bool = False


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
