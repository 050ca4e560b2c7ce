"""Real repositories, real git, a real sandbox where there is one."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from bot.git.export import TreeExport
from bot.git.process import Git
from bot.trials.limits import TrialLimits
from bot.trials.runner import LocalTrialRunner, TrialPlan
from bot.trials.sandbox import Sandbox, Unconfined
from bot.trials.worktree import Workplace, workplace
from tests.trials.kit import TIGHT, Repository


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repository")


@pytest.fixture
async def place_of_work(tmp_path: Path) -> AsyncIterator[Workplace]:
    async with workplace(tmp_path / "work") as made:
        yield made


RunnerFor = Callable[..., LocalTrialRunner]


@pytest.fixture
def runner_for(repository: Repository, place_of_work: Workplace) -> RunnerFor:
    def make(
        *command: str,
        sandbox: Sandbox | None = None,
        build: tuple[str, ...] | None = None,
        with_git: bool = False,
        limits: TrialLimits = TIGHT,
        workers: int = 1,
    ) -> LocalTrialRunner:
        return LocalTrialRunner(
            TrialPlan((command,), build, with_git),
            TreeExport(Git(repository.folder / ".git", isolated=False)),
            sandbox or Unconfined(os.environ),
            limits,
            place_of_work,
            workers,
        )

    return make
