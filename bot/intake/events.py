"""From (event name, payload) to meanings: one pure reader per event we subscribe to.

https://docs.github.com/en/webhooks/webhook-events-and-payloads
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property

from bot.command_arguments import CommentPlace
from bot.config import CONFIG_PATH
from bot.intake import event_payloads
from bot.intake.comment_parser import may_command
from bot.intake.event_payloads import (
    ASKING_LABELS,
    ButtonPressed,
    CheckFailed,
    CommentPosted,
    Hint,
    IncidentClosed,
    Labeled,
    Meaning,
    NothingAsked,
    OurApp,
    Payload,
)
from bot.names import is_ref_name
from bot.playbooks.checks.results import CONFIG_CHECK
from bot.slash_commands import BUTTONS
from bot.triggers import RUN_ID, Repository, SourceKind

_LONGEST_CHECK = 255
_ALL_COMMITS = 2048
"""So many a push names at most."""
_FILES = ("added", "modified", "removed")
_INSIDERS = frozenset({"OWNER", "MEMBER", "COLLABORATOR"})


@dataclass(frozen=True)
class Delivery:
    """One webhook delivery.

    Attributes:
        event: its name, such as `issue_comment`.
        payload: what it says.
        us: our App.
        body: what GitHub signed; None where it never came, and was put together from what is there.
        called: what names it in that case.
    """

    event: str
    payload: Payload
    us: OurApp
    body: bytes | None = None
    called: str = "never-came"

    @cached_property
    def id(self) -> str:
        """What names the event: the digest of what GitHub signed.

        A redelivery brings the same body. `X-GitHub-Delivery` is not signed: whoever has a body
        could have it done twice by another id, or something else not done at all by the same.
        """
        # Few need it: nearly all deliveries ask for nothing.
        return self.called if self.body is None else hashlib.sha256(self.body).hexdigest()[:32]

    @property
    def action(self) -> str:
        """What happened, in GitHub's word, or an empty text."""
        return event_payloads.text(self.payload, "action") or ""

    def person(self) -> str | None:
        """Return the login of the sender, or None for bots, ourselves and nobody."""
        sender = event_payloads.mapping(self.payload, "sender")
        login = event_payloads.login(sender, "login")
        kind = event_payloads.text(sender, "type")
        if login is None or kind != "User" or login.endswith("[bot]"):
            return None
        return login

    def anybody_else(self) -> str | None:
        """Return the login of the sender, a person or another App; None for ourselves."""
        login = event_payloads.login(self.payload, "sender", "login")
        return None if login == self.us.login else login


Reader = Callable[[Delivery, Repository], tuple[Meaning, ...]]
"""Says what one kind of event means, as far as it reads it. Pure."""
READERS: list[tuple[str, Reader]] = []
"""Every reader with its event; a delivery is routed to each of its event's."""


_COMMENTS = frozenset({"issue_comment", "pull_request_review_comment"})


def at_a_glance(event: str, payload: Payload) -> NothingAsked | None:
    """Say of a comment that it asks for nothing, before anything is made of it; None: look closer.

    Nearly all comments are such. Never raises, whatever the payload.
    """
    if event not in _COMMENTS:
        return None
    if payload.get("action") != "created":
        return NothingAsked("only new comments count")
    comment = payload.get("comment")
    body = comment.get("body") if isinstance(comment, dict) else None
    if isinstance(body, str) and not may_command(body):
        return NothingAsked("no command in it")
    return None


def _reads(event: str) -> Callable[[Reader], Reader]:
    def register(reader: Reader) -> Reader:
        READERS.append((event, reader))
        return reader

    return register


def meanings(delivery: Delivery) -> tuple[Meaning, ...]:
    """Return what a delivery means, at least one Nothing. Never raises, whatever the payload."""
    readers = [reader for event, reader in READERS if event == delivery.event]
    if not readers:
        return (NothingAsked("event not used"),)
    if (nothing := at_a_glance(delivery.event, delivery.payload)) is not None:
        return (nothing,)
    repository = event_payloads.repository(delivery.payload)
    if repository is None:
        return (NothingAsked("no repository or installation"),)
    return tuple(each for reader in readers for each in reader(delivery, repository))


@_reads("issue_comment")
def _issue_comment(delivery: Delivery, repository: Repository) -> tuple[Meaning, ...]:
    return _comment(
        delivery,
        repository,
        kind=SourceKind.ISSUE_COMMENT,
        comment=event_payloads.mapping(delivery.payload, "comment"),
        subject=event_payloads.number(delivery.payload, "issue", "number"),
        is_pull_request=bool(event_payloads.mapping(delivery.payload, "issue", "pull_request")),
    )


