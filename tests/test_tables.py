"""The tables that say which test holds what name tests that are there."""

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
TABLES = ["BARS.md", "REPORTS.md"]


def known():
    """`file.py::name` of every test, without `test_` before the name."""
    found = set()
    for path in TESTS.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                found.add(f"{path.name}::{node.name.removeprefix('test_')}")
    return found


def rows_of(table):
    """The cells of each row of a table, but its heads."""
    lines = (TESTS / table).read_text().splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if line.startswith("| ")]
    return [row for row in rows if row[-1] != "held by"]


@pytest.mark.parametrize("table", TABLES)
def test_each_row_names_tests_that_are_there_or_says_that_there_is_none(table):
    tests = known()
    for what, holds, by in rows_of(table):
        assert what, holds
        named = re.findall(r"`(test_\w+\.py::\w+)`", by)
        assert [name for name in named if name not in tests] == []
        assert named or "not" in by


def test_all_bars_are_there():
    assert [int(row[0].split()[0]) for row in rows_of("BARS.md")] == list(range(1, 50))


def test_a_report_stands_once():
    reports = [row[0] for row in rows_of("REPORTS.md")]
    assert len(reports) == len(set(reports)) > 30
