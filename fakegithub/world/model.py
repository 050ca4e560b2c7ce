"""What the demo GitHub remembers: plain records, named as GitHub's REST API names them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from fakegithub.git.bare import BareRepository
from fakegithub.world.refusals import Refusals
from fakegithub.world.roles import RoleName

MergeMethod = Literal["merge", "squash", "rebase"]
Plan = Literal["free", "pro", "team", "enterprise"]
DeploymentState = Literal[
    "error", "failure", "inactive", "in_progress", "queued", "pending", "success"
]


@dataclass(eq=False)
class FakeUser:
    """A person, an organisation, an enterprise or the bot user of an App.

    With `has_allow_list` an account lets no App's server in: its address is not on the list.
    """

    id: int
    login: str
    type: Literal["User", "Organization", "Enterprise", "Bot"] = "User"
    token: str = ""
    name: str | None = None
    has_allow_list: bool = False

    @property
    def email(self) -> str:
        """GitHub's private address for the user, as it appears in commits."""
        return f"{self.id}+{self.login}@users.noreply.github.com"


@dataclass(eq=False)
class FakeApp:
    """A GitHub App with its bot user, keys and webhook."""

    id: int
    slug: str
    name: str
    owner: FakeUser
    bot: FakeUser
    permissions: dict[str, str]
    events: list[str]
    private_key: str
    public_key: str
    client_id: str
    client_secret: str
    created_at: datetime
    webhook_url: str | None = None
    webhook_secret: str | None = None
    callback_urls: list[str] = field(default_factory=list)
    """Where people may be sent back to after logging in; set by hand, as in the App's settings."""
    setup_url: str | None = None
    """Where people are sent after they installed it."""


@dataclass(frozen=True)
class PendingApp:
    """An App made from a manifest, whose code was not given back yet."""

    app: FakeApp
    expires_at: datetime


@dataclass(frozen=True)
class Authorization:
    """A person let an App know who they are; the App has not fetched its token yet."""

    app: FakeApp
    user: FakeUser
    redirect_uri: str
    challenge: str
    expires_at: datetime


@dataclass(frozen=True)
class AppUserToken:
    """Acts as a person within an App's permissions, where the App is installed."""

    app: FakeApp
    user: FakeUser


@dataclass(eq=False)
class FakeInstallation:
    """An App installed on an account; `repositories` None means all of the account's."""

    id: int
    app: FakeApp
    account: FakeUser
    permissions: dict[str, str]
    events: list[str]
    created_at: datetime
    repositories: set[int] | None = None
    suspended_at: datetime | None = None


@dataclass(frozen=True)
class FakeInstallationToken:
    """A short-lived credential; permissions and repositories may be narrower than installed."""

    token: str
    installation: FakeInstallation
    permissions: dict[str, str]
    repositories: frozenset[int] | None
    expires_at: datetime


@dataclass(eq=False)
class FakeLabel:
    """A label of one repository."""

    id: int
    name: str
    color: str = "ededed"
    description: str | None = None
    default: bool = False


@dataclass(eq=False)
class FakeReaction:
    """An emoji by a user on an issue or a comment."""

    id: int
    user: FakeUser
    content: str
    created_at: datetime


@dataclass(eq=False)
class FakeComment:
    """An issue comment, or (with a path) a review comment on a pull request's diff."""

    id: int
    number: int
    user: FakeUser
    body: str
    created_at: datetime
    updated_at: datetime
    app: FakeApp | None = None
    reactions: list[FakeReaction] = field(default_factory=list)
    path: str | None = None
    line: int | None = None
    commit_id: str = ""
    diff_hunk: str = ""
    in_reply_to: int | None = None
    review: int | None = None
    minimized: str | None = None


@dataclass(eq=False)
class IssueEvent:
    """One line of an issue's history: labeled, closed, merged and so on."""

    id: int
    number: int
    event: str
    actor: FakeUser
    created_at: datetime
    app: FakeApp | None = None
    label: FakeLabel | None = None
    assignee: FakeUser | None = None
    commit_id: str | None = None


@dataclass(eq=False)
class FakeReview:
    """A review of a pull request."""

    id: int
    number: int
    user: FakeUser
    body: str
    state: Literal["PENDING", "COMMENTED", "APPROVED", "CHANGES_REQUESTED", "DISMISSED"]
    commit_id: str
    submitted_at: datetime | None = None
    edited_at: datetime | None = None


@dataclass(eq=False)
class AutoMerge:
    """A standing order to merge when every requirement is met."""

    enabled_by: FakeUser
    method: MergeMethod
    title: str | None = None
    message: str | None = None
    app: FakeApp | None = None


