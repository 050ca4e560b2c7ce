"""Which versions of the configuration's sensitive sections a Founder approved.

An approval counts once: for the version that comes into force next. Going back to an older version
needs a new one. Every function works inside the caller's transaction and never commits.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from pydantic import JsonValue
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.records.audit import chain
from bot.records.tables.columns import Instant
from bot.records.tables.safety import sensitive_config
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
    insert = sqlite.insert if conn.dialect.name == "sqlite" else postgresql.insert
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
