"""Which pull requests are self-work, who was let through, and what the gate has said where.

Every function works inside the caller's transaction and never commits.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.records.audit import chain
from bot.records.database import insert_into
from bot.records.tables.columns import Instant
from bot.records.tables.safety import exemptions, gate_reports, self_work
from bot.triggers import Value

NOT_YET = 0
"""The check-run of a head that is about to be reported for the first time."""

SOMEBODY_ELSES = timedelta(seconds=30)
"""How long a head that another replica has claimed is left to it."""


class GateReport(Value):
    """What the gate said on one head. `said` is empty while it is being said again.

    `config_digest` is of the sensitive sections that its `playbooks config` showed, empty where it
    showed none; None until the head was judged. `config_at` is when, or when that began.
    """

    repository_id: int
    head_sha: str
    number: int | None
    merge_group: str | None
    conclusion: str
    said: str
    check_run: int
    first_at: Instant
    config_at: Instant | None = None
    config_digest: str | None = None


async def mark(
    conn: AsyncConnection, repository_id: int, number: int, why: str, at: datetime
) -> None:
    """Note that a pull request is self-work; nothing takes this back."""
    await conn.execute(
        insert_into(conn)(self_work)
        .values(repository_id=repository_id, number=number, why=why, seen_at=at)
        .on_conflict_do_nothing()
    )


async def marked(
    conn: AsyncConnection, repository_id: int, numbers: Collection[int]
) -> dict[int, str]:
    """Read which of these pull requests are self-work, and why."""
    query = sa.select(self_work.c.number, self_work.c.why).where(
        self_work.c.repository_id == repository_id, self_work.c.number.in_(numbers)
    )
    return {row.number: row.why for row in await conn.execute(query)}


async def exempt(
    conn: AsyncConnection,
    repository_id: int,
    number: int,
    head_sha: str,
    pause_id: str,
    *,
    by: str,
    at: datetime,
    run: str,
) -> None:
    """Let one commit through one pause; make it the transaction's last statement."""
    await conn.execute(
        insert_into(conn)(exemptions)
        .values(
            repository_id=repository_id,
            number=number,
            head_sha=head_sha,
            pause_id=pause_id,
            by=by,
            at=at,
        )
        .on_conflict_do_nothing()
    )
    await chain.append(
        conn,
        repository_id,
        "self-work.exempted",
        actor=by,
        at=at,
        run=run,
        refs={"pull_request": number, "commit": head_sha, "pause": pause_id},
    )


async def exempted(conn: AsyncConnection, repository_id: int, pause_id: str) -> dict[str, str]:
    """Read which commits were let through a pause, and by whom."""
    query = sa.select(exemptions.c.head_sha, exemptions.c.by).where(
        exemptions.c.repository_id == repository_id, exemptions.c.pause_id == pause_id
    )
    return {row.head_sha: row.by for row in await conn.execute(query)}


# Looked at every second, and made once: to make a query takes longer than to find nothing.
_EXEMPTIONS_MADE = sa.select(exemptions.c.repository_id, sa.func.count()).group_by(
    exemptions.c.repository_id
)


async def exemptions_made(conn: AsyncConnection) -> dict[int, int]:
    """Count them by repository, to see whether there is a new one."""
    return {int(row[0]): int(row[1]) for row in await conn.execute(_EXEMPTIONS_MADE)}


async def find(conn: AsyncConnection, repository_id: int, head_sha: str) -> GateReport | None:
    """Read what was said on one head."""
    query = sa.select(gate_reports).where(
        gate_reports.c.repository_id == repository_id, gate_reports.c.head_sha == head_sha
    )
    row = (await conn.execute(query)).first()
    return None if row is None else GateReport.model_validate(dict(row._mapping))


async def of_heads(
    conn: AsyncConnection, repository_id: int, heads: Collection[str]
) -> dict[str, GateReport]:
    """Read what was said on each of these heads, by the head."""
    query = sa.select(gate_reports).where(
        gate_reports.c.repository_id == repository_id, gate_reports.c.head_sha.in_(heads)
    )
    found = [GateReport.model_validate(dict(row._mapping)) for row in await conn.execute(query)]
    return {each.head_sha: each for each in found}


