"""A repository, a Trigger and an opening that the records' tests share."""

from __future__ import annotations

from datetime import UTC, datetime

from bot.records.incidents import Opening
from bot.triggers import (
    Actor,
    ActorKind,
    PullRequestTarget,
    Repository,
    RevertRequest,
    Severity,
    Source,
    SourceKind,
    Trigger,
    derived_id,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
REPOSITORY = Repository(id=9_007_199_254_740_993, owner="octo-org", name="hello", installation_id=1)


def trigger(comment: str = "1", *, number: int = 7) -> Trigger:
    """A person's `/revert` in a comment."""
    return Trigger(
        source=Source(kind=SourceKind.ISSUE_COMMENT, object_id=comment, subject=number),
        repository=REPOSITORY,
        actor=Actor(kind=ActorKind.PERSON, login="alice"),
        received_at=NOON,
        request=RevertRequest(targets=(PullRequestTarget(number=number),), reason="500s"),
    )


def opening(comment: str = "1", *, number: int = 7, title: str = "Login is broken") -> Opening:
    """What is known when that comment opens an Incident."""
    return Opening(
        id=derived_id(trigger(comment, number=number).key, NOON),
        repository=REPOSITORY,
        kind="revert",
        subject=f"pull_request:{number}",
        title=title,
        severity=Severity.HIGH,
        source="issue_comment",
        opened_by="alice",
        detected_at=NOON,
    )
