"""What a delivery can mean to us: a comment to read, a label, a button, a hint, or nothing."""

from __future__ import annotations

from dataclasses import dataclass, field

from bot.intake.comments.arguments import CommentPlace
from bot.triggers import Repository, SourceKind

REVERT_LABEL = "playbook:revert"
BISECT_LABEL = "playbook:bisect"
INCIDENT_LABEL = "incident"


@dataclass(frozen=True)
class CommentPosted:
    """A person wrote on an issue, a pull request or in a review, or commanded in the cockpit.

    In the cockpit nothing need be the `subject`, and `run` is the Run whose button was pressed.
    `app` is the App that wrote it in the person's name, if one did. `by_outsider` is what GitHub
    says of its author: no owner, member or collaborator that everybody may know of. A hint only:
    members can be private.
    """

    repository: Repository
    here: CommentPlace
    login: str
    kind: SourceKind
    object_id: int
    subject: int | None
    is_pull_request: bool
    body: str
    url: str | None
    run: str | None = None
    app: str | None = None
    by_outsider: bool = False


@dataclass(frozen=True)
class Labeled:
    """A person put one of our labels on an issue or pull request. `label` is in lower case.

    `base` is the branch a pull request goes to; `delivery` names the event (see `Delivery.id`).
    """

    repository: Repository
    login: str
    label: str
    delivery: str
    subject: int
    is_pull_request: bool
    base: str | None
    url: str | None


@dataclass(frozen=True)
class IncidentClosed:
    """A person closed the issue of an incident, or opened it again; `why` is GitHub's reason."""

    repository: Repository
    login: str
    delivery: str
    subject: int
    reopened: bool
    why: str | None
    url: str | None


@dataclass(frozen=True)
class ButtonPressed:
    """A person pressed a button on one of our check-runs, or asked for it to run again.

    `run` is the Run the check-run speaks for.
    """

    repository: Repository
    login: str
    button: str
    check_run: int
    delivery: str
    pull_request: int | None
    url: str | None
    run: str | None = None


@dataclass(frozen=True)
class CheckFailed:
    """A check that is not ours failed on a commit of the default branch."""

    repository: Repository
    base: str
    check: str
    sha: str
    url: str | None


@dataclass(frozen=True)
class Hint:
    """Something changed that a waiting Run may want to look at. Only a wake-up: Runs re-read.

    `about_pull_request` tells a change of the pull request itself from one of its checks; `labels`
    are those it had at that moment: one may be gone when it is looked at. `former_sha` is the head
    that a push left behind: who watches a branch waits on its head, so that is whom it concerns.
    `outsider` wrote a pull request from a fork and did this to it themselves.
    """

    repository: Repository
    head_sha: str | None = None
    pull_requests: tuple[int, ...] = ()
    ref: str | None = None
    former_sha: str | None = None
    about_pull_request: bool = field(default=False, compare=False)
    labels: frozenset[str] = field(default=frozenset(), compare=False)
    outsider: str | None = field(default=None, compare=False)


@dataclass(frozen=True)
class NothingAsked:
    """A delivery that asks nothing of us, and why; the reasons are few, so they can be counted."""

    reason: str


Request = CommentPosted | Labeled | IncidentClosed | ButtonPressed | CheckFailed
Meaning = Request | Hint | NothingAsked


@dataclass(frozen=True)
class OurApp:
    """Ourselves as GitHub names us, so that we never listen to our own voice."""

    id: int
    slug: str

    @property
    def login(self) -> str:
        """The account our comments come from."""
        return f"{self.slug}[bot]"
