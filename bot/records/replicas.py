"""Which processes are alive: each says so in its own row, and a sibling takes over a silent one.

Every function works inside the caller's transaction and never commits.
"""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.records.tables import replicas


async def beat(conn: AsyncConnection, replica: str, *, at: datetime) -> None:
    """Say that a replica is alive; one that had been taken over is its own again."""
    insert = sqlite.insert if conn.dialect.name == "sqlite" else postgresql.insert
    alive = {"beat_at": at, "taken_over_by": None, "taken_over_at": None}
    await conn.execute(
        insert(replicas)
        .values(id=replica, started_at=at, **alive)
        .on_conflict_do_update(index_elements=[replicas.c.id], set_=alive)
    )


async def leave(conn: AsyncConnection, replica: str) -> None:
    """Forget a replica that stopped in good order."""
    await conn.execute(sa.delete(replicas).where(replicas.c.id == replica))


async def take_over_silent(
    conn: AsyncConnection, by: str, *, at: datetime, silent_since: datetime
) -> list[str]:
    """Take over the replicas that have not been heard since a moment; each goes to one sibling.

    Returns:
        Their names, for the engine to recover their Runs.
    """
    taken = await conn.execute(
        sa.update(replicas)
        .where(
            replicas.c.id != by,
            replicas.c.beat_at < silent_since,
            replicas.c.taken_over_at.is_(None),
        )
        .values(taken_over_by=by, taken_over_at=at)
        .returning(replicas.c.id)
    )
    return sorted(taken.scalars())
