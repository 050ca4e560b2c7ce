"""Which pull requests bring sections of the configuration that wait for a Founder's yes.

What is merged goes on waiting until it is approved, or no longer what the default branch has. Every
function works inside the caller's transaction and never commits.
"""

from __future__ import annotations

from collections.abc import Collection

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.records.instants import Instant
from bot.records.tables.safety import config_questions
from bot.triggers import Value


class ConfigQuestion(Value):
    """One pull request's version of the sensitive sections; `sections` are those that change."""

    repository_id: int
    number: int
    digest: str
    sections: tuple[str, ...]
    asked_by: str
    asked_at: Instant


async def ask(conn: AsyncConnection, question: ConfigQuestion) -> None:
    """Note that a pull request waits; another version takes the place of the one before."""
    insert = sqlite.insert if conn.dialect.name == "sqlite" else postgresql.insert
    told = question.model_dump(exclude={"repository_id", "number"}) | {
        "sections": list(question.sections)
    }
    await conn.execute(
        insert(config_questions)
        .values(repository_id=question.repository_id, number=question.number, **told)
        .on_conflict_do_update(
            index_elements=[config_questions.c.repository_id, config_questions.c.number],
            set_=told,
            # The same once more is no newer question.
            where=config_questions.c.digest != question.digest,
        )
    )


async def withdraw(conn: AsyncConnection, repository_id: int, number: int) -> None:
    """Note that a pull request waits no more."""
    await conn.execute(
        sa.delete(config_questions).where(
            config_questions.c.repository_id == repository_id, config_questions.c.number == number
        )
    )


async def settle(conn: AsyncConnection, repository_id: int, digest: str) -> None:
    """Note that this version was approved, whoever brought it."""
    await conn.execute(
        sa.delete(config_questions).where(
            config_questions.c.repository_id == repository_id, config_questions.c.digest == digest
        )
    )


async def waiting(conn: AsyncConnection, repositories: Collection[int]) -> list[ConfigQuestion]:
    """Read what waits in these repositories, the oldest first."""
    query = (
        sa.select(config_questions)
        .where(config_questions.c.repository_id.in_(repositories))
        .order_by(config_questions.c.asked_at, config_questions.c.number)
    )
    return [ConfigQuestion.model_validate(dict(row._mapping)) for row in await conn.execute(query)]
