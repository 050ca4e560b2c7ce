"""Which processes of this bot are alive: a heartbeat each, and the right to take over the dead.

Every function works inside the caller's transaction and never commits. Numbers: Decisions 15.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.records.tables.replicas import replicas

BEAT_EVERY = timedelta(seconds=5)
GIVE_UP_AFTER = timedelta(seconds=15)
"""A replica that could not renew its heartbeat for this long stops: others may soon take over."""
DEAD_AFTER = timedelta(seconds=40)
"""Silence after which a sibling's Runs are taken over; well beyond `GIVE_UP_AFTER`."""


async def join(conn: AsyncConnection, replica: str, now: datetime, code: str | None = None) -> None:
    """Begin a life of this replica; a claim on its former life ends.

    Args:
        conn: the caller's transaction.
        replica: its name.
        now: the time.
        code: what it can replay.
    """
    insert = sqlite.insert if conn.dialect.name == "sqlite" else postgresql.insert
    await conn.execute(
        insert(replicas)
        .values(id=replica, started_at=now, beat_at=now, code=code)
        .on_conflict_do_update(
            index_elements=[replicas.c.id],
            set_={
                "started_at": now,
                "beat_at": now,
                "code": code,
                "taken_over_by": None,
                "taken_over_at": None,
            },
        )
    )


async def beat(conn: AsyncConnection, replica: str, now: datetime) -> bool:
    """Say that a replica is alive; False where a sibling has taken over from it meanwhile."""
    alive = (
        sa.update(replicas)
        .where(replicas.c.id == replica, replicas.c.taken_over_by.is_(None))
        .values(beat_at=now)
    )
    return (await conn.execute(alive)).rowcount == 1


async def leave(
    conn: AsyncConnection, replica: str, now: datetime, dead_after: timedelta = DEAD_AFTER
) -> None:
    """End a life in good order: siblings need not wait for its Runs, and it may come back."""
    gone = (
        sa.update(replicas)
        .where(replicas.c.id == replica, replicas.c.taken_over_by.is_(None))
        .values(beat_at=now - dead_after)
    )
    await conn.execute(gone)


async def living(
    conn: AsyncConnection, now: datetime, dead_after: timedelta = DEAD_AFTER
) -> dict[str, str | None]:
    """Read which replicas are not silent, and what each can replay."""
    alive = sa.select(replicas.c.id, replicas.c.code).where(replicas.c.beat_at > now - dead_after)
    return {row.id: row.code for row in await conn.execute(alive)}


async def take_dead(
    conn: AsyncConnection, replica: str, now: datetime, dead_after: timedelta = DEAD_AFTER
) -> list[str]:
    """Claim the siblings that fell silent; each is claimed by one replica at a time.

    A claim that did not end in `forget` lapses after `dead_after`: whoever made it may have died
    before it recovered anything.
    """
    long_ago = now - dead_after
    unclaimed = sa.or_(replicas.c.taken_over_by.is_(None), replicas.c.taken_over_at <= long_ago)
    dead = (
        sa.update(replicas)
        .where(replicas.c.id != replica, replicas.c.beat_at <= long_ago, unclaimed)
        .values(taken_over_by=replica, taken_over_at=now)
        .returning(replicas.c.id)
    )
    return sorted((await conn.execute(dead)).scalars())


async def forget(conn: AsyncConnection, dead: str, *, taken_over_by: str) -> None:
    """Remove a sibling whose Runs were taken over, unless it has come back or was claimed anew."""
    claimed = sa.and_(replicas.c.id == dead, replicas.c.taken_over_by == taken_over_by)
    await conn.execute(sa.delete(replicas).where(claimed))
