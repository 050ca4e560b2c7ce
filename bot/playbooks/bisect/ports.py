"""Everything that a bisect does to GitHub, git, sandboxes and the records, as Protocols."""

from __future__ import annotations

from collections.abc import Awaitable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from bot.config import Config
from bot.github.models import JobAnnotation, KnownCheck, WorkflowJob, WorkflowRun
from bot.pictures.addresses import PictureAddresses
from bot.playbooks.ports import (
    HistoryMirror,
    KnownRunsKnownChecks,
    LandingGitHub,
    LandingPulls,
    OptOutGitHub,
    WatchesCommits,
)
from bot.playbooks.pull_request.ports import (
    ProposalGit,
    ProposalGitHub,
    ProposalPulls,
    ProposalResources,
)
from bot.records import bisects as bisects_module
from bot.records import runs as runs_module
from bot.records.bisects import BisectProgress, TrialCaps, TrialUse
from bot.records.runs import StoredRun
from bot.trials.pool import Order
from bot.trials.runner import TrialResult


class BisectGit(ProposalGit, Protocol):
    """Branches, commits and trees on GitHub."""

    async def ensure_hidden_ref(self, name: str, sha: str, *, look_first: bool) -> None: ...

    async def delete_hidden_ref(self, name: str) -> None: ...

    async def hidden_ref(self, name: str) -> str | None: ...

    async def hidden_refs(self, folder: str) -> tuple[str, ...]: ...


class BisectKnownChecks(KnownRunsKnownChecks, Protocol):
    """What a check has said of many commits."""

    async def of_merged_heads(
        self, commits: Sequence[str], check: str, *, numbers: bool = False
    ) -> tuple[KnownCheck, ...]: ...


class BisectPulls(ProposalPulls, LandingPulls, Protocol):
    """Pull requests."""


class BisectWorkflows(Protocol):
    """Workflow runs of GitHub Actions."""

    async def ensure_dispatched(
        self,
        workflow: str,
        *,
        ref: str,
        inputs: Mapping[str, str],
        title: str,
        since: datetime,
        look_first: bool,
    ) -> int: ...

    async def dispatched(
        self, workflow: str, since: datetime, head_sha: str | None = None
    ) -> tuple[WorkflowRun, ...]: ...

    async def run(self, run_id: int) -> WorkflowRun | None: ...

    async def jobs(self, run_id: int) -> tuple[WorkflowJob, ...]: ...

    async def annotations(self, job_id: int) -> tuple[JobAnnotation, ...]: ...

    async def cancel(self, run_id: int) -> None: ...


class BisectGitHub(ProposalGitHub, LandingGitHub, OptOutGitHub, Protocol):
    """Tries commits by workflows, beside what every proposal does."""

    @property
    def git(self) -> BisectGit: ...

    @property
    def known_checks(self) -> BisectKnownChecks: ...

    @property
    def pulls(self) -> BisectPulls: ...

    @property
    def workflows(self) -> BisectWorkflows: ...

    async def protected_branches(self) -> tuple[str, ...]: ...


class BisectMirror(HistoryMirror, Protocol):
    """The commits of the repository, and what is on which branch."""

    async def contains(self, branch: str, sha: str) -> bool: ...


class BisectSandboxes(Protocol):
    """Sandboxes on this server."""

    @property
    def is_off(self) -> bool: ...

    async def why_not(self) -> str | None: ...

    async def begin(self, session: str, name: str, commit: str, order: Order) -> None: ...

    def is_known(self, session: str, name: str) -> bool: ...

    def result(self, session: str, name: str) -> TrialResult | None: ...

    async def stop(self, session: str, names: Collection[str]) -> None: ...

    async def end(self, session: str) -> None: ...


class BisectRuns(WatchesCommits, Protocol):
    """Runs of the incident, and what this one waits on."""

    async def list_live(
        self, conn: AsyncConnection, repository_id: int | None = None
    ) -> list[StoredRun]: ...

    async def of_incident(self, conn: AsyncConnection, incident_id: str) -> list[StoredRun]: ...


class BisectBisects(Protocol):
    """How far the search is, and the trials that its caps have left."""

    async def progress_of(self, conn: AsyncConnection, run_id: str) -> BisectProgress | None: ...

    async def put_progress(
        self,
        conn: AsyncConnection,
        run_id: str,
        repository_id: int,
        document: BisectProgress,
        *,
        at: datetime,
    ) -> None: ...

    async def reserve_trials(
        self,
        conn: AsyncConnection,
        *,
        run_id: str,
        name: str,
        repository_id: int,
        at: datetime,
        caps: TrialCaps,
        beyond_day: bool = False,
    ) -> TrialUse | None: ...

    async def settle_trials(
        self, conn: AsyncConnection, run_id: str, names: Sequence[str], at: datetime
    ) -> None: ...


class BisectResources(ProposalResources, Protocol):
    """What a bisect acts through."""

    @property
    def github(self) -> BisectGitHub: ...

    @property
    def mirror(self) -> BisectMirror: ...

    @property
    def pool(self) -> BisectSandboxes: ...

    @property
    def pictures(self) -> PictureAddresses: ...

    def settled(self, newest: Config, /) -> Awaitable[Config]: ...


runs: BisectRuns = runs_module
bisects: BisectBisects = bisects_module
