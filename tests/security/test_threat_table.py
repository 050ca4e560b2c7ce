"""The threat table of docs/security.md: each row names its tests, and those are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "security.md"
_ROW = re.compile(r"^\| (T\d+) \|(.*)\|$", re.MULTILINE)
_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
ROWS = dict(_ROW.findall(DOCUMENT.read_text(encoding="utf-8")))


def test_the_rows_are_numbered_without_a_gap() -> None:
    assert list(ROWS) == [f"T{number}" for number in range(1, len(ROWS) + 1)]
    assert len(ROWS) > 30


@pytest.mark.parametrize("row", ROWS)
def test_each_threat_names_a_test_that_is_there(row: str) -> None:
    named = _TEST.findall(ROWS[row])
    assert named
    for path, test in named:
        source = (ROOT / path).read_text(encoding="utf-8")
        assert re.search(rf"^(?:async )?def {test}\(", source, re.MULTILINE), f"{path}::{test}"


def test_each_file_here_is_about_a_threat_of_the_table() -> None:
    named = {path for row in ROWS.values() for path, _ in _TEST.findall(row)}
    here = {str(path.relative_to(ROOT)) for path in Path(__file__).parent.glob("test_*.py")}
    assert here - named == {str(Path(__file__).relative_to(ROOT))}
