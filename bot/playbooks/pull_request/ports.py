"""Everything that a proposal does to GitHub and to the records, as Protocols."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bot.github.calls.pulls import MergeOutcome, NotYet
from bot.github.models import (
    Annotation,
    CheckResult,
    Commit,
    Deployment,
    DeploymentStatus,
    MergeMethod,
    PullRequest,
    Push,
    QueueEntry,
    Review,
)
from bot.playbooks.incident.ports import (
    IncidentGitHub,
    IncidentPulls,
    IncidentResources,
    OutcomesGit,
    StatusChecks,
)
from bot.playbooks.ports import (
    CheckedCommitChecks,
    CheckedCommitGit,
    CheckedCommitGitHub,
    KnownRunsGitHub,
    OptOutPermissions,
    ReportingChecks,
    ReportingGitHub,
    ReportingPulls,
    WatchesCommits,
)
from bot.records import runs as runs_module


class RerunChecks(Protocol):
    """Check-runs and commit statuses."""

    async def rerun(self, result: CheckResult) -> None: ...

    async def results(self, ref: str) -> tuple[CheckResult, ...]: ...


class RerunGitHub(KnownRunsGitHub, Protocol):
    """Has checks run again, and reads how they ended before."""

    @property
    def checks(self) -> RerunChecks: ...


class ProposalChecks(StatusChecks, CheckedCommitChecks, ReportingChecks, RerunChecks, Protocol):
    """Check-runs and commit statuses."""

    async def annotations(self, run_id: int) -> tuple[Annotation, ...]: ...


class ProposalDeployments(Protocol):
    """Deployments of a commit."""

    async def of(self, sha: str) -> tuple[Deployment, ...]: ...

    async def statuses(self, deployment_id: int) -> tuple[DeploymentStatus, ...]: ...


class ProposalGit(OutcomesGit, CheckedCommitGit, Protocol):
    """Branches, commits and trees on GitHub."""

    async def ensure_commit_on_branch(
        self,
        branch: str,
        *,
        key: str,
        tree: str,
        parents: Sequence[str],
        message: str,
        new_branch: bool,
        look_first: bool,
    ) -> Commit: ...

    async def pushes(self, branch: str) -> tuple[Push, ...] | None: ...

    async def steps_on(self, branch: str) -> tuple[str, ...]: ...


class ProposalMerging(Protocol):
    """Merging, and the merge queue."""

    async def queue_entry(self, pull: PullRequest) -> QueueEntry | None: ...

    async def enqueue(self, pull: PullRequest, *, head_sha: str) -> QueueEntry | NotYet: ...

    async def merge(
        self,
        number: int,
        *,
        head_sha: str,
        method: MergeMethod,
        title: str | None = None,
        message: str | None = None,
        look_first: bool = False,
    ) -> MergeOutcome: ...


class ProposalPulls(IncidentPulls, ReportingPulls, Protocol):
    """Pull requests."""

    async def reviews(self, number: int) -> tuple[Review, ...]: ...

    async def close(self, number: int) -> PullRequest: ...

    async def mark_ready(self, pull: PullRequest) -> None: ...

    async def update(
        self, number: int, *, title: str | None = None, body: str | None = None
    ) -> PullRequest: ...


class ProposalGitHub(IncidentGitHub, CheckedCommitGitHub, ReportingGitHub, RerunGitHub, Protocol):
    """Publishes a change, watches its checks, merges it, or takes it back."""

    @property
    def checks(self) -> ProposalChecks: ...

    @property
    def deployments(self) -> ProposalDeployments: ...

    @property
    def git(self) -> ProposalGit: ...

    @property
    def merging(self) -> ProposalMerging: ...

    @property
    def permissions(self) -> OptOutPermissions: ...

    @property
    def pulls(self) -> ProposalPulls: ...

    def forget_rules(self) -> None: ...


class ProposalRuns(WatchesCommits, Protocol):
    """What the Run waits on."""


class ProposalResources(IncidentResources, Protocol):
    """What everything acts through that proposes a change."""

    @property
    def github(self) -> ProposalGitHub: ...


runs: ProposalRuns = runs_module
