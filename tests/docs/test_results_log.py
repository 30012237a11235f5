"""The figures on the pages are those of the results log."""

from __future__ import annotations

import re

import pytest

from benchmarks import log
from tests.docs.pages import ROOT

LOG = log.read()
FIELDS = {"id", "value", "low", "high", "command", "commit", "machine", "date", "quoted"}


@pytest.mark.parametrize("page", log.pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_figures_are_the_logs(page):
    for name, told in log.quoted(page.read_text("utf-8")).items():
        assert name in LOG, f"{name} is not in the log"
        for key, text in told.items():
            decimals = len(text.partition(".")[2])
            assert round(LOG[name][key], decimals) == float(text), f"{name}: {key} is {LOG[name][key]} in the log"


def test_every_line_says_where_its_figure_comes_from():
    for name, line in LOG.items():
        assert set(line) <= FIELDS and {"value", "low"} & set(line), name
        assert line["command"] and line["commit"] and line["machine"], name
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", line["date"]), name


def test_every_line_says_who_quotes_it():
    places = log.quotations()
    assert {name: line["quoted"] for name, line in LOG.items()} == {name: places.get(name, []) for name in LOG}


@pytest.mark.parametrize("page", log.pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_tables_of_results_are_logged(page):
    """A table whose column names a measure is one of results."""
    text = page.read_text("utf-8")
    for table in re.finditer(r"(?<=\n)\n(\|[^\n]*\n\|[-| ]+\n(?:\|.*\n)+)", text):
        head = table[1].partition("\n")[0]
        if re.search(r"nDCG|Recall@|MRR@|\bper (CPU )?s|GiB|bytes", head) and re.search(r"\| *\*?\*?\d\.\d", table[1]):
            before = text[: table.start()].rstrip().rpartition("\n")[2]
            assert before.startswith("<!-- log: "), f"no log above the table {head}"


def test_cells():
    text = (
        "<!-- log: a/b -->\n\n| x | y | z |\n|---|---|---|\n| **p** | 0.5 [0.4, 0.6] | 1,000 |\n| q | - | 0.1-0.2 |\n"
    )
    assert log.quoted(text + "\nIt is 0.25<!-- log: c --> here.") == {
        "c": {"value": "0.25"},
        "a/b/p/y": {"value": "0.5", "low": "0.4", "high": "0.6"},
        "a/b/p/z": {"value": "1000"},
        "a/b/q/z": {"low": "0.1", "high": "0.2"},
    }
    with pytest.raises(ValueError, match="nothing is quoted at the mark d"):
        log.quoted("<!-- log: d -->\n\nwords")


def test_nested_results():
    assert log.flat({"a": {"b": 1.5, "c": "text"}, "d": 2, "e": True}, "x") == {
        "x/a/b": {"value": 1.5},
        "x/d": {"value": 2},
    }
