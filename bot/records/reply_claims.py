"""Who was answered where within the last hour, so that talk is answered once.

Every function works inside the caller's transaction. What is older is forgotten: nothing grows.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.records.tables.intake import inbox, talk
from bot.triggers import Trigger, derived_id

WHILE = timedelta(hours=1)


class Scope(StrEnum):
    """What is answered once."""

    OUTSIDERS = "outsiders"
    """Anything that people without access say."""
    QUESTIONS = "questions"
    """`/help` and `/status`, which other bots answer to as well."""


async def claim(
    conn: AsyncConnection,
    repository_id: int,
    subject: int,
    scope: Scope,
    *,
    run: str,
    now: datetime,
) -> str:
    """Give the Run whose answer counts there for an hour: `run`, unless there was one before."""
    await conn.execute(sa.delete(talk).where(talk.c.at <= now - WHILE))
    insert = sqlite.insert if conn.dialect.name == "sqlite" else postgresql.insert
    row = {
        "repository_id": repository_id,
        "subject": subject,
        "scope": scope.value,
        "run_id": run,
        "at": now,
    }
    await conn.execute(insert(talk).values(row).on_conflict_do_nothing())
    mine = sa.select(talk.c.run_id).where(
        talk.c.repository_id == repository_id,
        talk.c.subject == subject,
        talk.c.scope == scope.value,
    )
    return str((await conn.execute(mine)).scalar_one())


async def claimed_at(
    conn: AsyncConnection, repository_id: int, subject: int, scope: Scope, *, now: datetime
) -> datetime | None:
    """Tell when the answer that counts there was given; None: none within the last hour."""
    query = sa.select(talk.c.at).where(
        talk.c.repository_id == repository_id,
        talk.c.subject == subject,
        talk.c.scope == scope.value,
        talk.c.at > now - WHILE,
    )
    return (await conn.execute(query)).scalar_one_or_none()


async def of_same_comment(conn: AsyncConnection, trigger: Trigger) -> list[str]:
    """Give the Runs of all commands of the comment that a Trigger came from, in their order."""
    source = trigger.source
    prefix = f"{trigger.repository.id}:{source.kind}:{source.object_id}:"
    query = sa.select(inbox.c.key, inbox.c.received_at).where(
        inbox.c.key.startswith(prefix, autoescape=True)
    )
    rows = (await conn.execute(query)).all()
    in_order = sorted(rows, key=lambda row: int(row.key.removeprefix(prefix)))
    return [derived_id(row.key, row.received_at) for row in in_order]
