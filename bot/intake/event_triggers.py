"""From what a delivery means to the Triggers it asks for. Pure; one Trigger per command."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import datetime, timedelta
from typing import assert_never

from bot.command_arguments import shown
from bot.intake.comment_parser import Command, Mistake, parse
from bot.intake.event_payloads import (
    BISECT_LABEL,
    ButtonPressed,
    CheckFailed,
    CommentPosted,
    IncidentClosed,
    Labeled,
)
from bot.slash_commands import BUTTONS, COMMANDS
from bot.triggers import (
    OURSELVES,
    Actor,
    ActorKind,
    BisectRequest,
    CloseRequest,
    CorrectionRequest,
    JudgeRequest,
    Problem,
    PullRequestTarget,
    ReopenRequest,
    Repository,
    Request,
    RevertRequest,
    Source,
    SourceKind,
    Trigger,
)

LONGEST_AGO = timedelta(days=30)
ON_TIME = timedelta(seconds=10)
"""So long a comment takes to come at most: GitHub's times are told in seconds."""


def triggers(
    asked: CommentPosted | Labeled | IncidentClosed | ButtonPressed | CheckFailed,
    received_at: datetime,
    *,
    at_github: datetime | None = None,
) -> list[Trigger]:
    """Return the Triggers in what happened; their keys are the same on every redelivery.

    Args:
        asked: what happened.
        received_at: when we heard of it.
        at_github: what time it was then by GitHub's clock, where that is known.
    """
    match asked:
        case CommentPosted():
            return _from_comment(asked, _meant_at(asked.said_at, received_at, at_github))
        case Labeled():
            source = Source(
                kind=SourceKind.LABEL,
                object_id=asked.delivery,
                subject=asked.subject,
                is_pull_request=asked.is_pull_request,
                url=asked.url,
            )
            request = _of_label(asked)
            return [_trigger(source, asked.repository, asked.login, received_at, request)]
        case IncidentClosed():
            source = Source(
                kind=SourceKind.ISSUE,
                object_id=asked.delivery,
                subject=asked.subject,
                url=asked.url,
            )
            request = ReopenRequest() if asked.reopened else CloseRequest(why=asked.why)
            return [_trigger(source, asked.repository, asked.login, received_at, request)]
        case ButtonPressed():
            source = Source(
                kind=SourceKind.CHECK_RUN,
                object_id=f"{asked.check_run}:{asked.delivery}",
                subject=asked.pull_request,
                is_pull_request=asked.pull_request is not None,
                url=asked.url,
                run=asked.run,
            )
            request = BUTTONS[asked.button]()
            return [_trigger(source, asked.repository, asked.login, received_at, request)]
        case CheckFailed():
            return [_of_check(asked, received_at)]
        case _:
            assert_never(asked)


def _meant_at(
    said_at: datetime | None, received_at: datetime, at_github: datetime | None
) -> datetime:
    """When a comment counts as received: what came after it was written it does not mean."""
    if said_at is None or at_github is None or at_github - said_at <= ON_TIME:
        return received_at
    return received_at - min(at_github - said_at, LONGEST_AGO)


def _of_check(failed: CheckFailed, received_at: datetime) -> Trigger:
    # One judgement a commit and check, however often it fails there: the runs that a judgement
    # asks for itself must not begin another.
    named = hashlib.sha256(failed.check.encode()).hexdigest()[:12]
    return Trigger(
        source=Source(
            kind=SourceKind.CHECK_RUN,
            object_id=f"failed:{failed.sha}:{named}",
            url=failed.url,
        ),
        repository=failed.repository,
        actor=OURSELVES,
        received_at=received_at,
        request=JudgeRequest(base=failed.base, check=failed.check, sha=failed.sha),
    )


def _of_label(asked: Labeled) -> Request:
    reason = f"label {asked.label}"
    if asked.label == BISECT_LABEL:
        # A tag of the same name is not meant.
        branch = f"refs/heads/{asked.base}" if asked.base else None
        return BisectRequest(bad=branch, reason=reason)
    return RevertRequest(targets=(PullRequestTarget(number=asked.subject),), reason=reason)


def _from_comment(comment: CommentPosted, received_at: datetime) -> list[Trigger]:
    """Return one Trigger per command, and one that answers all mistakes together."""
    found: list[tuple[int, Request, bool]] = []
    mistakes: list[Mistake] = []
    for each in parse(comment.body, replace(comment.here, subject=comment.subject)):
        wrong = each if isinstance(each, Mistake) else _objection(each, comment)
        if wrong is not None:
            mistakes.append(wrong)
        elif isinstance(each, Command):
            found.append((each.index, each.request, each.addressed))
    if mistakes:
        problems = tuple(
            Problem(
                line=each.line,
                text=each.message,
                did_you_mean=each.did_you_mean,
                command=each.name,
            )
            for each in mistakes
        )
        addressed = any(each.addressed for each in mistakes)
        found.append((mistakes[0].index, CorrectionRequest(problems=problems), addressed))
    return [
        _trigger(
            Source(
                kind=comment.kind,
                object_id=str(comment.object_id),
                index=index,
                subject=comment.subject,
                is_pull_request=comment.is_pull_request,
                url=comment.url,
                run=comment.run,
                addressed=addressed,
                through=comment.app,
            ),
            comment.repository,
            comment.login,
            received_at,
            request,
        )
        for index, request, addressed in sorted(found, key=lambda each: each[0])
    ]


def _objection(command: Command, comment: CommentPosted) -> Mistake | None:
    """What no App may say in a person's name; an `/approve` of a configuration is one too."""
    if comment.app is None or not COMMANDS[command.name].by_hand:
        return None
    return Mistake(
        f"`/{command.name}` counts only where a person wrote it: this comment came through "
        f"{shown(comment.app)}. Comment `/{command.name}` yourself.",
        index=command.index,
        line=command.line,
        name=command.name,
        addressed=command.addressed,
    )


def _trigger(
    source: Source, repository: Repository, login: str, received_at: datetime, request: Request
) -> Trigger:
    kind = ActorKind.BOT if login.endswith("[bot]") else ActorKind.PERSON
    return Trigger(
        source=source,
        repository=repository,
        actor=Actor(kind=kind, login=login),
        received_at=received_at,
        request=request,
    )