@_reads("pull_request_review_comment")
def _review_comment(delivery: Delivery, repository: Repository) -> tuple[Meaning, ...]:
    return _comment(
        delivery,
        repository,
        kind=SourceKind.REVIEW_COMMENT,
        comment=event_payloads.mapping(delivery.payload, "comment"),
        subject=event_payloads.number(delivery.payload, "pull_request", "number"),
        is_pull_request=True,
    )


@_reads("pull_request_review")
def _review(delivery: Delivery, repository: Repository) -> tuple[Meaning, ...]:
    if delivery.action != "submitted":
        return ()
    said = _comment(
        delivery,
        repository,
        kind=SourceKind.REVIEW,
        comment=event_payloads.mapping(delivery.payload, "review"),
        subject=event_payloads.number(delivery.payload, "pull_request", "number"),
        is_pull_request=True,
    )
    return tuple(each for each in said if not isinstance(each, NothingAsked))


def _comment(
    delivery: Delivery,
    repository: Repository,
    *,
    kind: SourceKind,
    comment: Payload,
    subject: int | None,
    is_pull_request: bool,
) -> tuple[Meaning, ...]:
    login = delivery.person()
    author_kind = event_payloads.text(comment, "user", "type")
    app = event_payloads.number(comment, "performed_via_github_app", "id")
    if login is None or author_kind == "Bot" or app == delivery.us.id:
        return (NothingAsked("not written by a person"),)
    body = event_payloads.text(comment, "body")
    object_id = event_payloads.number(comment, "id")
    if not body or object_id is None or subject is None:
        return (NothingAsked("nothing to read"),)
    url = event_payloads.web_address(delivery.payload, "repository", "html_url")
    return (
        CommentPosted(
            repository=repository,
            here=CommentPlace(repository.full_name, url or ""),
            login=login,
            kind=kind,
            object_id=object_id,
            subject=subject,
            is_pull_request=is_pull_request,
            body=body,
            url=event_payloads.web_address(comment, "html_url"),
            app=_other_app(comment),
            by_outsider=event_payloads.text(comment, "author_association")
            not in {None, *_INSIDERS},
            said_at=event_payloads.moment(comment, "created_at")
            or event_payloads.moment(comment, "submitted_at"),
        ),
    )


def _other_app(comment: Payload) -> str | None:
    """Which App wrote this in its author's name; None where they wrote it themselves."""
    app = event_payloads.mapping(comment, "performed_via_github_app")
    return (event_payloads.text(app, "slug") or "another App") if app else None


@_reads("pull_request")
def _pull_request(delivery: Delivery, repository: Repository) -> tuple[Meaning, ...]:
    sender = event_payloads.text(delivery.payload, "sender", "login")
    if delivery.action == "edited" and sender == delivery.us.login:
        return (NothingAsked("our own words"),)
    return _pull_request_hint(delivery, repository)


@_reads("pull_request")
def _labeled(delivery: Delivery, repository: Repository) -> tuple[Meaning, ...]:
    return _asked_by_label(delivery, repository, "pull_request")


def _asked_by_label(delivery: Delivery, repository: Repository, place: str) -> tuple[Meaning, ...]:
    """A label of ours that somebody put on a pull request or an issue; empty: none was."""
    label = (event_payloads.text(delivery.payload, "label", "name") or "").lower()
    subject = event_payloads.number(delivery.payload, place, "number")
    login = delivery.person()
    if label not in ASKING_LABELS or subject is None or login is None:
        return ()
    if delivery.action != "labeled":
        return ()
    base = event_payloads.text(delivery.payload, place, "base", "ref") or ""
    labeled = Labeled(
        repository=repository,
        login=login,
        label=label,
        delivery=delivery.id,
        subject=subject,
        is_pull_request=place == "pull_request",
        base=base if is_ref_name(base) else None,
        url=event_payloads.web_address(delivery.payload, place, "html_url"),
    )
    return (labeled,)


_GONE = ("deleted", "transferred")
_CLOSINGS = ("closed", "reopened", *_GONE)


@_reads("issues")
def _issue_labeled(delivery: Delivery, repository: Repository) -> tuple[Meaning, ...]:
    if delivery.action in _CLOSINGS:
        return ()
    asked = _asked_by_label(delivery, repository, "issue")
    return asked or (NothingAsked("no label of ours"),)


