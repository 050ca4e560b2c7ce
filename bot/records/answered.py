"""What came in and was answered: by whom, once, and up to where each repository was read.

A comment is answered by a reaction and, at times, a comment. A request from the cockpit has
neither: its answer is kept here. What is older is forgotten: nothing grows.

Every function works inside the caller's transaction and never commits.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.records.database import insert_into
from bot.records.tables.columns import Instant
from bot.records.tables.intake import answers, inbox, readings, talk
from bot.triggers import Trigger, Value, derived_id


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


async def put_result(
    conn: AsyncConnection,
    run_id: str,
    *,
    repository_id: int,
    actor: str,
    outcome: RequestState,
    at: datetime,
    text: str = "",
) -> None:
    """Answer, or answer again; a text that was given stays until another one is."""
    insert = insert_into(conn)
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


async def find_result(conn: AsyncConnection, run_id: str) -> CommandResult | None:
    """Read the answer to the request whose Run this is; None while there is none."""
    row = (await conn.execute(sa.select(answers).where(answers.c.run_id == run_id))).first()
    return None if row is None else CommandResult.model_validate(dict(row._mapping))


WHILE = timedelta(hours=1)


class Scope(StrEnum):
    """What is answered once."""

    OUTSIDERS = "outsiders"
    """Anything that people without access say."""
    QUESTIONS = "questions"
    """`/help` and `/status`, which other bots answer to as well."""


async def claim_reply(
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
    insert = insert_into(conn)
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


class CatchUpMark(Value):
    """One repository: what happened before `began_at` is none of our business."""

    repository_id: int
    began_at: Instant
    read_until: Instant


async def first_start(conn: AsyncConnection) -> datetime | None:
    """When the App began to read anything at all; None before that."""
    began: datetime | None = await conn.scalar(sa.select(sa.func.min(readings.c.began_at)))
    return began


async def begin_reading(
    conn: AsyncConnection, repository_ids: Collection[int], at: datetime
) -> None:
    """Make the rows of these repositories where they are missing: reading begins at `at`."""
    rows = [{"repository_id": each, "began_at": at, "read_until": at} for each in repository_ids]
    await conn.execute(insert_into(conn)(readings).on_conflict_do_nothing(), rows)


async def mark_of(conn: AsyncConnection, repository_id: int) -> CatchUpMark | None:
    """Read a repository's row; None where reading has not begun."""
    one = sa.select(readings).where(readings.c.repository_id == repository_id)
    row = (await conn.execute(one)).one_or_none()
    return None if row is None else CatchUpMark.model_validate(dict(row._mapping))


async def advance_mark(conn: AsyncConnection, repository_id: int, until: datetime) -> None:
    """Note that everything before `until` was read; never goes back."""
    await conn.execute(
        sa.update(readings)
        .where(readings.c.repository_id == repository_id, readings.c.read_until < until)
        .values(read_until=until)
    )


async def received_at(conn: AsyncConnection, repository_id: int, moment: datetime) -> list[Trigger]:
    """Give what was asked for in a repository, not by the API, at exactly this moment."""
    query = sa.select(inbox.c.payload).where(
        inbox.c.received_at == moment, inbox.c.key.startswith(f"{repository_id}:")
    )
    return [Trigger.model_validate(each) for each in (await conn.execute(query)).scalars()]
