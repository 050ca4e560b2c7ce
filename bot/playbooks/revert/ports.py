"""Everything that a revert does to GitHub, git and the records, as Protocols."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Protocol

from bot.config import Config
from bot.github.models import Issue
from bot.playbooks.incident.ports import StatusIssues
from bot.playbooks.ports import HistoryMirror, LandingGitHub, LandingPulls
from bot.playbooks.pull_request.ports import ProposalGitHub, ProposalPulls, ProposalResources
from bot.triggers import Trigger


class RevertIssues(StatusIssues, Protocol):
    """Issues."""

    async def find(self, number: int) -> Issue | None: ...

    async def ensure_assignees(self, number: int, logins: Sequence[str]) -> tuple[str, ...]: ...


class RevertPulls(ProposalPulls, LandingPulls, Protocol):
    """Pull requests."""


class RevertGitHub(ProposalGitHub, LandingGitHub, Protocol):
    """Finds what is reverted, beside what every proposal does."""

    @property
    def issues(self) -> RevertIssues: ...

    @property
    def pulls(self) -> RevertPulls: ...

    async def protected_branches(self) -> tuple[str, ...]: ...


class RevertMirror(HistoryMirror, Protocol):
    """The commits of the repository, and what is on which branch."""

    async def contains(self, branch: str, sha: str) -> bool: ...


class RevertResources(ProposalResources, Protocol):
    """What a revert acts through; a Trigger is put once per key."""

    @property
    def github(self) -> RevertGitHub: ...

    @property
    def mirror(self) -> RevertMirror: ...

    def settled(self, newest: Config, /) -> Awaitable[Config]: ...

    def put(self, trigger: Trigger, /) -> Awaitable[object]: ...