@_reads("issues")
def _issue_closed(delivery: Delivery, repository: Repository) -> tuple[Meaning, ...]:
    action = delivery.action
    if action not in _CLOSINGS:
        return ()
    issue = event_payloads.mapping(delivery.payload, "issue")
    subject, login = event_payloads.number(issue, "number"), delivery.anybody_else()
    is_ours = event_payloads.may_be_of_incident(issue, delivery.us.login)
    if not is_ours or subject is None or login is None:
        return (NothingAsked("no incident closed by somebody else"),)
    return (
        IncidentClosed(
            repository=repository,
            login=login,
            delivery=delivery.id,
            subject=subject,
            reopened=action == "reopened",
            why=action if action in _GONE else event_payloads.text(issue, "state_reason"),
            url=event_payloads.web_address(issue, "html_url"),
        ),
    )


_NOT_FOR_THE_GATE = frozenset(
    {
        "assigned", "auto_merge_disabled", "auto_merge_enabled", "closed", "demilestoned",
        "dequeued", "enqueued", "locked", "milestoned", "review_request_removed",
        "review_requested", "unassigned", "unlocked",
    }
)  # fmt: skip
"""Changes of a pull request after which its head is as open to a merge as it was, or closed."""


@_reads("pull_request_review")
def _pull_request_hint(delivery: Delivery, repository: Repository) -> tuple[Meaning, ...]:
    subject = event_payloads.number(delivery.payload, "pull_request", "number")
    head = event_payloads.sha(delivery.payload, "pull_request", "head", "sha")
    if subject is None:
        return (NothingAsked("nothing to read"),)
    if delivery.event == "pull_request_review":
        return (Hint(repository, head, (subject,), is_review=True),)
    return (
        Hint(
            repository,
            head,
            (subject,),
            about_pull_request=delivery.action not in _NOT_FOR_THE_GATE,
            labels=_labels(delivery),
            outsider=_outsider(delivery),
        ),
    )


def _outsider(delivery: Delivery) -> str | None:
    """Who did something to their own pull request from a fork, for which nobody needs rights."""
    pull = event_payloads.mapping(delivery.payload, "pull_request")
    author = event_payloads.login(pull, "user", "login")
    here, there = (event_payloads.number(pull, side, "repo", "id") for side in ("base", "head"))
    sender = event_payloads.login(delivery.payload, "sender", "login")
    return author if here != there and sender == author else None


def _labels(delivery: Delivery) -> frozenset[str]:
    """The labels of a pull request, with one that is just being taken off."""
    named = event_payloads.label_names(event_payloads.mapping(delivery.payload, "pull_request"))
    return frozenset(filter(None, (*named, event_payloads.text(delivery.payload, "label", "name"))))


@_reads("check_run")
def _check_run(delivery: Delivery, repository: Repository) -> tuple[Meaning, ...]:
    check = event_payloads.mapping(delivery.payload, "check_run")
    ours = event_payloads.number(check, "app", "id") == delivery.us.id
    # Of a check-run that is created as completed nothing else need be told.
    ended = delivery.action == "created" and bool(event_payloads.text(check, "conclusion"))
    if delivery.action not in {"completed", "rerequested", "requested_action"} and (
        ours or not ended
    ):
        return (NothingAsked("check still running"),)
    pull_requests = event_payloads.numbers_in(check, "pull_requests")
    hint = _head_hint(repository, check, pull_requests)
    button = "retry"
    if delivery.action == "requested_action":
        button = event_payloads.text(delivery.payload, "requested_action", "identifier") or ""
    login = delivery.person()
    check_run = event_payloads.number(check, "id")
    if (delivery.action == "completed" or ended) and not ours:
        return hint
    run = event_payloads.text(check, "external_id") or ""
    run_id = run if ours and RUN_ID.fullmatch(run) else None
    about_config = ours and event_payloads.text(check, "name") == CONFIG_CHECK
    if (
        delivery.action == "completed"
        or not ours
        or login is None
        or check_run is None
        or not (pull_requests or run_id or about_config)
        or button not in BUTTONS
    ):
        return hint
    pressed = ButtonPressed(
        repository=repository,
        login=login,
        button=button,
        check_run=check_run,
        delivery=delivery.id,
        pull_request=pull_requests[0] if pull_requests else None,
        run=run_id,
        url=event_payloads.web_address(check, "html_url"),
    )
    return (*hint, pressed)


@_reads("check_run")
def _check_failed(delivery: Delivery, repository: Repository) -> tuple[Meaning, ...]:
    check = event_payloads.mapping(delivery.payload, "check_run")
    ours = event_payloads.number(check, "app", "id") == delivery.us.id
    failed = event_payloads.text(check, "conclusion") == "failure"
    if ours or not failed or delivery.action not in {"created", "completed"}:
        return ()
    branches = {event_payloads.text(check, "check_suite", "head_branch")}
    name, sha = event_payloads.text(check, "name"), event_payloads.sha(check, "head_sha")
    url = event_payloads.web_address(check, "html_url")
    return _failed(delivery, repository, branches, name, sha, url)


