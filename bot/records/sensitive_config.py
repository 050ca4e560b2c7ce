"""Sections that only a Founder changes: versions that were approved, and those that wait.

An approval counts once: for the version that comes into force next. Going back to an older version
needs a new one.

A pull request's sensitive sections wait for a Founder's yes; merged, they go on waiting until they
are approved, or no longer what the default branch has. The default branch itself is asked about
where its version came without such a pull request. Every function works inside the caller's
transaction and never commits.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from pydantic import JsonValue
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.records.audit import chain
from bot.records.database import insert_into
from bot.records.tables.columns import Instant
from bot.records.tables.safety import config_questions, sensitive_config
from bot.triggers import Value


class ApprovedSections(Value):
    """One version; `in_force_at` is None until the default branch has it."""

    repository_id: int
    digest: str
    sections: dict[str, JsonValue]
    approved_by: str
    approved_at: Instant
    in_force_at: Instant | None


async def approve(
    conn: AsyncConnection,
    repository_id: int,
    digest: str,
    sections: dict[str, JsonValue],
    *,
    by: str,
    at: datetime,
    run: str,
) -> None:
    """Note a Founder's yes to a version; make it the transaction's last statement."""
    insert = insert_into(conn)
    told: dict[str, Any] = {"approved_by": by, "approved_at": at, "in_force_at": None}
    await conn.execute(
        insert(sensitive_config)
        .values(repository_id=repository_id, digest=digest, sections=sections, **told)
        .on_conflict_do_update(
            index_elements=[sensitive_config.c.repository_id, sensitive_config.c.digest],
            set_=told,
        )
    )
    await chain.append(
        conn, repository_id, "config.approved", actor=by, at=at, run=run, refs={"digest": digest}
    )


async def in_force(conn: AsyncConnection, repository_id: int) -> ApprovedSections | None:
    """Read the version that counts; None where none was ever approved: then the defaults do."""
    query = (
        sa.select(sensitive_config)
        .where(
            sensitive_config.c.repository_id == repository_id,
            sensitive_config.c.in_force_at.is_not(None),
        )
        .order_by(sensitive_config.c.in_force_at.desc())
        .limit(1)
    )
    row = (await conn.execute(query)).first()
    return None if row is None else ApprovedSections.model_validate(dict(row._mapping))


async def approved_ahead(
    conn: AsyncConnection, repository_id: int, *, since: datetime
) -> frozenset[str]:
    """Read the digests that a Founder approved and that the default branch does not have yet.

    Approvals from before `since` have expired.
    """
    query = sa.select(sensitive_config.c.digest).where(
        sensitive_config.c.repository_id == repository_id,
        sensitive_config.c.in_force_at.is_(None),
        sensitive_config.c.approved_at >= since,
    )
    return frozenset((await conn.execute(query)).scalars())


async def come_into_force(
    conn: AsyncConnection, repository_id: int, digest: str, at: datetime, *, since: datetime
) -> bool:
    """Put an approved version that the default branch has now in force; False if there is none.

    Approvals from before `since` have expired.
    """
    changed = await conn.execute(
        sa.update(sensitive_config)
        .where(
            sensitive_config.c.repository_id == repository_id,
            sensitive_config.c.digest == digest,
            sensitive_config.c.in_force_at.is_(None),
            sensitive_config.c.approved_at >= since,
        )
        .values(in_force_at=at)
    )
    return changed.rowcount > 0


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
    insert = insert_into(conn)
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
