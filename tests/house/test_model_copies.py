"""A misspelt field of `model_copy(update=…)` fails the type check."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SNIPPET = """
from pydantic import BaseModel

class Facts(BaseModel):
    issue: int = 0

def known(facts: Facts, **more: object) -> None:
    facts.model_copy(update={"issue": 7})
    facts.model_copy(update={"isue": 7})
    facts.model_copy(update={"issue": "seven"})
    facts.model_copy(update=more)
"""


@pytest.mark.thorough
def test_only_fields_of_their_types_are_changed_in_a_copy(tmp_path: Path) -> None:
    snippet = tmp_path / "snippet.py"
    snippet.write_text(SNIPPET)
    check = [sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path), str(snippet)]
    said = subprocess.run(check, cwd=ROOT, capture_output=True, text=True).stdout  # noqa: S603
    wrong = {int(line.split(":")[1]) for line in said.splitlines() if ": error:" in line}
    assert wrong == {9, 10, 11}, said
