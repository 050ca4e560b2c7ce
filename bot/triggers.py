"""The words that travel through every room: who asked whom to do what, and where.

A Trigger is a typed, immutable request to act, whatever way it came in. Intake makes it, safety
judges it, the engine runs it and a playbook carries it out; nobody on the way changes it.
"""

from __future__ import annotations

import hashlib
import re
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SerializeAsAny
from ulid import ULID

from bot.names import CAPABILITY, LONGEST, NUMERIC, PROVIDER, is_revision


class Value(BaseModel):
    """An immutable value object; unknown fields are errors."""

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid")


class Severity(StrEnum):
    """How bad an incident is, mildest first."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """How bad it is beside the others: the mildest is 0."""
        return list(Severity).index(self)


UNKNOWN_SEVERITY = Severity.MEDIUM
"""Nobody has said how bad it is: neither a person's "revert" nor a failing check does."""

SHA = re.compile(r"[0-9a-f]{40}")
"""The full name of a commit or another object of git."""


class Role(StrEnum):
    """What a person may do on one repository, weakest first (GitHub's `role_name`)."""

    NONE = "none"
    READ = "read"
    TRIAGE = "triage"
    WRITE = "write"
    MAINTAIN = "maintain"
    ADMIN = "admin"

    def at_least(self, other: Role) -> bool:
        """Tell whether this role includes every right of `other`."""
        order = list(Role)
        return order.index(self) >= order.index(other)


class Repository(Value):
    """One repository as one installation of the App sees it. `id` survives a rename."""

    id: int
    owner: str
    name: str
    installation_id: int

    @property
    def full_name(self) -> str:
        """`owner/name`, as people write it."""
        return f"{self.owner}/{self.name}"


class ActorKind(StrEnum):
    """What sort of caller asked."""

    PERSON = "person"
    MACHINE = "machine"
    BOT = "bot"


class Actor(Value):
    """Who asked. A person's role is read from GitHub when the command is executed, never here."""

    kind: ActorKind
    login: str


class SourceKind(StrEnum):
    """The way a Trigger came in."""

    ISSUE_COMMENT = "issue_comment"
    REVIEW_COMMENT = "review_comment"
    REVIEW = "review"
    LABEL = "label"
    ISSUE = "issue"
    CHECK_RUN = "check_run"
    ALERT = "alert"
    API = "api"
    CLI = "cli"
    COCKPIT = "cockpit"
    RUN = "run"


COMMENTS = frozenset({SourceKind.ISSUE_COMMENT, SourceKind.REVIEW_COMMENT, SourceKind.REVIEW})
"""What people write at GitHub, known by the numbers that GitHub gives."""

OURSELVES = Actor(kind=ActorKind.MACHINE, login="incident-playbooks")
"""Who asks where nobody did: this bot, because the evidence says so."""


class Source(Value):
    """Where a Trigger came from, precisely enough to answer there and to find it again.

    `object_id` is the database id of the comment, review, check-run or request, the digest of what
    GitHub signed to tell of a label, a button or a closed issue, or the id of the Run of ours that
    asks;
    `subject` is the issue or pull request number it stands on, if any; `run` is the Run whose
    check-run's button was pressed; `addressed` says that it was written as `/playbooks …`, which
    no other bot answers to; `through` is the App that a person's comment came through, if one did.
    """

    kind: SourceKind
    object_id: str
    index: int = 0
    subject: int | None = None
    is_pull_request: bool = False
    url: str | None = None
    run: str | None = None
    addressed: bool = False
    through: str | None = None

    @property
    def key(self) -> str:
        """The Trigger's identity: the source object and the command's index in it."""
        return f"{self.kind}:{self.object_id}:{self.index}"

    def is_after(self, other: Source) -> bool | None:
        """Whether it was written later than another; None where GitHub's numbers do not tell.

        Those of comments of a kind count up as they are written.
        """
        if self.kind is not other.kind or self.kind not in COMMENTS:
            return None
        if not (self.object_id.isdecimal() and other.object_id.isdecimal()):
            return None
        return (int(self.object_id), self.index) > (int(other.object_id), other.index)


class PullRequestTarget(Value):
    """A pull request named as what broke things."""

    kind: Literal["pull_request"] = "pull_request"
    number: int = Field(gt=0)


class CommitTarget(Value):
    """A commit named as what broke things; `sha` may be abbreviated by a person."""

    kind: Literal["commit"] = "commit"
    sha: str = Field(pattern=r"^[0-9a-f]{7,40}$")


Target = Annotated[PullRequestTarget | CommitTarget, Field(discriminator="kind")]


