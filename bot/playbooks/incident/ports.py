"""Everything that an incident does to GitHub and to the records, as Protocols."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import datetime
from typing import Literal, Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.github.calls.checks import CheckReport
from bot.github.calls.git_data import Tip
from bot.github.calls.trees import TreeChange
from bot.github.models import (
    App,
    BranchRules,
    ChangedFile,
    Comment,
    Commit,
    File,
    Issue,
    PullRequest,
    Ref,
    RepositoryFacts,
    TreeEntry,
)
from bot.playbooks.ports import (
    AppendsToChain,
    HistoryMirror,
    MovesIncidents,
    MovesRuns,
    NotesRuns,
    RefersIncidents,
    WatchesCommits,
)
from bot.playbooks.run import Patience
from bot.records import approvals as approvals_module
from bot.records import budgets as budgets_module
from bot.records import incidents as incidents_module
from bot.records import notifications as notifications_module
from bot.records import runs as runs_module
from bot.records.approvals import Approval
from bot.records.audit import chain as chain_module
from bot.records.audit.anchors import Anchor
from bot.records.branch_record import BranchLook, KeptFile, Wrong
from bot.records.incidents import Incident, Opening
from bot.records.runs import StoredRun
from bot.triggers import Repository


class StatusChecks(Protocol):
    """Check-runs and commit statuses."""

    async def ensure_reported(
        self,
        known: int | None,
        *,
        head_sha: str,
        name: str,
        external_id: str,
        report: CheckReport,
        look_first: bool,
    ) -> int: ...


class StatusComments(Protocol):
    """Comments on issues and pull requests."""

    async def ensure_comment(
        self, number: int, *, key: str, body: str, since: datetime, look_first: bool
    ) -> Comment: ...

    async def sticky_comment(
        self,
        number: int,
        *,
        key: str,
        body: str,
        since: datetime,
        look_first: bool = True,
        comment_id: int | None = None,
    ) -> Comment: ...


class StatusIssues(Protocol):
    """Issues."""

    async def ensure_issue(
        self,
        *,
        key: str,
        title: str,
        body: str,
        labels: Sequence[str] = (),
        assignees: Sequence[str] = (),
        since: datetime,
        look_first: bool,
    ) -> Issue: ...

    async def update(self, number: int, *, body: str | None = None) -> Issue: ...

    async def reopen(self, number: int) -> Issue: ...

    async def close(
        self,
        number: int,
        reason: Literal["completed", "not_planned"] = "completed",
        body: str | None = None,
    ) -> Issue: ...


class StatusPulls(Protocol):
    """Pull requests."""

    async def get(self, number: int) -> PullRequest: ...

    async def update(self, number: int, *, body: str | None = None) -> PullRequest: ...


class StatusGitHub(Protocol):
    """Says where an incident stands: issue, comments, a pull request's description, check-run."""

    @property
    def checks(self) -> StatusChecks: ...

    @property
    def comments(self) -> StatusComments: ...

    @property
    def issues(self) -> StatusIssues: ...

    @property
    def pulls(self) -> StatusPulls: ...


class RecordsComments(Protocol):
    """Comments on issues and pull requests."""

    async def ensure_comment(
        self, number: int, *, key: str, body: str, since: datetime, look_first: bool
    ) -> Comment: ...


class RecordsContents(Protocol):
    """Files at a commit."""

    async def read(self, path: str, ref: str | None = None) -> File | None: ...


class RecordsGit(Protocol):
    """Branches, commits and trees on GitHub."""

    async def branch(self, name: str) -> Ref | None: ...

    async def branches(self, beginning: str) -> dict[str, str]: ...

    async def create_commit(self, *, tree: str, parents: Sequence[str], message: str) -> Commit: ...

    async def ensure_branch(self, name: str, sha: str, *, look_first: bool) -> Ref: ...

    async def fast_forward(self, name: str, sha: str) -> None: ...

    async def publish_tree(
        self,
        base_tree: str | None,
        changes: Sequence[TreeChange],
        *,
        expected_tree: str | None = None,
    ) -> str: ...

    async def tip(self, name: str) -> Tip | None: ...

    async def tree(self, tree: str, *, recursive: bool = False) -> tuple[TreeEntry, ...]: ...

    async def tree_of(self, commit: str) -> str: ...


class RecordsGitHub(Protocol):
    """Keeps the records branch."""

    @property
    def comments(self) -> RecordsComments: ...

    @property
    def contents(self) -> RecordsContents: ...

    @property
    def git(self) -> RecordsGit: ...

    @property
    def repository(self) -> Repository: ...


class OutcomesGit(RecordsGit, Protocol):
    """Branches, commits and trees on GitHub."""

    async def delete_branch(self, name: str) -> None: ...

    async def head(self, name: str) -> str: ...


class OutcomesPulls(Protocol):
    """Pull requests."""

    async def commits(self, number: int) -> tuple[Commit, ...]: ...

    async def ensure_pull_request(
        self,
        *,
        head: str,
        base: str,
        title: str,
        body: str,
        draft: bool = False,
        title_without_draft: str | None = None,
        commit: str | None = None,
        look_first: bool,
    ) -> PullRequest: ...

    def files(self, number: int) -> AsyncIterator[ChangedFile]: ...

    async def get(self, number: int) -> PullRequest: ...

    def list(
        self,
        *,
        state: Literal["open", "closed", "all"] = "open",
        base: str | None = None,
        head: str | None = None,
    ) -> AsyncIterator[PullRequest]: ...


