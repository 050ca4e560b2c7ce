"""Everything that a judgement does to GitHub, git and the records, as Protocols."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import datetime
from typing import Protocol

from pydantic import JsonValue
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.config import Config
from bot.github.models import App, CheckResult, Comment
from bot.playbooks.autorevert.decide import Purpose
from bot.playbooks.ports import (
    AppendsToChain,
    HistoryMirror,
    KnownRunsGitHub,
    LandingGitHub,
    MovesRuns,
    OptOutGitHub,
    WatchesCommits,
)
from bot.playbooks.run import Patience
from bot.records import runs as runs_module
from bot.records.audit import chain as chain_module
from bot.records.runs import StoredRun
from bot.triggers import Severity, Trigger


class SuspectGitHub(LandingGitHub, OptOutGitHub, Protocol):
    """Reads who brought a commit, and who keeps automatic action off it."""

    async def app(self) -> App: ...


class AutorevertChecks(Protocol):
    """Check-runs and commit statuses."""

    async def rerun(self, result: CheckResult) -> None: ...

    async def results(self, ref: str) -> tuple[CheckResult, ...]: ...


class AutorevertComments(Protocol):
    """Comments on issues and pull requests."""

    async def ensure_comment(
        self, number: int, *, key: str, body: str, since: datetime, look_first: bool
    ) -> Comment: ...


class AutorevertGitHub(SuspectGitHub, KnownRunsGitHub, Protocol):
    """Reads a check, has it run again, and comments on the suspected pull request."""

    @property
    def checks(self) -> AutorevertChecks: ...

    @property
    def comments(self) -> AutorevertComments: ...

    async def default_branch(self) -> str: ...


class AutorevertRuns(WatchesCommits, MovesRuns, Protocol):
    """The Run, once it waits."""

    async def start(
        self,
        conn: AsyncConnection,
        run_id: str,
        trigger: Trigger,
        *,
        playbook: str,
        at: datetime,
        inputs: dict[str, JsonValue] | None = None,
    ) -> StoredRun: ...


class AutorevertChain(AppendsToChain, Protocol):
    """The audit chain."""


class PauseSelfWork(Protocol):
    """Pauses self-work; within the caller's transaction, and at most once per `key`."""

    async def __call__(
        self,
        conn: AsyncConnection,
        trigger: Trigger,
        *,
        key: str,
        reason: str,
        is_safety: bool,
        at: datetime,
    ) -> None:
        """Pause, unless it is paused already.

        Args:
            conn: the transaction.
            trigger: what is judged; its repository is the one.
            key: what makes this wish this one.
            reason: why, in plain text.
            is_safety: whether only a person may lift it.
            at: now.
        """


class AutorevertResources(Protocol):
    """What a judgement acts through; a Trigger is put once per key."""

    @property
    def github(self) -> AutorevertGitHub: ...

    @property
    def mirror(self) -> HistoryMirror: ...

    @property
    def patience(self) -> Patience: ...

    @property
    def hold(self) -> PauseSelfWork: ...

    def settled(self, newest: Config, /) -> Awaitable[Config]: ...

    def put(self, trigger: Trigger, /) -> Awaitable[object]: ...

    def severity(self, purpose: Purpose, /) -> Severity: ...


runs: AutorevertRuns = runs_module
chain: AutorevertChain = chain_module
