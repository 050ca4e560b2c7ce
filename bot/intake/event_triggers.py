"""From what a delivery means to the Triggers it asks for. Pure; one Trigger per command."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime
from typing import assert_never

from bot.intake import command_arguments
from bot.intake.comment_parser import Command, Mistake, parse
from bot.intake.event_payloads import (
    BISECT_LABEL,
    ButtonPressed,
    CheckFailed,
    CommentPosted,
    IncidentClosed,
    Labeled,
)
from bot.intake.slash_commands import COMMANDS
from bot.triggers import (
    OURSELVES,
    SELF_WORK,
    Actor,
    ActorKind,
    ApproveRequest,
    BisectRequest,
    CancelRequest,
    CloseRequest,
    CorrectionRequest,
    HelpRequest,
    JudgeRequest,
    LaterRequest,
    PauseRequest,
    Problem,
    PullRequestTarget,
    RampRequest,
    RejectRequest,
    ReopenRequest,
    Repository,
    Request,
    RetryRequest,
    RevertRequest,
    RollbackRequest,
    RulingRequest,
    SeverityRequest,
    ShadowRequest,
    Source,
    SourceKind,
    StatusRequest,
    Trigger,
    UnpauseRequest,
)

_BUTTONS: dict[str, Callable[[], Request]] = {
    "retry": RetryRequest,
    "cancel": CancelRequest,
    "approve": ApproveRequest,
    "reject": RejectRequest,
    "skip": lambda: RulingRequest(command="skip"),
}
_BY_HAND = frozenset({"approve", "reject", "pause", "unpause"})
"""What no App may say in a person's name; an `/approve` of a configuration is one too."""


def triggers(
    asked: CommentPosted | Labeled | IncidentClosed | ButtonPressed | CheckFailed,
    received_at: datetime,
) -> list[Trigger]:
    """Return the Triggers in what happened; their keys are the same on every redelivery."""
    match asked:
        case CommentPosted():
            return _from_comment(asked, received_at)
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
            request = _BUTTONS[asked.button]()
            return [_trigger(source, asked.repository, asked.login, received_at, request)]
        case CheckFailed():
            return [_of_check(asked, received_at)]
        case _:
            assert_never(asked)


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
    for each in parse(comment.body, comment.here):
        if isinstance(each, Command):
            try:
                found.append((each.index, _request(each, comment), each.addressed))
            except command_arguments.NotUnderstood as error:
                mistakes.append(
                    Mistake(
                        str(error),
                        index=each.index,
                        line=each.line,
                        name=each.name,
                        addressed=each.addressed,
                    )
                )
        else:
            mistakes.append(each)
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


def _request(command: Command, comment: CommentPosted) -> Request:
    if comment.app is not None and command.name in _BY_HAND:
        raise command_arguments.NotUnderstood(
            f"`/{command.name}` counts only where a person wrote it: this comment came through "
            f"{command_arguments.shown(comment.app)}. Comment `/{command.name}` yourself."
        )
    if not COMMANDS[command.name].available:
        return LaterRequest(name=command.name)
    match command.arguments:
        case command_arguments.RevertArguments(targets=targets):
            if targets:
                return RevertRequest(targets=targets, reason=command.reason)
            # On an issue it means what the incident of that issue is about.
            if comment.subject is None:
                raise command_arguments.NotUnderstood(
                    "`/revert` must name what to revert here: `/revert #12` or `/revert SHA`."
                )
            here = (PullRequestTarget(number=comment.subject),)
            return RevertRequest(targets=here, reason=command.reason)
        case command_arguments.BisectArguments(good=good, bad=bad, check=check):
            return BisectRequest(good=good, bad=bad, check=check, reason=command.reason)
        case command_arguments.ShadowArguments(capability=capability, candidate=candidate):
            return ShadowRequest(capability=capability, candidate=candidate)
        case command_arguments.RampArguments(capability=capability, stage=stage):
            return RampRequest(capability=capability, stage=stage)
        case command_arguments.CapabilityArguments(capability=capability):
            return RollbackRequest(capability=capability, reason=command.reason)
        case command_arguments.CommitArguments(sha=sha) if command.name in ("skip", "good", "bad"):
            return RulingRequest.model_validate({"command": command.name, "sha": sha})
        case command_arguments.PauseArguments(scope=scope):
            if command.name == "pause":
                return PauseRequest(scope=scope or SELF_WORK, reason=command.reason)
            return UnpauseRequest(scope=scope, reason=command.reason)
        case command_arguments.SeverityArguments(severity=severity):
            return SeverityRequest(severity=severity, reason=command.reason)
        case command_arguments.ApprovalArguments(approval=approval):
            if command.name == "approve":
                return ApproveRequest(approval=approval, reason=command.reason)
            return RejectRequest(approval=approval, reason=command.reason)
    match command.name:
        case "status":
            return StatusRequest()
        case "retry":
            return RetryRequest()
        case "cancel":
            return CancelRequest(reason=command.reason)
        case _:
            return HelpRequest()


def _trigger(
    source: Source, repository: Repository, login: str, received_at: datetime, request: Request
) -> Trigger:
    return Trigger(
        source=source,
        repository=repository,
        actor=Actor(kind=ActorKind.PERSON, login=login),
        received_at=received_at,
        request=request,
    )
