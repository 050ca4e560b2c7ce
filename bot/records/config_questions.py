"""Which versions of the configuration do not count yet, and whom they wait for.

A pull request's sensitive sections wait for a Founder's yes; merged, they go on waiting until they
are approved, or no longer what the default branch has. The default branch itself is asked about
where its version came without such a pull request. Every function works inside the caller's
transaction and never commits.
"""

from __future__ import annotations

from collections.abc import Collection

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.records.tables.columns import Instant
from bot.records.tables.safety import config_questions
from bot.triggers import Value

DEFAULT_BRANCH = 0
"""The number of the question about the default branch itself; no pull request has it."""


class ConfigQuestion(Value):
    """One version that does not count, or not all of it.

    Attributes:
        repository_id: where.
        number: the pull request that brings it, or DEFAULT_BRANCH.
        digest: of its sensitive sections; empty where it cannot be used at all.
        sections: those that change what counts.
        asked_by: whose pull request it is; empty for the default branch.
        asked_at: when it was first seen.
        commit_sha: the default branch's head that was told of it; empty for a pull request.
        fault: why it cannot be used at all; empty where it can.
    """

    repository_id: int
    number: int
    digest: str
    sections: tuple[str, ...]
    asked_by: str
    asked_at: Instant
    commit_sha: str = ""
    fault: str = ""

    @property
    def is_of_default_branch(self) -> bool:
        """Whether no pull request is to be answered, but the default branch's own check."""
        return self.number == DEFAULT_BRANCH


async def ask(conn: AsyncConnection, question: ConfigQuestion) -> None:
    """Note that a version waits; another one takes the place of the one before."""
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
            where=sa.or_(
                config_questions.c.digest != question.digest,
                config_questions.c.commit_sha != question.commit_sha,
            ),
        )
    )


async def withdraw(conn: AsyncConnection, repository_id: int, number: int) -> None:
    """Note that a pull request, or the default branch, waits no more."""
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
