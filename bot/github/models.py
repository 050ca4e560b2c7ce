"""What we read from GitHub: small, frozen, and only the fields the bot uses.

Field names are GitHub's, so that its documentation explains them. Fields that GitHub adds later
are ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AliasPath,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from bot.github.errors import Unreadable

COMMITS_LISTED = 250
"""GitHub lists no more commits of a pull request; of others it says not that they are there."""
FILES_LISTED = 3000
"""Nor more files of one. Source: https://docs.github.com/rest/pulls/pulls"""


class GitHubModel(BaseModel):
    """Something read from GitHub.

    What has a default here need not be there: GitHub's description lets servers leave it out or
    write null, and old ones do.
    """

    model_config = ConfigDict(defer_build=True, frozen=True, extra="ignore", populate_by_name=True)

    @classmethod
    def model_validate(cls, obj: Any, **options: Any) -> Self:
        """Read it.

        Raises:
            Unreadable: what cannot be done without is not there.
        """
        try:
            return super().model_validate(obj, **options)
        except ValidationError as error:
            raise Unreadable.of(cls.__name__, error) from error

    @model_validator(mode="before")
    @classmethod
    def _null_is_unset(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        unset = {
            key
            for name, field in cls.model_fields.items()
            for key in (name, field.validation_alias)
            if isinstance(key, str) and data.get(key, ...) is None and not field.is_required()
        }
        return {key: data[key] for key in data if key not in unset} if unset else data


def _one_of(*known: str) -> Callable[[Any], Any]:
    """Read a word of a list that GitHub may lengthen: one we have not heard of is `other`."""

    def read(word: Any) -> Any:
        return "other" if isinstance(word, str) and word not in known else word

    return read


OpenOrClosed = Annotated[
    Literal["open", "closed", "other"], BeforeValidator(_one_of("open", "closed"))
]


def _label_names(labels: Any) -> Any:
    if isinstance(labels, list | tuple):
        named = [entry.get("name") if isinstance(entry, dict) else entry for entry in labels]
        return tuple(name for name in named if name is not None)
    return labels


LabelNames = Annotated[tuple[str, ...], BeforeValidator(_label_names)]


class User(GitHubModel):
    """A person, bot or organization. A deleted account reads as `ghost`."""

    login: str
    id: int = 0
    type: str = "User"

    @property
    def is_bot(self) -> bool:
        """Tell whether this is an App or another bot."""
        return self.type == "Bot" or self.login.endswith("[bot]")


def _ghost(user: Any) -> Any:
    return {"login": "ghost", "id": 10137} if user is None else user


Author = Annotated[User, BeforeValidator(_ghost)]


def _those_there(users: Any) -> Any:
    if isinstance(users, list | tuple):
        return tuple(user for user in users if user is not None)
    return users


Users = Annotated[tuple[User, ...], BeforeValidator(_those_there)]


class RepositoryFacts(GitHubModel):
    """One repository's settings, as far as merging and linking need them."""

    id: int
    name: str
    full_name: str
    owner: Author
    default_branch: str
    private: bool = False
    archived: bool = False
    html_url: str = ""
    allow_merge_commit: bool = True
    allow_squash_merge: bool = True
    allow_rebase_merge: bool = True
    has_issues: bool = True


class Issue(GitHubModel):
    """An issue, or a pull request seen as one."""

    number: int
    id: int
    node_id: str = ""
    title: str
    body: str | None = None
    state: OpenOrClosed
    user: Author
    labels: LabelNames = ()
    assignees: Users = ()
    html_url: str = ""
    created_at: datetime | None = None
    updated_at: datetime | None = None
    closed_at: datetime | None = None
    pull_request: dict[str, Any] | None = Field(default=None, repr=False)

    @property
    def is_pull_request(self) -> bool:
        """Tell whether the number belongs to a pull request."""
        return self.pull_request is not None


class Comment(GitHubModel):
    """A comment on an issue or a pull request."""

    id: int
    node_id: str = ""
    user: Author
    body: str | None = None
    html_url: str = ""
    created_at: datetime
    updated_at: datetime


class Reaction(GitHubModel):
    """One reaction, such as `eyes`."""

    id: int
    content: str
    user: Author


class Label(GitHubModel):
    """A label of the repository."""

    name: str
    color: str = ""
    description: str | None = None


class BranchPoint(GitHubModel):
    """One end of a pull request: a branch and the commit it points to."""

    ref: str
    sha: str
    label: str | None = None
    repository_id: int | None = Field(default=None, validation_alias=AliasPath("repo", "id"))


class PullRequest(GitHubModel):
    """A pull request. `merged` and `mergeable` are only known where it was read by number."""

    number: int
    id: int
    node_id: str
    title: str
    body: str | None = None
    state: OpenOrClosed
    draft: bool = False
    merged: bool = False
    merged_at: datetime | None = None
    merge_commit_sha: str | None = None
    mergeable: bool | None = None
    mergeable_state: str = "unknown"
    rebaseable: bool | None = None
    head: BranchPoint
    base: BranchPoint
    user: Author
    labels: LabelNames = ()
    assignees: Users = ()
    requested_reviewers: Users = ()
    html_url: str
    commits: int | None = None
    changed_files: int | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    closed_at: datetime | None = None

    @property
    def is_merged(self) -> bool:
        """Tell whether it was merged (lists leave `merged` out, but not `merged_at`)."""
        return self.merged or self.merged_at is not None

    @property
    def is_from_fork(self) -> bool:
        """Tell whether the head lives in another repository (or in a deleted one)."""
        return self.head.repository_id != self.base.repository_id


class ChangedFile(GitHubModel):
    """One file a pull request changes."""

    filename: str
    status: str
    previous_filename: str | None = None
    additions: int = 0
    deletions: int = 0
    sha: str | None = None


class Review(GitHubModel):
    """One review. `state` is APPROVED, CHANGES_REQUESTED, COMMENTED, DISMISSED or PENDING."""

    id: int
    user: Author
    state: str
    body: str | None = None
    commit_id: str | None = None
    submitted_at: datetime | None = None
    html_url: str = ""


class App(GitHubModel):
    """A GitHub App."""

    id: int
    slug: str = ""
    name: str = ""

    @property
    def bot_login(self) -> str:
        """The login under which the App's comments appear."""
        return f"{self.slug}[bot]"


class CheckOutput(GitHubModel):
    """What a check-run says."""

    title: str | None = None
    summary: str | None = None
    text: str | None = None
    annotations_count: int = 0


class Annotation(GitHubModel):
    """What a check-run says about lines of one file; level is notice, warning or failure."""

    path: str
    annotation_level: str | None = None
    title: str | None = None
    message: str | None = None


class CheckRun(GitHubModel):
    """One check-run on one commit."""

    id: int
    name: str
    head_sha: str
    external_id: str | None = None
    status: str
    conclusion: str | None = None
    app: App | None = None
    html_url: str | None = None
    details_url: str | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    output: CheckOutput = CheckOutput()


class CommitStatus(GitHubModel):
    """One commit status (the older sibling of the check-run)."""

    id: int
    context: str
    state: Annotated[
        Literal["error", "failure", "pending", "success", "other"],
        BeforeValidator(_one_of("error", "failure", "pending", "success")),
    ]
    description: str | None = None
    target_url: str | None = None
    creator: User | None = None
    created_at: datetime
    updated_at: datetime


def _none_if_empty(text: Any) -> Any:
    return text or None


Link = Annotated[str | None, BeforeValidator(_none_if_empty)]
"""An address; GitHub writes an empty text where there is none."""


class Deployment(GitHubModel):
    """One commit on its way to one environment; `transient` ones are made for that commit."""

    id: int
    sha: str
    environment: str
    transient: bool = Field(default=False, validation_alias="transient_environment")
    created_at: datetime


class DeploymentStatus(GitHubModel):
    """How far a deployment has come.

    `inactive` says that its environment was taken down or replaced, not that it failed.
    """

    id: int
    state: Annotated[
        Literal[
            "error", "failure", "inactive", "in_progress", "queued", "pending", "success", "other"
        ],
        BeforeValidator(
            _one_of("error", "failure", "inactive", "in_progress", "queued", "pending", "success")
        ),
    ]
    description: str = ""
    log_url: Link = None
    environment_url: Link = None
    created_at: datetime


class CheckKind(StrEnum):
    """How a result was reported."""

    CHECK_RUN = "check_run"
    STATUS = "status"


class CheckResult(GitHubModel):
    """One check on one commit, whether a check-run or a commit status reported it.

    `status` is queued, in_progress or completed (and the few more that GitHub uses while a run
    waits); `conclusion` is set once completed: success, failure, neutral, cancelled, skipped,
    timed_out, action_required, stale or startup_failure. `app_id` is None for statuses.
    """

    name: str
    kind: CheckKind
    id: int
    app_id: int | None = None
    app_slug: str | None = None
    status: str
    conclusion: str | None = None
    url: str | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    external_id: str | None = None
    title: str | None = None
    summary: str | None = None
    annotations: int = 0

    @property
    def is_completed(self) -> bool:
        """Tell whether the check has reached its conclusion."""
        return self.status == "completed"

    @property
    def is_passed(self) -> bool:
        """Tell whether GitHub counts it as passed: success, neutral or skipped."""
        return self.conclusion in {"success", "neutral", "skipped"}


class Ref(GitHubModel):
    """A git ref and the object it points to."""

    ref: str
    sha: str = Field(validation_alias=AliasPath("object", "sha"))

    @property
    def branch(self) -> str:
        """The branch's short name."""
        return self.ref.removeprefix("refs/heads/")


class Commit(GitHubModel):
    """A git commit. `login` is the author's GitHub account, where GitHub knows one.

    `committer` likewise is the committer's (`web-flow` for what is done on GitHub's pages).
    """

    sha: str
    message: str
    tree: str
    parents: tuple[str, ...]
    html_url: str = ""
    author_name: str | None = None
    author_email: str | None = Field(default=None, repr=False)
    login: str | None = None
    committer: str | None = None
    committed_at: datetime | None = None
    verified: bool = False


class Push(GitHubModel):
    """One move of a branch. `by` is who moved it; None for a deleted account."""

    ref: str = ""
    before: str = ""
    after: str
    kind: str = Field(default="", validation_alias="activity_type")
    """`push`, `force_push`, `branch_creation`, `pr_merge` and so on."""
    by: str | None = Field(default=None, validation_alias=AliasPath("actor", "login"))


class TreeEntry(GitHubModel):
    """One entry of a git tree."""

    path: str
    mode: str
    type: Annotated[
        Literal["blob", "tree", "commit", "other"],
        BeforeValidator(_one_of("blob", "tree", "commit")),
    ]
    sha: str


class CommitComparison(GitHubModel):
    """How `head` stands to `base`: identical, ahead, behind or diverged."""

    status: Annotated[
        Literal["identical", "ahead", "behind", "diverged", "other"],
        BeforeValidator(_one_of("identical", "ahead", "behind", "diverged")),
    ]
    ahead_by: int
    behind_by: int
    merge_base: str = Field(validation_alias=AliasPath("merge_base_commit", "sha"))


class File(GitHubModel):
    """A file's bytes at one commit, and its blob id."""

    path: str
    sha: str
    content: bytes = Field(repr=False)

    @property
    def text(self) -> str:
        """The content as UTF-8; bytes that are not become replacement characters."""
        return self.content.decode("utf-8", "replace")


class RequiredCheck(GitHubModel):
    """A check a branch asks for; `integration_id` pins it to one App, None takes any."""

    name: str
    integration_id: int | None = None


class MergeMethod(StrEnum):
    """How a pull request is merged."""

    MERGE = "merge"
    SQUASH = "squash"
    REBASE = "rebase"


class BranchRules(GitHubModel):
    """What one branch asks of a merge, from rulesets and classic protection together.

    `other_rules` are ruleset types that the bot does not judge, such as `code_scanning`.

    `complete` is False where the App may not read classic protection (it needs
    `administration=read`): then there may be more rules than these, and GitHub's own
    `mergeable_state` has the last word.
    """

    branch: str
    required_checks: tuple[RequiredCheck, ...] = ()
    strict: bool = False
    required_reviews: int = 0
    code_owner_review: bool = False
    last_push_approval: bool = False
    pull_request_required: bool = False
    conversation_resolution: bool = False
    linear_history: bool = False
    signatures: bool = False
    restricted_pushes: bool = False
    locked: bool = False
    merge_queue: bool = False
    merge_methods: tuple[MergeMethod, ...] = tuple(MergeMethod)
    required_deployments: tuple[str, ...] = ()
    other_rules: tuple[str, ...] = ()
    complete: bool = True

    @property
    def pins(self) -> tuple[tuple[str, int], ...]:
        """The required checks that only one App may report, each with its id."""
        checks = self.required_checks
        return tuple((c.name, c.integration_id) for c in checks if c.integration_id is not None)

    @property
    def allows_direct_commits(self) -> bool:
        """Tell whether the bot may commit to the branch without a pull request."""
        return not (
            self.pull_request_required
            or self.restricted_pushes
            or self.locked
            or self.merge_queue
            or self.required_checks
            or self.required_deployments
        )


class QueueEntry(GitHubModel):
    """A pull request's place in the merge queue.

    `state` is QUEUED, AWAITING_CHECKS, MERGEABLE, UNMERGEABLE or LOCKED; `takes_yet` are seconds,
    as GitHub estimates them.
    """

    id: str
    state: str
    position: int | None = None
    head_sha: str | None = Field(default=None, validation_alias=AliasPath("headCommit", "oid"))
    since: datetime | None = Field(default=None, validation_alias="enqueuedAt")
    takes_yet: int | None = Field(default=None, validation_alias="estimatedTimeToMerge")


def _only_levels(permissions: Any) -> Any:
    if isinstance(permissions, dict):
        return {name: level for name, level in permissions.items() if isinstance(level, str)}
    return permissions


Levels = Annotated[dict[str, str], BeforeValidator(_only_levels)]
"""What was granted, by permission."""


class Installation(GitHubModel):
    """The App on one account, which may be an enterprise: that one has no login."""

    id: int
    app_id: int
    permissions: Levels = {}
    events: tuple[str, ...] = ()
    repository_selection: str = "all"
    suspended_at: datetime | None = None


class DeliveryAttempt(GitHubModel):
    """One attempt to deliver a webhook. All attempts of one event share `guid`."""

    id: int
    guid: str
    event: str
    action: str | None = None
    status: str
    status_code: int
    delivered_at: datetime
    redelivery: bool = False
    installation_id: int | None = None
    repository_id: int | None = None

    @property
    def is_ok(self) -> bool:
        """Tell whether the receiver took it."""
        return self.status == "OK" and 200 <= self.status_code < 300


_UNFINISHED = ("queued", "in_progress", "requested", "waiting", "pending")
"""Source: REST API, "List workflow runs for a repository", `status`."""


class WorkflowRun(GitHubModel):
    """One run of a workflow. `conclusion` is set once `status` is completed.

    GitHub's description lets both be null, and `status` any word.
    """

    id: int
    display_title: str = ""
    event: str = ""
    status: str = "unknown"
    conclusion: str | None = None
    head_sha: str
    html_url: str = ""
    run_attempt: int = 1
    created_at: datetime | None = None
    run_started_at: datetime | None = None
    updated_at: datetime | None = None

    def is_over(self, jobs: Sequence[WorkflowJob]) -> bool:
        """Tell whether it has ended; where that is not said, by its jobs.

        Args:
            jobs: those of its latest attempt; read only where `is_untold`.
        """
        if self.is_untold:
            return bool(jobs) and all(job.status == "completed" for job in jobs)
        return self.status == "completed" or self.conclusion is not None

    @property
    def is_untold(self) -> bool:
        """Whether GitHub does not say how far it is, or in a word we have not heard of."""
        return self.conclusion is None and self.status not in ("completed", *_UNFINISHED)


class JobStep(GitHubModel):
    """One step of a job."""

    name: str
    status: str = "completed"
    conclusion: str | None = None


class WorkflowJob(GitHubModel):
    """One job of a run; its id is also that of its check-run.

    Attributes:
        id: GitHub's.
        name: as the workflow calls it.
        status: `completed` once it is over.
        conclusion: how it ended.
        html_url: its page.
        started_at: when it began.
        completed_at: when it ended.
        steps: what it did, none where it had no runner; None where GitHub does not say.
    """

    id: int
    name: str
    status: str
    conclusion: str | None = None
    html_url: str | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    steps: tuple[JobStep, ...] | None = None


class JobAnnotation(GitHubModel):
    """A message a job left on its check-run; `title` is set by problem matchers and commands."""

    annotation_level: str | None = None
    title: str | None = None
    message: str | None = None


class KnownCheck(GitHubModel):
    """One completed run of a check on one commit.

    `conclusion` is in GitHub's lower-case words; `where` says who ran it and upon which event, so
    that runs with the same `where` on one commit are repeats of each other. `head` is the commit
    it really ran on, where that is the head of the pull request by which `sha` was merged.
    `metrics` are the numbers that it reported, by name and in their own units, where they were
    asked for.
    """

    sha: str
    conclusion: str
    where: str
    app_id: int | None = None
    event: str | None = None
    kind: Literal["check_run", "status"] = "check_run"
    url: str | None = None
    head: str | None = None
    metrics: dict[str, float] = Field(default_factory=dict)