class OutcomesGitHub(RecordsGitHub, Protocol):
    """Brings final files to the default branch, if need be by the pull request of outcomes."""

    @property
    def git(self) -> OutcomesGit: ...

    @property
    def pulls(self) -> OutcomesPulls: ...

    async def app(self) -> App: ...


class IncidentComments(StatusComments, RecordsComments, Protocol):
    """Comments on issues and pull requests."""


class IncidentPulls(StatusPulls, OutcomesPulls, Protocol):
    """Pull requests."""


class IncidentGitHub(StatusGitHub, OutcomesGitHub, Protocol):
    """Opens an incident, says where it stands, and records what came of it."""

    @property
    def comments(self) -> IncidentComments: ...

    @property
    def pulls(self) -> IncidentPulls: ...

    async def about(self) -> RepositoryFacts: ...

    async def default_branch(self) -> str: ...

    async def branch_rules(
        self, branch: str, facts: RepositoryFacts | None = None
    ) -> BranchRules: ...


class IncidentStore(Protocol):
    """What was put on the records branch."""

    async def keep(
        self, repository_id: int, files: Mapping[str, str], anchor: Anchor, *, incident: str
    ) -> None: ...

    async def written(
        self, repository_id: int, paths: Collection[str], *, anchors: Collection[str]
    ) -> None: ...

    async def saw(self, repository_id: int, head: str) -> None: ...

    async def looked(self, repository_id: int) -> BranchLook: ...

    async def files(self, repository_id: int) -> tuple[KeptFile, ...]: ...

    async def contents(self, repository_id: int, paths: Collection[str]) -> dict[str, str]: ...

    async def anchors(self, repository_id: int) -> dict[str, bool]: ...

    async def adopt(self, repository_id: int, found: Sequence[Anchor]) -> None: ...

    async def tell(
        self, repository_id: int, wrong: Wrong, *, branch: str, commit: str | None, of: str
    ) -> None: ...

    async def issues(self, incident_ids: Collection[str]) -> tuple[int, ...]: ...


class IncidentIncidents(RefersIncidents, MovesIncidents, Protocol):
    """The incident."""

    async def find(self, conn: AsyncConnection, incident_id: str) -> Incident | None: ...

    async def open_or_join(
        self, conn: AsyncConnection, opening: Opening
    ) -> tuple[Incident, bool]: ...


class IncidentRuns(WatchesCommits, MovesRuns, NotesRuns, Protocol):
    """Its Runs."""

    async def find(self, conn: AsyncConnection, run_id: str) -> StoredRun | None: ...

    async def of_incident(self, conn: AsyncConnection, incident_id: str) -> list[StoredRun]: ...

    async def stand(
        self,
        conn: AsyncConnection,
        run_id: str,
        *,
        at: datetime,
        state: Literal["working", "needs you", "done", "stopped"],
        headline: str,
        details: Sequence[str] = (),
    ) -> StoredRun: ...


class IncidentApprovals(Protocol):
    """Approvals that are asked for."""

    async def ask(
        self,
        conn: AsyncConnection,
        run_id: str,
        repository_id: int,
        *,
        of: Literal["founder", "person"] = "founder",
        commit: str,
        plan_digest: str,
        requested_by: str,
        at: datetime,
        expires_at: datetime,
    ) -> Approval: ...

    async def void(self, conn: AsyncConnection, run_id: str, at: datetime) -> None: ...


class IncidentBudgets(Protocol):
    """What was counted against a cap."""

    async def give_back(self, conn: AsyncConnection, repository_id: int, key: str) -> None: ...


class IncidentNotifications(Protocol):
    """Who is notified."""

    async def announce(
        self, conn: AsyncConnection, incident: Incident, *, at: datetime, spared: str | None = None
    ) -> None: ...

    async def post(
        self,
        conn: AsyncConnection,
        notification_id: str,
        *,
        repository_id: int,
        audience: str,
        title: str,
        body: str,
        at: datetime,
        incident_id: str | None = None,
    ) -> None: ...


class IncidentChain(AppendsToChain, Protocol):
    """The audit chain."""


incidents: IncidentIncidents = incidents_module
runs: IncidentRuns = runs_module
approvals: IncidentApprovals = approvals_module
budgets: IncidentBudgets = budgets_module
notifications: IncidentNotifications = notifications_module
chain: IncidentChain = chain_module


class IncidentResources(Protocol):
    """What every incident acts through."""

    @property
    def github(self) -> IncidentGitHub: ...

    @property
    def mirror(self) -> HistoryMirror: ...

    @property
    def store(self) -> IncidentStore: ...

    @property
    def signing_key(self) -> Ed25519PrivateKey: ...

    @property
    def web_url(self) -> str: ...

    @property
    def patience(self) -> Patience: ...

    def page_of(self, incident: str) -> str | None: ...
