"""What deliveries can mean, and how their payloads are read.

Payloads differ by event, age and product, and the published examples break GitHub's own schemas.
So nothing here raises, and whatever later becomes part of an address or a database row is held
to the shape it must have.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bot.command_arguments import CommentPlace
from bot.triggers import SHA, Repository, SourceKind

Payload = Mapping[str, Any]

_LARGEST_ID = 2**63 - 1
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_LOGIN = re.compile(r"[A-Za-z0-9_-]{1,100}(?:\[bot\])?")
_WEB = re.compile(r"https?://[^\s<>\"'`()\\]{1,2000}")


def text(payload: Payload, *path: str) -> str | None:
    """Return the text at this path; characters no database or UTF-8 can hold are replaced."""
    found = _at(payload, path)
    if not isinstance(found, str):
        return None
    if found.isascii() and "\x00" not in found:
        return found
    return found.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")


def number(payload: Payload, *path: str) -> int | None:
    """Return the positive 64-bit whole number at this path."""
    found = _at(payload, path)
    if isinstance(found, bool) or not isinstance(found, int):
        return None
    return found if 0 < found <= _LARGEST_ID else None


def moment(payload: Payload, *path: str) -> datetime | None:
    """Return the time at this path, with its zone."""
    try:
        found = datetime.fromisoformat(text(payload, *path) or "")
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


def mapping(payload: Payload, *path: str) -> Payload:
    """Return the object at this path, or an empty one."""
    found = _at(payload, path)
    return found if isinstance(found, dict) else {}


def sha(payload: Payload, *path: str) -> str | None:
    """Return the full commit id at this path; the all-zero id of a deleted ref counts as none."""
    found = text(payload, *path)
    return found if found and SHA.fullmatch(found) and found.strip("0") else None


def login(payload: Payload, *path: str) -> str | None:
    """Return the account name at this path."""
    found = text(payload, *path)
    return found if found and _LOGIN.fullmatch(found) else None


def web_address(payload: Payload, *path: str) -> str | None:
    """Return the http(s) address at this path, free of what could end a Markdown link."""
    found = text(payload, *path)
    return found if found and _WEB.fullmatch(found) else None


def numbers_in(payload: Payload, *path: str) -> tuple[int, ...]:
    """Return the `number` of each object in the list at this path."""
    found = _at(payload, path)
    entries = found if isinstance(found, list) else []
    numbers = (number(entry, "number") for entry in entries if isinstance(entry, dict))
    return tuple(each for each in numbers if each is not None)


def names_in(payload: Payload, *path: str) -> tuple[str, ...]:
    """Return the `name` of each object in the list at this path."""
    found = _at(payload, path)
    entries = found if isinstance(found, list) else []
    names = (text(entry, "name") for entry in entries if isinstance(entry, dict))
    return tuple(each for each in names if each is not None)


def repository(payload: Payload) -> Repository | None:
    """Return the repository an event is about; without an installation we cannot act on it."""
    id_ = number(payload, "repository", "id")
    installation = number(payload, "installation", "id")
    owner = text(payload, "repository", "owner", "login")
    name = text(payload, "repository", "name")
    if id_ is None or installation is None or not _is_name(owner) or not _is_name(name):
        return None
    return Repository(id=id_, owner=owner or "", name=name or "", installation_id=installation)


def _is_name(found: str | None) -> bool:
    return bool(found and _NAME.fullmatch(found) and found.strip("."))


def _at(payload: Payload, path: tuple[str, ...]) -> Any:
    found: Any = payload
    for key in path:
        if not isinstance(found, dict):
            return None
        found = found.get(key)
    return found


def label_names(payload: Payload) -> tuple[str, ...]:
    """The names of the labels of an issue or pull request."""
    listed = payload.get("labels")
    shown = listed if isinstance(listed, list) else []
    named = [text({"label": each}, "label", "name") for each in shown]
    return tuple(name for name in named if name)


REVERT_LABEL = "playbook:revert"
BISECT_LABEL = "playbook:bisect"
ASKING_LABELS = frozenset({REVERT_LABEL, BISECT_LABEL})
_INCIDENT_LABEL = "incident"


def may_be_of_incident(issue: Payload, us: str) -> bool:
    """Whether this issue may be an incident's, for which the records need be asked.

    We opened it: its label may have been taken off, or renamed. Or it has the label: we may have
    been another App then.
    """
    return text(issue, "user", "login") == us or _INCIDENT_LABEL in label_names(issue)


@dataclass(frozen=True)
class CommentPosted:
    """A person wrote on an issue, a pull request or in a review, or commanded in the cockpit.

    In the cockpit nothing need be the `subject`, and `run` is the Run whose button was pressed.
    `app` is the App that wrote it in the person's name, if one did. `by_outsider` is what GitHub
    says of its author: no owner, member or collaborator that everybody may know of. A hint only:
    members can be private. `said_at` is when it was written, by GitHub's clock, where it tells.
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
    said_at: datetime | None = None


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
    """Somebody else closed the issue of an incident, or opened it again; `why` is GitHub's reason.

    Another App is heard as well, such as a merge queue's: GitHub shows what it did.

    One that is deleted, or moved to another repository, is closed here: `why` says it.
    """

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
    `outsider` wrote a pull request from a fork and did this to it themselves. `may_configure` is
    False where a push surely left the configuration that counts as it was. `is_review` is what
    anybody may write: it changes nothing but how a pull request was reviewed.
    """

    repository: Repository
    head_sha: str | None = None
    pull_requests: tuple[int, ...] = ()
    ref: str | None = None
    former_sha: str | None = None
    about_pull_request: bool = field(default=False, compare=False)
    labels: frozenset[str] = field(default=frozenset(), compare=False)
    outsider: str | None = field(default=None, compare=False)
    may_configure: bool = field(default=True, compare=False)
    is_review: bool = field(default=False, compare=False)


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
