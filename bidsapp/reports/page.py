"""A page: one HTML file that needs nothing outside itself."""

import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from bidsapp.errors import OutputError


@dataclass(frozen=True, slots=True)
class Column:
    """How one column of a table is shown.

    Parameters
    ----------
    name
        In the data frame.
    heading
        On the page.
    digits
        Places after the point of a number; None for text and whole numbers.
    scale
        Factor before printing, such as 100 for per cent.
    """

    name: str
    heading: str
    digits: int | None = None
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Cell:
    """Text of a table cell, what it is sorted by, whether it is a number and where it leads."""

    text: str
    key: str
    is_number: bool
    link: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Headings (with whether the column holds numbers) and rows, ready for the template."""

    headings: tuple[tuple[str, bool], ...]
    rows: tuple[tuple[Cell, ...], ...]


def is_missing(value: object) -> bool:
    """Tell whether a table's entry is None, NaN or NA."""
    return (
        value is None
        or value is pd.NA
        or (isinstance(value, float | np.floating) and not math.isfinite(value))
    )


def p_text(value: object, reason: str = "") -> str:
    """Write a p-value; a missing one never looks like a number.

    Examples
    --------
    >>> p_text(0.0412), p_text(3e-9), p_text(float("nan"), "no lesions")
    ('0.041', '< 0.0001', 'n/a (no lesions)')
    """
    if is_missing(value):
        return f"n/a ({reason})" if reason else "n/a"
    number = float(value)  # type: ignore[arg-type]
    if number < 1e-4:
        return "< 0.0001"
    return f"{number:.4f}" if number < 0.001 else f"{number:.2g}" if number < 0.1 else f"{number:.2f}"


def cell(value: object, digits: int | None = None, scale: float = 1.0) -> Cell:
    """Write one entry of a table; what rounds to zero has no sign.

    Examples
    --------
    >>> cell(-0.04, digits=1).text, cell(-0.06, digits=1).text
    ('0.0', '-0.1')
    """
    if is_missing(value):
        return Cell("n/a", "", is_number=False)
    if isinstance(value, bool | np.bool_):
        return Cell("yes" if value else "no", "1" if value else "0", is_number=False)
    if isinstance(value, int | float | np.number):
        number = float(value) * scale
        text = (
            f"{number:z,.{digits}f}"
            if digits is not None
            else f"{number:,.0f}"
            if number.is_integer()
            else f"{number:.3g}"
        )
        return Cell(text.replace(",", "\u202f"), repr(number), is_number=True)
    return Cell(str(value), str(value), is_number=False)


def p_cell(value: object, reason: object) -> Cell:
    """Write a p-value, or why there is none."""
    words = "not tested" if is_missing(reason) or not reason else str(reason)
    key = "" if is_missing(value) else repr(float(value))  # type: ignore[arg-type]
    return Cell(p_text(value, words), key, is_number=False)


def table(frame: pd.DataFrame, columns: Sequence[Column]) -> Table:
    """Show the columns that the data frame has, in the order given."""
    shown = [column for column in columns if column.name in frame.columns]
    rows = [
        tuple(cell(row[column.name], column.digits, column.scale) for column in shown)
        for row in frame.to_dict("records")
    ]
    numeric = [any(row[place].is_number for row in rows) for place in range(len(shown))]
    return Table(tuple(zip((column.heading for column in shown), numeric, strict=True)), tuple(rows))


@cache
def environment() -> Environment:
    """Return the templates: everything a user wrote is escaped, everything missing is an error."""
    return Environment(
        loader=PackageLoader("bidsapp.reports", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def write_page(template: str, values: Mapping[str, object], path: Path) -> None:
    """Fill a template and put the page in place at once, so that nobody ever sees half of it.

    Parameters
    ----------
    template
        Name of a file in ``templates``.
    values
        What the template asks for.
    path
        The HTML file; its folder is made.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    text = environment().get_template(template).render(values)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=path.parent, prefix=f".{path.stem}-", suffix=".part", delete=False
        ) as file:
            file.write(text)
        Path(file.name).chmod(0o666 & ~_umask())
        Path(file.name).replace(path)
    except OSError as error:
        raise OutputError(
            f"the report {path} must be writable: {error}. Choose another output folder."
        ) from error


def _umask() -> int:
    """Return the process' umask (there is no way to read it but to set it)."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
