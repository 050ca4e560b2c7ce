"""Notifications waiting to be sent: written in the same transaction as what they report.

Every function works inside the caller's transaction and never commits.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.records.instants import Instant
from bot.records.refusals import UnknownRecord
from bot.records.tables.notices import notifications
from bot.triggers import Value


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
    insert = sqlite.insert if conn.dialect.name == "sqlite" else postgresql.insert
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
    conn: AsyncConnection, *, at: datetime, until: datetime, limit: int = 20
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