async def said_on(
    conn: AsyncConnection, repositories: Collection[int], heads: Collection[str]
) -> list[tuple[int, str]]:
    """Read on which of these heads anything is said, each with its repository."""
    query = sa.select(gate_reports.c.repository_id, gate_reports.c.head_sha).where(
        gate_reports.c.repository_id.in_(repositories),
        gate_reports.c.head_sha.in_(heads),
        gate_reports.c.said != "",
    )
    return [(int(row[0]), str(row[1])) for row in await conn.execute(query)]


async def of_merge_groups(
    conn: AsyncConnection, repository_id: int, since: datetime
) -> list[GateReport]:
    """Read the merge groups that were first heard of since a moment."""
    query = sa.select(gate_reports).where(
        gate_reports.c.repository_id == repository_id,
        gate_reports.c.merge_group.is_not(None),
        gate_reports.c.first_at >= since,
    )
    return [GateReport.model_validate(dict(row._mapping)) for row in await conn.execute(query)]


async def held_before(
    conn: AsyncConnection, repository_id: int, number: int, moment: datetime
) -> GateReport | None:
    """Read the last head of a pull request that the gate had reported on by a moment."""
    query = (
        sa.select(gate_reports)
        .where(
            gate_reports.c.repository_id == repository_id,
            gate_reports.c.number == number,
            gate_reports.c.merge_group.is_(None),
            gate_reports.c.first_at <= moment,
        )
        .order_by(gate_reports.c.first_at.desc())
        .limit(1)
    )
    row = (await conn.execute(query)).first()
    return None if row is None else GateReport.model_validate(dict(row._mapping))


async def claim(
    conn: AsyncConnection,
    repository_id: int,
    head_sha: str,
    number: int | None,
    merge_group: str | None,
    at: datetime,
) -> bool:
    """Note that a head is about to be reported on; False where somebody noted it before."""
    made = await conn.execute(
        insert_into(conn)(gate_reports)
        .values(
            repository_id=repository_id,
            head_sha=head_sha,
            number=number,
            merge_group=merge_group,
            conclusion="",
            said="",
            check_run=NOT_YET,
            first_at=at,
        )
        .on_conflict_do_nothing()
    )
    return made.rowcount > 0


async def note(
    conn: AsyncConnection,
    repository_id: int,
    head_sha: str,
    *,
    said: str,
    conclusion: str,
    check_run: int,
) -> None:
    """Note what was said, or (with an empty `said`) that it is being said again."""
    await conn.execute(
        sa.update(gate_reports)
        .where(gate_reports.c.repository_id == repository_id, gate_reports.c.head_sha == head_sha)
        .values(said=said, conclusion=conclusion, check_run=check_run)
    )


async def claim_config(
    conn: AsyncConnection, repository_id: int, head_sha: str, at: datetime, *, stale: datetime
) -> bool:
    """Note that a head's configuration is about to be judged.

    False where it was judged, where somebody else began to since `stale`, and where the gate knows
    no such head.
    """
    changed = await conn.execute(
        sa.update(gate_reports)
        .where(
            gate_reports.c.repository_id == repository_id,
            gate_reports.c.head_sha == head_sha,
            gate_reports.c.config_digest.is_(None),
            sa.or_(gate_reports.c.config_at.is_(None), gate_reports.c.config_at < stale),
        )
        .values(config_at=at)
    )
    return changed.rowcount > 0


async def note_config(
    conn: AsyncConnection, repository_id: int, head_sha: str, digest: str, at: datetime
) -> None:
    """Note which sensitive sections were shown on a head; an empty digest: none."""
    await conn.execute(
        sa.update(gate_reports)
        .where(gate_reports.c.repository_id == repository_id, gate_reports.c.head_sha == head_sha)
        .values(config_digest=digest, config_at=at)
    )


async def configs_shown(conn: AsyncConnection, repository_id: int, number: int) -> list[GateReport]:
    """Read the heads of a pull request whose sensitive sections were shown, the oldest first."""
    query = (
        sa.select(gate_reports)
        .where(
            gate_reports.c.repository_id == repository_id,
            gate_reports.c.number == number,
            gate_reports.c.merge_group.is_(None),
            gate_reports.c.config_digest != "",
        )
        .order_by(gate_reports.c.config_at)
    )
    return [GateReport.model_validate(dict(row._mapping)) for row in await conn.execute(query)]
