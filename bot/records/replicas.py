"""Which processes of this bot are alive: a heartbeat each, and the right to take over the dead.

Every function works inside the caller's transaction and never commits. Numbers: Decisions 15.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.records.tables import replicas

BEAT_EVERY = timedelta(seconds=5)
GIVE_UP_AFTER = timedelta(seconds=15)
"""A replica that could not renew its heartbeat for this long stops: others may soon take over."""
DEAD_AFTER = timedelta(seconds=40)
"""Silence after which a sibling's Runs are taken over; well beyond `GIVE_UP_AFTER`."""


async def beat(conn: AsyncConnection, replica: str, now: datetime) -> None:
    """Say that a replica is alive."""
    insert = sqlite.insert if conn.dialect.name == "sqlite" else postgresql.insert
    await conn.execute(
        insert(replicas)
        .values(id=replica, started_at=now, beat_at=now)
        .on_conflict_do_update(
            index_elements=[replicas.c.id],
            set_={"beat_at": now, "taken_over_by": None, "taken_over_at": None},
        )
    )


async def take_dead(conn: AsyncConnection, replica: str, now: datetime) -> list[str]:
    """Claim the siblings that fell silent; each is claimed by one replica only."""
    dead = (
        sa.update(replicas)
        .where(
            replicas.c.id != replica,
            replicas.c.beat_at <= now - DEAD_AFTER,
            replicas.c.taken_over_by.is_(None),
        )
        .values(taken_over_by=replica, taken_over_at=now)
        .returning(replicas.c.id)
    )
    return sorted((await conn.execute(dead)).scalars())
