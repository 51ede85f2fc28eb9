import math

import numpy as np
import pandas as pd
import pytest
from jinja2 import UndefinedError

from bidsapp.errors import OutputError
from bidsapp.reports.page import Column, cell, environment, p_text, table, write_page


@pytest.mark.parametrize("missing", [None, math.nan, np.float64("nan"), pd.NA])
def test_a_missing_p_value_is_never_a_number(missing):
    assert p_text(missing, "no lesions") == "n/a (no lesions)"
    assert p_text(missing) == "n/a"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "< 0.0001"), (0.00051, "0.0005"), (0.0123, "0.012"), (0.5, "0.50"), (1.0, "1.00")],
)
def test_p_values_keep_two_figures(value, text):
    assert p_text(value) == text


@pytest.mark.parametrize(
    ("value", "text", "is_number"),
    [
        (12345, "12\u202f345", True),
        (np.int64(3), "3", True),
        (0.5, "0.5", True),
        (True, "yes", False),
        (math.nan, "n/a", False),
        (math.inf, "n/a", False),
        ("<b>", "<b>", False),
    ],
)
def test_cells_say_what_they_are(value, text, is_number):
    made = cell(value)
    assert (made.text, made.is_number) == (text, is_number)


def test_cells_sort_by_the_full_number():
    assert cell(0.123456, 2).key == "0.123456"
    assert cell(math.nan).key == ""


def test_a_table_shows_the_columns_there_are_in_the_order_asked_for():
    made = table(
        pd.DataFrame({"b": [1.25], "a": ["x"]}), [Column("a", "A"), Column("none", "N"), Column("b", "B", 1)]
    )
    assert made.headings == (("A", False), ("B", True))
    assert [entry.text for entry in made.rows[0]] == ["x", "1.2"]


def test_templates_escape_and_refuse_what_is_missing():
    template = environment().from_string("{{ name }}")
    assert template.render(name="<script>&\"'") == "&lt;script&gt;&amp;&#34;&#39;"
    with pytest.raises(UndefinedError, match="name"):
        template.render()


def test_a_page_that_cannot_be_written_is_an_output_error(tmp_path):
    (tmp_path / "file").write_text("not a folder", encoding="utf-8")
    with pytest.raises(OutputError, match="Choose another output folder"):
        write_page("sort.js", {}, tmp_path / "file" / "page.html")


def test_a_page_replaces_the_old_one_and_leaves_nothing_beside_it(tmp_path):
    path = tmp_path / "new" / "page.html"
    write_page("sort.js", {}, path)
    write_page("sort.js", {}, path)
    assert [each.name for each in path.parent.iterdir()] == ["page.html"]
    assert path.stat().st_mode & 0o444 == 0o444
