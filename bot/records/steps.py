"""The steps of a Run that touch the world, each with how it is undone, noted before it acts.

Every function works inside the caller's transaction and never commits.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.records.database import insert_into
from bot.records.lifecycle import UnknownRecord
from bot.records.tables.columns import Instant
from bot.records.tables.recovery import steps
from bot.triggers import Value


class Reversibility(StrEnum):
    """Whether a step can be taken back exactly, made good by another act, or neither."""

    REVERSIBLE = "reversible"
    COMPENSATABLE = "compensatable"
    IRREVERSIBLE = "irreversible"


class StoredStep(Value):
    """One step. `key` is its idempotency key, `external_ref` what it made in the world."""

    key: str
    run_id: str
    name: str
    reversibility: Reversibility
    compensation: str | None
    external_ref: str | None
    attempt: int
    started_at: Instant
    finished_at: Instant | None


async def begin(
    conn: AsyncConnection,
    run_id: str,
    name: str,
    *,
    at: datetime,
    reversibility: Reversibility,
    compensation: str | None = None,
) -> StoredStep:
    """Note that a step is about to act; `attempt` above 1 means it may already have acted.

    Args:
        conn: the caller's transaction.
        run_id: the Run it belongs to.
        name: the step's name, unique in the Run.
        at: now.
        reversibility: how far it can be taken back.
        compensation: what takes it back, in words; needed unless irreversible.
    """
    insert = insert_into(conn)
    row = await conn.execute(
        insert(steps)
        .values(
            key=f"{run_id}:{name}",
            run_id=run_id,
            name=name,
            reversibility=reversibility,
            compensation=compensation,
            attempt=1,
            started_at=at,
        )
        .on_conflict_do_update(index_elements=[steps.c.key], set_={"attempt": steps.c.attempt + 1})
        .returning(steps)
    )
    return _step(row.one())


async def finish(
    conn: AsyncConnection,
    run_id: str,
    name: str,
    *,
    at: datetime,
    external_ref: str | None = None,
) -> StoredStep:
    """Note that a step is done and what it made. Finishing it again changes nothing.

    Raises:
        UnknownRecord: the step never began.
    """
    key = f"{run_id}:{name}"
    await conn.execute(
        sa.update(steps)
        .where(steps.c.key == key, steps.c.finished_at.is_(None))
        .values(finished_at=at, external_ref=external_ref)
    )
    row = (await conn.execute(sa.select(steps).where(steps.c.key == key))).first()
    if row is None:
        raise UnknownRecord(f"step {key} never began")
    return _step(row)


async def of_run(conn: AsyncConnection, run_id: str) -> list[StoredStep]:
    """Read the steps of a Run in the order they began."""
    query = sa.select(steps).where(steps.c.run_id == run_id)
    rows = await conn.execute(query.order_by(steps.c.started_at, steps.c.key))
    return [_step(row) for row in rows]


def _step(row: sa.Row[Any]) -> StoredStep:
    return StoredStep.model_validate(dict(row._mapping))
