"""From (event name, payload) to meanings: one pure reader per event we subscribe to.

https://docs.github.com/en/webhooks/webhook-events-and-payloads
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass

from bot.command_arguments import CommentPlace
from bot.intake import event_payloads
from bot.intake.event_payloads import (
    BISECT_LABEL,
    INCIDENT_LABEL,
    REVERT_LABEL,
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
from bot.safety.config_check import NAME as CONFIG_CHECK
from bot.slash_commands import BUTTONS
from bot.triggers import Repository, SourceKind

_LONGEST_CHECK = 255
_RUN = re.compile(r"[0-9a-z]{26}")
_INSIDERS = frozenset({"OWNER", "MEMBER", "COLLABORATOR"})


@dataclass(frozen=True)
class Delivery:
    """One webhook delivery. `id` names the event by what GitHub signed: its body's digest.

    A redelivery brings the same body. `X-GitHub-Delivery` is not signed: whoever has a body could
    have it done twice by another id, or something else not done at all by the same.
    """

    id: str
    event: str
    payload: Payload
    us: OurApp

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


def meanings(delivery: Delivery) -> tuple[Meaning, ...]:
    """Return what a delivery means, at least one Nothing. Never raises, whatever the payload."""
    reader = _READERS.get(delivery.event)
    if reader is None:
        return (NothingAsked("event not used"),)
    repository = event_payloads.repository(delivery.payload)
    if repository is None:
        return (NothingAsked("no repository or installation"),)
    return reader(delivery, repository)


def _issue_comment(delivery: Delivery, repository: Repository) -> tuple[Meaning, ...]:
    if delivery.action != "created":
        return (NothingAsked("only new comments count"),)
    return _comment(
        delivery,
        repository,
        kind=SourceKind.ISSUE_COMMENT,
        comment=event_payloads.mapping(delivery.payload, "comment"),
        subject=event_payloads.number(delivery.payload, "issue", "number"),
        is_pull_request=bool(event_payloads.mapping(delivery.payload, "issue", "pull_request")),
    )


def _review_comment(delivery: Delivery, repository: Repository) -> tuple[Meaning, ...]:
    if delivery.action != "created":
        return (NothingAsked("only new comments count"),)
    return _comment(
        delivery,
        repository,
        kind=SourceKind.REVIEW_COMMENT,
        comment=event_payloads.mapping(delivery.payload, "comment"),
        subject=event_payloads.number(delivery.payload, "pull_request", "number"),
        is_pull_request=True,
    )


def _review(delivery: Delivery, repository: Repository) -> tuple[Meaning, ...]:
    hint = _pull_request_hint(delivery, repository)
    if delivery.action != "submitted":
        return hint
    said = _comment(
        delivery,
        repository,
        kind=SourceKind.REVIEW,
        comment=event_payloads.mapping(delivery.payload, "review"),
        subject=event_payloads.number(delivery.payload, "pull_request", "number"),
        is_pull_request=True,
    )
    return hint + tuple(each for each in said if not isinstance(each, NothingAsked))


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
        ),
    )


def _other_app(comment: Payload) -> str | None:
    """Which App wrote this in its author's name; None where they wrote it themselves."""
    app = event_payloads.mapping(comment, "performed_via_github_app")
    return (event_payloads.text(app, "slug") or "another App") if app else None


def _pull_request(delivery: Delivery, repository: Repository) -> tuple[Meaning, ...]:
    sender = event_payloads.text(delivery.payload, "sender", "login")
    if delivery.action == "edited" and sender == delivery.us.login:
        return (NothingAsked("our own words"),)
    hint = _pull_request_hint(delivery, repository)
    label = (event_payloads.text(delivery.payload, "label", "name") or "").lower()
    subject = event_payloads.number(delivery.payload, "pull_request", "number")
    if label not in (REVERT_LABEL, BISECT_LABEL) or subject is None:
        return hint
    login = delivery.person()
    if delivery.action != "labeled" or login is None:
        return hint
    base = event_payloads.text(delivery.payload, "pull_request", "base", "ref") or ""
    labeled = Labeled(
        repository=repository,
        login=login,
        label=label,
        delivery=delivery.id,
        subject=subject,
        is_pull_request=True,
        base=base if is_ref_name(base) else None,
        url=event_payloads.web_address(delivery.payload, "pull_request", "html_url"),
    )
    return (*hint, labeled)


def _issues(delivery: Delivery, repository: Repository) -> tuple[Meaning, ...]:
    if delivery.action in ("closed", "reopened"):
        return _issue_closed(delivery, repository)
    label = (event_payloads.text(delivery.payload, "label", "name") or "").lower()
    subject = event_payloads.number(delivery.payload, "issue", "number")
    login = delivery.person()
    if delivery.action != "labeled" or label != BISECT_LABEL or subject is None or login is None:
        return (NothingAsked("no label of ours"),)
    return (
        Labeled(
            repository=repository,
            login=login,
            label=label,
            delivery=delivery.id,
            subject=subject,
            is_pull_request=False,
            base=None,
            url=event_payloads.web_address(delivery.payload, "issue", "html_url"),
        ),
    )


