"""What playbooks read in common, as Protocols."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, Protocol, TypeVar

from pydantic import JsonValue
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.git.process import Git
from bot.github.models import App, CheckResult, Commit, KnownCheck, PullRequest
from bot.records import steps as steps_module
from bot.records.audit.chain import AuditEntry
from bot.records.incidents import Incident
from bot.records.lifecycle import IncidentStatus, RunState
from bot.records.runs import StoredRun
from bot.records.steps import StoredStep
from bot.triggers import Role

T = TypeVar("T")


class HistoryMirror(Protocol):
    """The commits of a repository, as of the last refresh."""

    async def refresh(self, wanted: Sequence[str] = ()) -> None: ...

    async def read(
        self,
        operation: Callable[[Git], Awaitable[T]],
        *,
        after_rebuild: Callable[[], Awaitable[None]] | None = None,
    ) -> T: ...

    async def branch_head(self, branch: str) -> str: ...


class KnownRunsKnownChecks(Protocol):
    """What a check has said of many commits."""

    async def of(
        self, commits: Sequence[str], check: str, *, numbers: bool = False
    ) -> tuple[KnownCheck, ...]: ...


class KnownRunsGitHub(Protocol):
    """Reads how a check has ended on many commits."""

    @property
    def known_checks(self) -> KnownRunsKnownChecks: ...

    async def app(self) -> App: ...


class CheckedCommitChecks(Protocol):
    """Check-runs and commit statuses."""

    async def results(self, ref: str) -> tuple[CheckResult, ...]: ...


class CheckedCommitGit(Protocol):
    """Branches, commits and trees on GitHub."""

    async def commit(self, ref: str) -> Commit | None: ...


class CheckedCommitGitHub(Protocol):
    """Reads what was reported on a commit."""

    @property
    def checks(self) -> CheckedCommitChecks: ...

    @property
    def git(self) -> CheckedCommitGit: ...

    async def app(self) -> App: ...


class OptOutChanges(Protocol):
    """What happened to issues and pull requests."""

    async def events(self, number: int, *kinds: str) -> list[Mapping[str, Any]]: ...


class OptOutPermissions(Protocol):
    """Who may do what."""

    async def role_of(self, login: str) -> Role: ...


class OptOutGitHub(Protocol):
    """Reads who kept automatic action off a pull request."""

    @property
    def changes(self) -> OptOutChanges: ...

    @property
    def permissions(self) -> OptOutPermissions: ...


class ReportingChecks(Protocol):
    """Check-runs and commit statuses."""

    async def results(self, ref: str) -> tuple[CheckResult, ...]: ...


class ReportingPulls(Protocol):
    """Pull requests."""

    async def find(self, number: int) -> PullRequest | None: ...

    def list(
        self,
        *,
        state: Literal["open", "closed", "all"] = "open",
        base: str | None = None,
        head: str | None = None,
    ) -> AsyncIterator[PullRequest]: ...


class ReportingGitHub(Protocol):
    """Reads which checks report on pull requests."""

    @property
    def checks(self) -> ReportingChecks: ...

    @property
    def pulls(self) -> ReportingPulls: ...

    async def app(self) -> App: ...


class CheckNamesChecks(CheckedCommitChecks, ReportingChecks, Protocol):
    """Check-runs and commit statuses."""


class CheckNamesGit(CheckedCommitGit, Protocol):
    """Branches, commits and trees on GitHub."""

    async def head(self, name: str) -> str: ...

    async def newest(self, ref: str) -> tuple[str, ...]: ...


class CheckNamesGitHub(CheckedCommitGitHub, KnownRunsGitHub, ReportingGitHub, Protocol):
    """Reads which checks there are."""

    @property
    def checks(self) -> CheckNamesChecks: ...

    @property
    def git(self) -> CheckNamesGit: ...


class LandingPulls(Protocol):
    """Pull requests."""

    async def commits(self, number: int) -> tuple[Commit, ...]: ...

    async def find(self, number: int) -> PullRequest | None: ...

    async def merged_with(self, commits: Sequence[str]) -> tuple[int, ...]: ...

    async def of_commit(self, sha: str) -> tuple[PullRequest, ...]: ...


class LandingGitHub(Protocol):
    """Reads which pull requests a commit came with."""

    @property
    def pulls(self) -> LandingPulls: ...


class UndoSteps(Protocol):
    """The steps that a Run has done."""

    async def of_run(self, conn: AsyncConnection, run_id: str) -> list[StoredStep]: ...


steps: UndoSteps = steps_module


class AppendsToChain(Protocol):
    """Adds an entry to the audit chain."""

    async def append(
        self,
        conn: AsyncConnection,
        repository_id: int,
        action: str,
        *,
        actor: str,
        at: datetime,
        incident: str | None = None,
        run: str | None = None,
        refs: dict[str, JsonValue] | None = None,
        data: dict[str, JsonValue] | None = None,
    ) -> AuditEntry: ...


class WatchesCommits(Protocol):
    """Notes which commit a Run waits for news of."""

    async def watch(
        self,
        conn: AsyncConnection,
        run_id: str,
        *,
        at: datetime,
        head_sha: str | None,
        pull_request: int | None,
    ) -> StoredRun: ...


class MovesRuns(Protocol):
    """Moves a Run to its next state."""

    async def move(
        self,
        conn: AsyncConnection,
        run_id: str,
        to: RunState,
        *,
        at: datetime,
        reason: str | None = None,
    ) -> StoredRun: ...


class NotesRuns(Protocol):
    """Notes what a Run is about."""

    async def note(
        self,
        conn: AsyncConnection,
        run_id: str,
        *,
        at: datetime,
        incident_id: str | None = None,
        joined_incident: str | None = None,
        inputs: dict[str, JsonValue] | None = None,
        plan_digest: str | None = None,
        artifact_path: str | None = None,
        artifact_sha256: str | None = None,
    ) -> StoredRun: ...


class RefersIncidents(Protocol):
    """Notes where an incident is told of."""

    async def refer(
        self,
        conn: AsyncConnection,
        incident_id: str,
        *,
        issue: int | None = None,
        adr: str | None = None,
        pull_request: int | None = None,
    ) -> Incident: ...


class MovesIncidents(Protocol):
    """Moves an incident to its next status."""

    async def move(
        self, conn: AsyncConnection, incident_id: str, to: IncidentStatus, *, at: datetime
    ) -> Incident: ...


class FindsIncidents(Protocol):
    """Finds the incident that something belongs to."""

    async def latest_about(
        self,
        conn: AsyncConnection,
        repository_id: int,
        kind: str,
        subject: str,
        *,
        besides: Sequence[IncidentStatus] = (),
    ) -> Incident | None: ...

    async def resolved_about(
        self, conn: AsyncConnection, repository_id: int, kind: str, subject: str
    ) -> list[Incident]: ...
