"""Notifications: posted with the change they tell of, sent by one replica.

Every function works inside the caller's transaction and never commits.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.records import incidents
from bot.records.database import insert_into
from bot.records.incidents import Incident
from bot.records.lifecycle import UnknownRecord
from bot.records.tables.columns import Instant
from bot.records.tables.intake import notifications
from bot.triggers import Severity, Value


class NotificationState(StrEnum):
    """Where a Notification stands. Failed ones are due again later; dead ones are given up."""

    PENDING = "pending"
    SENT = "sent"
    SUPPRESSED = "suppressed"
    FAILED = "failed"
    DEAD = "dead"


class Notification(Value):
    """One message to one audience (`founder`, `team`). `reason` says why it was not sent."""

    id: str
    repository_id: int
    incident_id: str | None
    audience: str
    title: str
    body: str
    state: NotificationState
    reason: str | None
    attempts: int
    due_at: Instant
    created_at: Instant
    settled_at: Instant | None
    delivered: tuple[str, ...] = ()
    """The addresses it has reached already, by their digests."""


async def post(
    conn: AsyncConnection,
    notification_id: str,
    *,
    repository_id: int,
    audience: str,
    title: str,
    body: str,
    at: datetime,
    incident_id: str | None = None,
    suppressed_because: str | None = None,
) -> None:
    """Put a message in the outbox; the same id again changes nothing.

    A message that is not to be sent is recorded as well, with the reason. One that was held back
    is sent after all where it is posted again without a reason.
    """
    insert = insert_into(conn)
    held = suppressed_because is not None
    row = insert(notifications).values(
        id=notification_id,
        repository_id=repository_id,
        incident_id=incident_id,
        audience=audience,
        title=title,
        body=body,
        state=NotificationState.SUPPRESSED if held else NotificationState.PENDING,
        reason=suppressed_because,
        attempts=0,
        due_at=at,
        created_at=at,
        settled_at=at if held else None,
        delivered=[],
    )
    changed = ("title", "body", "state", "reason", "due_at", "settled_at")
    await conn.execute(
        row.on_conflict_do_update(
            index_elements=[notifications.c.id],
            set_={name: row.excluded[name] for name in changed},
            where=sa.and_(
                notifications.c.state == NotificationState.SUPPRESSED,
                row.excluded.state == NotificationState.PENDING,
            ),
        )
    )


async def claim(
    conn: AsyncConnection, *, at: datetime, until: datetime, limit: int = 100
) -> list[Notification]:
    """Take messages that are to be sent now, oldest first, for oneself until a moment.

    Whoever dies before saying what came of it leaves them due again at `until`; no two senders
    get one meanwhile.
    """
    oldest = (
        sa.select(notifications.c.id)
        .where(
            notifications.c.state.in_([NotificationState.PENDING, NotificationState.FAILED]),
            notifications.c.due_at <= at,
        )
        .order_by(notifications.c.due_at, notifications.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    taken = await conn.execute(
        sa.update(notifications)
        .where(notifications.c.id.in_(oldest))
        .values(due_at=until, attempts=notifications.c.attempts + 1)
        .returning(notifications)
    )
    return sorted(
        (_notification(row) for row in taken), key=lambda each: (each.created_at, each.id)
    )


async def of_incident(conn: AsyncConnection, incident_id: str) -> list[Notification]:
    """Read what was said, or deliberately not said, about an Incident."""
    query = (
        sa.select(notifications)
        .where(notifications.c.incident_id == incident_id)
        .order_by(notifications.c.created_at, notifications.c.id)
    )
    return [_notification(row) for row in await conn.execute(query)]


async def delivered(
    conn: AsyncConnection, notification_id: str, addresses: tuple[str, ...]
) -> None:
    """Note which addresses a message has reached: it is not sent there again."""
    await _settle(conn, notification_id, delivered=list(addresses))


async def suppressed(
    conn: AsyncConnection, notification_id: str, *, at: datetime, reason: str
) -> None:
    """Note that a message is not sent, and why."""
    await _settle(
        conn, notification_id, state=NotificationState.SUPPRESSED, reason=reason, settled_at=at
    )


async def sent(conn: AsyncConnection, notification_id: str, *, at: datetime) -> None:
    """Note that a message went out."""
    await _settle(conn, notification_id, state=NotificationState.SENT, settled_at=at)


async def failed(
    conn: AsyncConnection,
    notification_id: str,
    *,
    at: datetime,
    reason: str,
    again_at: datetime | None,
) -> None:
    """Note that a message did not go out; without a next time it is dead."""
    if again_at is None:
        await _settle(
            conn, notification_id, state=NotificationState.DEAD, reason=reason, settled_at=at
        )
    else:
        await _settle(
            conn, notification_id, state=NotificationState.FAILED, reason=reason, due_at=again_at
        )


async def _settle(conn: AsyncConnection, notification_id: str, **values: Any) -> None:
    changed = await conn.execute(
        sa.update(notifications)
        .where(notifications.c.id == notification_id)
        .values(**values)
        .returning(notifications.c.id)
    )
    if changed.first() is None:
        raise UnknownRecord(f"there is no notification {notification_id}")


def _notification(row: sa.Row[Any]) -> Notification:
    return Notification.model_validate(dict(row._mapping))


FOUNDER, TEAM = "founder", "team"
REPEATED = 2
"""So many Medium incidents about one thing within `REPEATED_WITHIN` are told to the Founder."""
REPEATED_WITHIN = timedelta(days=7)


def why_founder_is_spared(severity: Severity, mediums: int) -> str | None:
    """Say why the Founder does not hear of an incident; None where they do.

    Args:
        severity: of the incident.
        mediums: Medium incidents about the same thing in the last days, this one included.
    """
    if severity in (Severity.HIGH, Severity.CRITICAL):
        return None
    if severity is Severity.LOW:
        return "the severity is low"
    if mediums >= REPEATED:
        return None
    days = REPEATED_WITHIN.days
    return f"the severity is medium, for the first time about this within {days} days"


def why_team_is_spared(severity: Severity) -> str | None:
    """Say why the team does not hear of an incident; None where it does."""
    return "the severity is low" if severity is Severity.LOW else None


async def announce(
    conn: AsyncConnection, incident: Incident, *, at: datetime, spared: str | None = None
) -> None:
    """Put what the Founder and the team hear of an incident into the outbox, once each.

    Doing it again after the severity rose sends what was held back; what was sent is never sent
    twice.

    Args:
        conn: the transaction that opens or changes the incident.
        incident: it.
        at: now.
        spared: why nobody is told, where the circumstances say so.
    """
    mediums = await incidents.count_about(
        conn,
        incident.repository_id,
        incident.topic,
        severity=Severity.MEDIUM,
        since=at - REPEATED_WITHIN,
    )
    title = f"{incident.severity.upper()} in {incident.repository}"
    for audience, silence in (
        (FOUNDER, why_founder_is_spared(incident.severity, mediums)),
        (TEAM, why_team_is_spared(incident.severity)),
    ):
        await post(
            conn,
            f"{incident.id}:{audience}",
            repository_id=incident.repository_id,
            incident_id=incident.id,
            audience=audience,
            title=title,
            body=incident.title,
            at=at,
            suppressed_because=spared or silence,
        )
