"""What playbooks read in common, as Protocols."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from bot.git.process import Git
from bot.github.calls.known_checks import KnownCheck
from bot.github.models import App, CheckResult, Commit, PullRequest
from bot.records import steps as steps_module
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

    async def of(self, commits: Sequence[str], check: str) -> tuple[KnownCheck, ...]: ...


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
