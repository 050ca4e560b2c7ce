"""Up to when each repository's changes were read, so that what no delivery told is not missed.

Every function works inside the caller's transaction and never commits.
"""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.records.tables.columns import Instant
from bot.records.tables.intake import readings
from bot.triggers import Value


class CatchUpMark(Value):
    """One repository: what happened before `began_at` is none of our business."""

    repository_id: int
    began_at: Instant
    read_until: Instant


async def first_start(conn: AsyncConnection) -> datetime | None:
    """When the App began to read anything at all; None before that."""
    began: datetime | None = await conn.scalar(sa.select(sa.func.min(readings.c.began_at)))
    return began


async def begin(conn: AsyncConnection, repository_id: int, at: datetime) -> CatchUpMark:
    """Read a repository's row; made where it is missing, so that reading begins at `at`."""
    insert = sqlite.insert if conn.dialect.name == "sqlite" else postgresql.insert
    await conn.execute(
        insert(readings)
        .values(repository_id=repository_id, began_at=at, read_until=at)
        .on_conflict_do_nothing()
    )
    begun = await of(conn, repository_id)
    assert begun is not None  # noqa: S101 - it was just put there
    return begun


async def of(conn: AsyncConnection, repository_id: int) -> CatchUpMark | None:
    """Read a repository's row; None where reading has not begun."""
    one = sa.select(readings).where(readings.c.repository_id == repository_id)
    row = (await conn.execute(one)).one_or_none()
    return None if row is None else CatchUpMark.model_validate(dict(row._mapping))


async def advance(conn: AsyncConnection, repository_id: int, until: datetime) -> None:
    """Note that everything before `until` was read; never goes back."""
    await conn.execute(
        sa.update(readings)
        .where(readings.c.repository_id == repository_id, readings.c.read_until < until)
        .values(read_until=until)
    )