class Autonomy(StrEnum):
    """How far an automatic revert goes by itself (docs/decisions/0004), least far first."""

    OFF = "off"
    PROPOSE = "propose"
    OPEN = "open"
    MERGE = "merge"

    def at_most(self, other: Autonomy) -> Autonomy:
        """The less far-reaching of the two."""
        return min(self, other, key=list(Autonomy).index)


class Request(Value):
    """What is asked for. `command` names it and says, on disk, which of the classes below it is.

    A request is known by its name as soon as its class is defined, so a new one is no change here.
    """

    command: str

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Make it known by each name that it may have."""
        super().__pydantic_init_subclass__(**kwargs)
        for name in get_args(cls.model_fields["command"].annotation):
            REQUESTS[name] = cls


REQUESTS: dict[str, type[Request]] = {}
"""Every class of requests, by the names that it may have."""


def _known(value: object) -> object:
    """Read a stored request as the class that its name says."""
    if isinstance(value, Request):
        return value
    name = value.get("command") if isinstance(value, dict) else None
    kind = REQUESTS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise ValueError(f"command: there is none called {name!r}; allowed: {', '.join(REQUESTS)}")
    return kind.model_validate(value)


class RevertRequest(Request):
    """Bring the repository back to before these targets. No reason given is an empty `reason`.

    `autonomy` says how far it goes by itself where no person asked: with `open`, a person has it
    merged. `about` is the check or alert whose failure asks for it.
    """

    command: Literal["revert"] = "revert"
    targets: tuple[Target, ...] = Field(min_length=1)
    reason: str = ""
    severity: Severity | None = None
    autonomy: Autonomy | None = None
    about: str | None = None


def _revision(words: str) -> str:
    if not is_revision(words):
        raise ValueError(
            "must be a branch, a tag or a commit's SHA as git allows them, perhaps with steps back "
            "as in v1~3"
        )
    return words


Revision = Annotated[str, Field(min_length=1, max_length=LONGEST), AfterValidator(_revision)]
"""A branch, tag or (abbreviated) SHA as somebody wrote it; resolved when the request is planned."""


def _visible(words: str) -> str:
    if not words.isprintable():
        raise ValueError("must be one line of visible characters")
    return words


Numeric = Annotated[
    str, Field(min_length=1, max_length=255, pattern=NUMERIC), AfterValidator(_visible)
]
"""A metric as trials report it, perhaps with which direction is worse: `latency:higher`."""


class BisectRequest(Request):
    """Find the commit that broke a check, or the one that changed a number.

    Attributes:
        good: the last good commit; None has one looked for, except where it is about a number.
        bad: the first known bad commit; None means the head of the branch.
        check: the check-run or status that tells good from bad; None takes the one that fails.
        numeric: the metric whose change is looked for, perhaps with what is worse, instead of a
            failure; the check is then the one that its earlier results come from.
        reason: why, in the asker's words.
    """

    command: Literal["bisect"] = "bisect"
    good: Revision | None = None
    bad: Revision | None = None
    check: str | None = Field(default=None, min_length=1, max_length=255)
    numeric: Numeric | None = None
    reason: str = ""


CapabilityName = Annotated[str, Field(pattern=rf"^{CAPABILITY}$")]
ProviderName = Annotated[str, Field(pattern=rf"^{PROVIDER}$")]


class ShadowRequest(Request):
    """Run a candidate beside the provider that serves a capability now, unseen by users."""

    command: Literal["shadow"] = "shadow"
    capability: CapabilityName
    candidate: ProviderName


class RampRequest(Request):
    """Give the candidate more of the traffic; no `stage` (percent) means the next one."""

    command: Literal["ramp"] = "ramp"
    capability: CapabilityName
    stage: int | None = Field(default=None, ge=1, le=100)


class RollbackRequest(Request):
    """Give all traffic back to the baseline, and pause the capability.

    Attributes:
        capability: which.
        reason: why, in the asker's words.
        severity: None: judged from what was observed.
    """

    command: Literal["rollback"] = "rollback"
    capability: CapabilityName
    reason: str = ""
    severity: Severity | None = None


class RulingRequest(Request):
    """A person's word on a commit of the bisect here; no `sha` means what is tried just now."""

    command: Literal["skip", "good", "bad"]
    sha: str | None = Field(default=None, pattern=r"^[0-9a-f]{7,40}$")


class StatusRequest(Request):
    """Say what is running here, and the one next thing to do."""

    command: Literal["status"] = "status"


class HelpRequest(Request):
    """Say which commands there are."""

    command: Literal["help"] = "help"


class RetryRequest(Request):
    """Try the failed or waiting part of the Run here again."""

    command: Literal["retry"] = "retry"


