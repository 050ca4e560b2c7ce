"""Who may ask for what: a table."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import get_args

import pytest

from bot.safety.admission import NEEDS, Admitted, Refused, admit
from bot.triggers import (
    Actor,
    ActorKind,
    ApproveRequest,
    CancelRequest,
    HelpRequest,
    LaterRequest,
    PullRequestTarget,
    RampRequest,
    RejectRequest,
    Repository,
    Request,
    RetryRequest,
    RevertRequest,
    Role,
    RollbackRequest,
    Severity,
    SeverityRequest,
    ShadowRequest,
    Source,
    SourceKind,
    StatusRequest,
    Trigger,
)

REVERT = RevertRequest(targets=(PullRequestTarget(number=7),))


def _asked(request: Request, kind: ActorKind = ActorKind.PERSON) -> Trigger:
    return Trigger(
        source=Source(kind=SourceKind.ISSUE_COMMENT, object_id="1", subject=7),
        repository=Repository(id=1, owner="acme", name="shop", installation_id=2),
        actor=Actor(kind=kind, login="alice"),
        received_at=datetime(2026, 5, 1, tzinfo=UTC),
        request=request,
    )


@pytest.mark.parametrize(
    "request_",
    [
        REVERT,
        ShadowRequest(capability="llm", candidate="b"),
        RampRequest(capability="llm"),
        RollbackRequest(capability="llm"),
        RetryRequest(),
        CancelRequest(),
        ApproveRequest(),
        RejectRequest(),
        SeverityRequest(severity=Severity.HIGH),
    ],
    ids=lambda request: request.command,
)
@pytest.mark.parametrize("role", list(Role))
def test_what_changes_things_needs_write_access(request_: Request, role: Role) -> None:
    decision = admit(_asked(request_), role)
    assert isinstance(decision, Admitted) == role.at_least(Role.WRITE)


@pytest.mark.parametrize("request_", [StatusRequest(), HelpRequest(), LaterRequest(name="bisect")])
def test_asking_is_free(request_: Request) -> None:
    assert isinstance(admit(_asked(request_), Role.NONE), Admitted)


def test_a_program_with_a_token_needs_no_role_here() -> None:
    assert isinstance(admit(_asked(REVERT, ActorKind.MACHINE), Role.NONE), Admitted)


def test_bots_are_refused_whatever_their_role() -> None:
    decision = admit(_asked(REVERT, ActorKind.BOT), Role.ADMIN)
    assert isinstance(decision, Refused)
    assert decision.remedy


def test_a_refusal_says_what_is_needed_and_who_can_help() -> None:
    decision = admit(_asked(REVERT), Role.READ)
    assert decision == Refused(
        reason="`/revert` needs write access to this repository; you have read.",
        remedy="Ask someone with write access to comment the same command.",
    )


def test_every_command_has_its_weakest_role() -> None:
    union = get_args(Request)[0]
    commands = {
        name
        for each in get_args(union)
        for name in get_args(each.model_fields["command"].annotation)
    }
    assert commands == set(NEEDS)
