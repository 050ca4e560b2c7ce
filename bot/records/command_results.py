"""What became of requests that came by a way on which nobody can be answered otherwise.

A comment is answered by a reaction and, at times, a comment. A request from the cockpit has
neither: its answer is kept here. Every function works inside the caller's transaction.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.records.tables.columns import Instant
from bot.records.tables.intake import answers
from bot.triggers import Value


class RequestState(StrEnum):
    """Where a request stands."""

    SEEN = "seen"
    DONE = "done"
    REFUSED = "refused"


class CommandResult(Value):
    """The answer to one request. `text` is Markdown; empty where the outcome says it all."""

    run_id: str
    repository_id: int
    actor: str
    outcome: RequestState
    text: str
    at: Instant


async def put(
    conn: AsyncConnection,
    run_id: str,
    *,
    repository_id: int,
    actor: str,
    outcome: RequestState,
    at: datetime,
    text: str = "",
) -> None:
    """Answer, or answer anew; a text that was given stays until another one is."""
    insert = sqlite.insert if conn.dialect.name == "sqlite" else postgresql.insert
    changes: dict[str, Any] = {"outcome": outcome, "at": at}
    if text:
        changes["text"] = text
    await conn.execute(
        insert(answers)
        .values(
            run_id=run_id,
            repository_id=repository_id,
            actor=actor,
            outcome=outcome,
            text=text,
            at=at,
        )
        .on_conflict_do_update(index_elements=[answers.c.run_id], set_=changes)
    )


async def find(conn: AsyncConnection, run_id: str) -> CommandResult | None:
    """Read the answer to the request whose Run this is; None while there is none."""
    row = (await conn.execute(sa.select(answers).where(answers.c.run_id == run_id))).first()
    return None if row is None else CommandResult.model_validate(dict(row._mapping))