@dataclass(eq=False)
class FakePullRequest:
    """What a pull request has beyond its issue; `fork` has its head, where that is one."""

    id: int
    head_ref: str
    head_sha: str
    base_ref: str
    base_sha: str
    draft: bool = False
    merged_at: datetime | None = None
    merged_by: FakeUser | None = None
    merge_commit_sha: str | None = None
    merged_onto: str | None = None
    merged_indirectly: bool = False
    auto_merge: AutoMerge | None = None
    requested_reviewers: list[FakeUser] = field(default_factory=list)
    reviews: list[FakeReview] = field(default_factory=list)
    comments: list[FakeComment] = field(default_factory=list)
    mergeable: bool | None = None
    mergeable_for: tuple[str, str] | None = None
    rebaseable: bool = False
    """As of when `mergeable` was computed."""
    measured: tuple[str, str, tuple[int, int, int, int]] | None = None
    maintainer_can_modify: bool = False
    fork: FakeRepository | None = None

    def is_of(self, fork: FakeRepository | None, branch: str) -> bool:
        """Tell whether this branch is its head: of a fork, or (None) of the base's repository."""
        return self.fork is fork and self.head_ref == branch


@dataclass(eq=False)
class FakeIssue:
    """An issue, or the conversation of a pull request."""

    id: int
    number: int
    user: FakeUser
    title: str
    body: str | None
    created_at: datetime
    updated_at: datetime
    app: FakeApp | None = None
    state: Literal["open", "closed"] = "open"
    state_reason: str | None = None
    closed_at: datetime | None = None
    closed_by: FakeUser | None = None
    locked: bool = False
    labels: list[FakeLabel] = field(default_factory=list)
    assignees: list[FakeUser] = field(default_factory=list)
    comments: list[FakeComment] = field(default_factory=list)
    reactions: list[FakeReaction] = field(default_factory=list)
    events: list[IssueEvent] = field(default_factory=list)
    pull: FakePullRequest | None = None


@dataclass(eq=False)
class CheckSuite:
    """All check-runs of one App on one commit."""

    id: int
    app: FakeApp
    head_sha: str
    head_branch: str | None
    before: str | None
    created_at: datetime
    updated_at: datetime
    status: str = "queued"
    conclusion: str | None = None


@dataclass(eq=False)
class FakeCheckRun:
    """One check by one App on one commit."""

    id: int
    suite: CheckSuite
    name: str
    head_sha: str
    started_at: datetime
    status: str = "queued"
    conclusion: str | None = None
    completed_at: datetime | None = None
    external_id: str = ""
    details_url: str | None = None
    output: dict[str, Any] = field(default_factory=dict)
    annotations: list[dict[str, Any]] = field(default_factory=list)
    actions: list[dict[str, str]] = field(default_factory=list)
    job_id: int | None = None

    @property
    def app(self) -> FakeApp:
        """The App that reports this check."""
        return self.suite.app


@dataclass(eq=False)
class FakeStatus:
    """A commit status, the older way of reporting a check."""

    id: int
    sha: str
    state: Literal["error", "failure", "pending", "success"]
    context: str
    creator: FakeUser
    created_at: datetime
    description: str | None = None
    target_url: str | None = None


@dataclass(eq=False)
class FakeDeploymentStatus:
    """How far a deployment has come."""

    id: int
    state: DeploymentState
    creator: FakeUser
    created_at: datetime
    environment: str
    description: str = ""
    log_url: str = ""
    environment_url: str = ""


@dataclass(eq=False)
class FakeDeployment:
    """One commit on its way to one environment; its statuses from the oldest to the newest."""

    id: int
    sha: str
    ref: str
    task: str
    environment: str
    creator: FakeUser
    created_at: datetime
    payload: dict[str, Any] | str
    description: str | None
    transient: bool
    production: bool
    statuses: list[FakeDeploymentStatus] = field(default_factory=list)


@dataclass(eq=False)
class Ruleset:
    """A repository ruleset for branches; `rules` are as in the REST API."""

    id: int
    name: str
    enforcement: str
    target: str
    include: list[str]
    exclude: list[str]
    rules: list[dict[str, Any]]
    created_at: datetime
    updated_at: datetime
    bypass_actors: list[dict[str, Any]] = field(default_factory=list)