def _issue_closed(delivery: Delivery, repository: Repository) -> tuple[Meaning, ...]:
    issue = event_payloads.mapping(delivery.payload, "issue")
    subject, login = event_payloads.number(issue, "number"), delivery.person()
    if INCIDENT_LABEL not in event_payloads.label_names(issue) or subject is None or login is None:
        return (NothingAsked("no incident closed by a person"),)
    return (
        IncidentClosed(
            repository=repository,
            login=login,
            delivery=delivery.id,
            subject=subject,
            reopened=delivery.action == "reopened",
            why=event_payloads.text(issue, "state_reason"),
            url=event_payloads.web_address(issue, "html_url"),
        ),
    )


def _pull_request_hint(delivery: Delivery, repository: Repository) -> tuple[Meaning, ...]:
    subject = event_payloads.number(delivery.payload, "pull_request", "number")
    head = event_payloads.sha(delivery.payload, "pull_request", "head", "sha")
    if subject is None:
        return (NothingAsked("nothing to read"),)
    seen = _labels(delivery)
    return (
        Hint(
            repository,
            head,
            (subject,),
            about_pull_request=True,
            labels=seen,
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
        return hint + _check_failed(delivery, repository, check)
    run = event_payloads.text(check, "external_id") or ""
    run_id = run if ours and _RUN.fullmatch(run) else None
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


def _check_failed(
    delivery: Delivery, repository: Repository, check: Payload
) -> tuple[Meaning, ...]:
    branches = {event_payloads.text(check, "check_suite", "head_branch")}
    failed = event_payloads.text(check, "conclusion") == "failure"
    name, sha = event_payloads.text(check, "name"), event_payloads.sha(check, "head_sha")
    url = event_payloads.web_address(check, "html_url")
    return _failed(delivery, repository, branches, name, sha, url) if failed else ()


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


def _check_suite(delivery: Delivery, repository: Repository) -> tuple[Meaning, ...]:
    if delivery.action not in {"completed", "rerequested"}:
        return (NothingAsked("check still running"),)
    suite = event_payloads.mapping(delivery.payload, "check_suite")
    return _head_hint(repository, suite, event_payloads.numbers_in(suite, "pull_requests"))


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


def _status(delivery: Delivery, repository: Repository) -> tuple[Meaning, ...]:
    head = event_payloads.sha(delivery.payload, "sha")
    if head is None:
        return (NothingAsked("nothing to read"),)
    hint = Hint(repository, head_sha=head)
    branches = event_payloads.names_in(delivery.payload, "branches")
    failed = event_payloads.text(delivery.payload, "state") == "failure"
    name = event_payloads.text(delivery.payload, "context")
    url = event_payloads.web_address(delivery.payload, "target_url")
    if not failed:
        return (hint,)
    return (hint, *_failed(delivery, repository, branches, name, head, url))


def _deployment_status(delivery: Delivery, repository: Repository) -> tuple[Meaning, ...]:
    head = event_payloads.sha(delivery.payload, "deployment", "sha")
    return (Hint(repository, head_sha=head) if head else NothingAsked("nothing to read"),)


def _push(delivery: Delivery, repository: Repository) -> tuple[Meaning, ...]:
    ref = event_payloads.text(delivery.payload, "ref") or ""
    if not ref.startswith("refs/heads/"):
        return (NothingAsked("not a branch"),)
    after, before = (event_payloads.sha(delivery.payload, name) for name in ("after", "before"))
    return (Hint(repository, head_sha=after, ref=ref, former_sha=before),)


def _merge_group(delivery: Delivery, repository: Repository) -> tuple[Meaning, ...]:
    group = event_payloads.mapping(delivery.payload, "merge_group")
    head = event_payloads.sha(group, "head_sha")
    if head is None:
        return (NothingAsked("nothing to read"),)
    return (Hint(repository, head_sha=head, ref=event_payloads.text(group, "head_ref")),)


_READERS: dict[str, Callable[[Delivery, Repository], tuple[Meaning, ...]]] = {
    "check_run": _check_run,
    "check_suite": _check_suite,
    "deployment_status": _deployment_status,
    "issue_comment": _issue_comment,
    "issues": _issues,
    "merge_group": _merge_group,
    "pull_request": _pull_request,
    "pull_request_review": _review,
    "pull_request_review_comment": _review_comment,
    "push": _push,
    "status": _status,
    "workflow_run": _workflow_run,
}

EVENTS = frozenset(_READERS)