def _failed(
    delivery: Delivery,
    repository: Repository,
    branches: Collection[str | None],
    name: str | None,
    sha: str | None,
    url: str | None,
) -> tuple[Meaning, ...]:
    base = event_payloads.text(delivery.payload, "repository", "default_branch") or ""
    known = is_ref_name(base) and base in branches
    if not known or not name or len(name) > _LONGEST_CHECK or sha is None:
        return ()
    return (CheckFailed(repository, base=base, check=name, sha=sha, url=url),)


@_reads("check_suite")
def _check_suite(delivery: Delivery, repository: Repository) -> tuple[Meaning, ...]:
    if delivery.action not in {"completed", "rerequested"}:
        return (NothingAsked("check still running"),)
    suite = event_payloads.mapping(delivery.payload, "check_suite")
    return _head_hint(repository, suite, event_payloads.numbers_in(suite, "pull_requests"))


@_reads("workflow_run")
def _workflow_run(delivery: Delivery, repository: Repository) -> tuple[Meaning, ...]:
    if delivery.action != "completed":
        return (NothingAsked("check still running"),)
    run = event_payloads.mapping(delivery.payload, "workflow_run")
    return _head_hint(repository, run, event_payloads.numbers_in(run, "pull_requests"))


def _head_hint(
    repository: Repository, payload: Payload, pull_requests: tuple[int, ...]
) -> tuple[Meaning, ...]:
    head = event_payloads.sha(payload, "head_sha")
    if head is None and not pull_requests:
        return (NothingAsked("nothing to read"),)
    return (Hint(repository, head_sha=head, pull_requests=pull_requests),)


@_reads("status")
def _status(delivery: Delivery, repository: Repository) -> tuple[Meaning, ...]:
    head = event_payloads.sha(delivery.payload, "sha")
    return (Hint(repository, head_sha=head) if head else NothingAsked("nothing to read"),)


@_reads("status")
def _status_failed(delivery: Delivery, repository: Repository) -> tuple[Meaning, ...]:
    if event_payloads.text(delivery.payload, "state") != "failure":
        return ()
    head = event_payloads.sha(delivery.payload, "sha")
    branches = event_payloads.names_in(delivery.payload, "branches")
    name = event_payloads.text(delivery.payload, "context")
    url = event_payloads.web_address(delivery.payload, "target_url")
    return _failed(delivery, repository, branches, name, head, url)


@_reads("deployment_status")
def _deployment_status(delivery: Delivery, repository: Repository) -> tuple[Meaning, ...]:
    head = event_payloads.sha(delivery.payload, "deployment", "sha")
    return (Hint(repository, head_sha=head) if head else NothingAsked("nothing to read"),)


@_reads("push")
def _push(delivery: Delivery, repository: Repository) -> tuple[Meaning, ...]:
    ref = event_payloads.text(delivery.payload, "ref") or ""
    if not ref.startswith("refs/heads/"):
        return (NothingAsked("not a branch"),)
    after, before = (event_payloads.sha(delivery.payload, name) for name in ("after", "before"))
    may_configure = _may_configure(delivery.payload, ref)
    return (
        Hint(repository, head_sha=after, ref=ref, former_sha=before, may_configure=may_configure),
    )


def _may_configure(payload: Payload, ref: str) -> bool:
    """Whether a push may have brought another configuration of the default branch.

    Only a list of commits that name their files tells that it did not: a merge commit names none.
    https://docs.github.com/en/webhooks/webhook-events-and-payloads#push
    """
    default = event_payloads.text(payload, "repository", "default_branch")
    if default is not None and ref != f"refs/heads/{default}":
        return False
    commits = payload.get("commits")
    if payload.get("forced") is not False or not isinstance(commits, list) or not commits:
        return True
    if len(commits) >= _ALL_COMMITS:
        return True
    for commit in commits:
        listed = [event_payloads.mapping({"commit": commit}, "commit").get(kind) for kind in _FILES]
        named = [path for each in listed if isinstance(each, list) for path in each]
        if not named or CONFIG_PATH in named:
            return True
    return False


@_reads("merge_group")
def _merge_group(delivery: Delivery, repository: Repository) -> tuple[Meaning, ...]:
    group = event_payloads.mapping(delivery.payload, "merge_group")
    head = event_payloads.sha(group, "head_sha")
    if head is None:
        return (NothingAsked("nothing to read"),)
    return (Hint(repository, head_sha=head, ref=event_payloads.text(group, "head_ref")),)


EVENTS = frozenset(event for event, _ in READERS)