class CancelRequest(Request):
    """Stop the Run here, and take back what it has open."""

    command: Literal["cancel"] = "cancel"
    reason: str = ""


class SeverityRequest(Request):
    """Change the severity of the incident here."""

    command: Literal["severity"] = "severity"
    severity: Severity
    reason: str = ""


class CloseRequest(Request):
    """A person closed the issue of the incident here; `why` is GitHub's reason, such as completed.

    Or it was `deleted` or `transferred`, and is here no more. Not a command: what was done with the
    issue says it.
    """

    command: Literal["close"] = "close"
    why: str | None = None


class ReopenRequest(Request):
    """A person opened the issue of the incident here again."""

    command: Literal["reopen"] = "reopen"


class ApproveRequest(Request):
    """Approve the approval with this id; without one, the only one pending here."""

    command: Literal["approve"] = "approve"
    approval: str | None = None
    reason: str = ""


class RejectRequest(Request):
    """Reject the approval with this id; without one, the only one pending here."""

    command: Literal["reject"] = "reject"
    approval: str | None = None
    reason: str = ""


SELF_WORK = "self-work"
"""The scope of a pause that holds the pull requests of autonomous agents."""

Scope = CapabilityName
"""What a pause holds: `self-work`, or a capability."""


class PauseRequest(Request):
    """Hold self-work, or one capability, until it is unpaused."""

    command: Literal["pause"] = "pause"
    scope: Scope = SELF_WORK
    reason: str = Field(min_length=1)


class UnpauseRequest(Request):
    """Let it go on; without a `scope`, the only pause of the repository is meant."""

    command: Literal["unpause"] = "unpause"
    scope: Scope | None = None
    reason: str = ""


class Problem(Value):
    """One thing a person typed that cannot be carried out. `text` says what is allowed instead.

    `line` counts the lines of the comment from 1. `did_you_mean` is a command with its slash,
    `command` the known command that was mistyped, without it.
    """

    line: int
    text: str
    did_you_mean: str | None = None
    command: str | None = None


class JudgeRequest(Request):
    """A check failed on a commit of the default branch: judge whether a change is to blame.

    `base` is the default branch's name.
    """

    command: Literal["judge"] = "judge"
    base: str = Field(min_length=1, max_length=255)
    check: str = Field(min_length=1, max_length=255)
    sha: str = Field(pattern=rf"^{SHA.pattern}$")


class TriageRequest(Request):
    """Alerts fire: keep one incident about their group until every condition has cleared.

    `group` is the group's key in the records; each time it fires again is another `episode`.
    """

    command: Literal["triage"] = "triage"
    group: str = Field(pattern=r"^[0-9a-f]{32}$")
    episode: int = Field(gt=0)


class CorrectionRequest(Request):
    """Tell the author what was wrong with a comment: all of its mistakes, answered once."""

    command: Literal["correction"] = "correction"
    problems: tuple[Problem, ...] = Field(min_length=1)


LATE = timedelta(minutes=2)
"""A comment that is read so long after it was written was missed."""


class Trigger(Value):
    """A request to act, with everything needed to judge it, run it and answer it.

    `received_at` is when it came; of a comment that was read long after, when it was written: it
    means nothing that came later.
    """

    source: Source
    repository: Repository
    actor: Actor
    received_at: datetime
    request: Annotated[SerializeAsAny[Request], BeforeValidator(_known)]

    @property
    def key(self) -> str:
        """Unique per request: a redelivery has the same key, a second comment another."""
        return f"{self.repository.id}:{self.source.key}"

    def came_after(self, other: Trigger) -> bool:
        """Whether this was asked for later than that, so that what that said does not mean it.

        Deliveries overtake each other: where GitHub's numbers tell, when they came does not count.
        """
        told = self.source.is_after(other.source)
        return self.received_at > other.received_at if told is None else told

    @property
    def is_automatic(self) -> bool:
        """Whether nobody asked: neither a person nor a program."""
        asked = self.source.kind in (SourceKind.API, SourceKind.CLI)
        return self.actor.kind is ActorKind.MACHINE and not asked


RUN_ID = re.compile(r"[0-9a-z]{26}")
"""The id of an incident and of a Run, as `derived_id` makes it."""


def derived_id(key: str, received_at: datetime) -> str:
    """Make the lower-case ULID of an incident: time from `received_at`, the rest from `key`.

    The same key and time always give the same id, so a retry finds what it made before.
    """
    milliseconds = int(received_at.timestamp() * 1000)
    return str(
        ULID(milliseconds.to_bytes(6, "big") + hashlib.sha256(key.encode()).digest()[:10])
    ).lower()
