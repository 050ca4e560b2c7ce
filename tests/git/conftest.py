"""Fixtures of the git room: a fresh history, and host git on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.git.process import Git
from tests.git.history_builder import History


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History.start(tmp_path / "work")


@pytest.fixture
def git(history: History) -> Git:
    return Git(history.git_dir)
