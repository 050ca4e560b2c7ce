"""One person and one clone for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.local.kit import Person
from tests.trials.kit import Repository


@pytest.fixture
def person(tmp_path: Path) -> Person:
    return Person(tmp_path / "home")


@pytest.fixture
def clone(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "clone")