@dataclass(eq=False)
class Protection:
    """Classic protection of one branch."""

    checks: list[tuple[str, int | None]] | None = None
    strict: bool = False
    reviews: int | None = None
    dismiss_stale_reviews: bool = False
    require_last_push_approval: bool = False
    code_owner_reviews: bool = False
    enforce_admins: bool = False
    linear_history: bool = False
    signatures: bool = False
    push_users: list[str] | None = None
    push_apps: list[str] | None = None
    allow_force_pushes: bool = False
    allow_deletions: bool = False
    lock_branch: bool = False
    conversation_resolution: bool = False


@dataclass(eq=False)
class FakeQueueEntry:
    """A pull request waiting in the merge queue, with the temporary branch it is tested on."""

    id: int
    number: int
    enqueued_by: FakeUser
    enqueued_at: datetime
    method: MergeMethod
    head_sha: str
    base_sha: str
    ref: str
    state: str = "AWAITING_CHECKS"
    app: FakeApp | None = None
    takes_yet: int | None = None
    """Seconds until it is merged, as GitHub estimates them; of a young queue it knows nothing."""


@dataclass(frozen=True)
class Activity:
    """One move of a ref: by whom, from where, to where."""

    id: int
    ref: str
    before: str | None
    after: str | None
    actor: FakeUser
    kind: str
    at: datetime


@dataclass(eq=False)
class FakeRepository:
    """One repository with everything that belongs to it.

    Attributes:
        plan: What its owner pays for, which matters for a private repository.
        ghes: The release of GitHub Enterprise Server that answers for it; None: github.com.
        refusals: What it refuses; how to ask for that stands there.
        parent: The repository it is a fork of.
        forks: Its own, in the order in which they were made.
    """

    id: int
    owner: FakeUser
    name: str
    git: BareRepository
    created_at: datetime
    updated_at: datetime
    pushed_at: datetime
    default_branch: str = "main"
    private: bool = False
    archived: bool = False
    has_issues: bool = True
    plan: Plan = "team"
    ghes: tuple[int, int] | None = None
    description: str | None = None
    allow_merge_commit: bool = True
    allow_squash_merge: bool = True
    allow_rebase_merge: bool = True
    allow_auto_merge: bool = False
    allow_update_branch: bool = False
    delete_branch_on_merge: bool = False
    issues: dict[int, FakeIssue] = field(default_factory=dict)
    labels: dict[str, FakeLabel] = field(default_factory=dict)
    roles: dict[str, RoleName] = field(default_factory=dict)
    protections: dict[str, Protection] = field(default_factory=dict)
    rulesets: dict[int, Ruleset] = field(default_factory=dict)
    queue: list[FakeQueueEntry] = field(default_factory=list)
    check_suites: dict[int, CheckSuite] = field(default_factory=dict)
    check_runs: dict[int, FakeCheckRun] = field(default_factory=dict)
    statuses: list[FakeStatus] = field(default_factory=list)
    deployments: dict[int, FakeDeployment] = field(default_factory=dict)
    signed: set[str] = field(default_factory=set)
    push_log: dict[str, FakeUser] = field(default_factory=dict)
    activity: list[Activity] = field(default_factory=list)
    custom_roles: dict[str, str] = field(default_factory=dict)
    """What an organization calls the roles that it gave some people here, by login."""
    tells_activity: bool = True
    """Whether it answers who moved which branch: a policy may forbid it."""
    refusals: Refusals = field(default_factory=Refusals)
    parent: FakeRepository | None = None
    forks: list[FakeRepository] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Tell the one that it is a fork of."""
        if self.parent is not None:
            self.parent.forks.append(self)

    def knows_since(self, *release: int) -> bool:
        """Whether what came with this release of GitHub Enterprise Server is known here."""
        return self.ghes is None or self.ghes >= release

    @property
    def has_rules(self) -> bool:
        """Whether the plan has rulesets and protected branches here.

        https://docs.github.com/repositories/configuring-branches-and-merges-in-your-repository/managing-rulesets/about-rulesets
        """
        return not self.private or self.plan != "free"

    @property
    def has_drafts(self) -> bool:
        """Whether the plan has draft pull requests here.

        https://docs.github.com/rest/pulls/pulls#create-a-pull-request
        """
        return not self.private or self.plan not in ("free", "pro")

    @property
    def full_name(self) -> str:
        """`owner/name`."""
        return f"{self.owner.login}/{self.name}"

    def role_of(self, user: FakeUser) -> RoleName:
        """What `user` may do here: the owner is admin, others as invited, anyone reads public."""
        if user is self.owner:
            return RoleName.ADMIN
        return self.roles.get(user.login.lower(), RoleName.NONE if self.private else RoleName.READ)

    def next_number(self) -> int:
        """The number the next issue or pull request gets."""
        return max(self.issues, default=0) + 1
