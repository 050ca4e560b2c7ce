"""What waits for a yes that not everyone may give, bound to exactly one plan.

pending → approved | rejected | void | expired. Whoever decides first decides. Every function works
inside the caller's transaction and never commits.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.records.lifecycle import IllegalMove, UnknownRecord
from bot.records.tables.columns import Instant
from bot.records.tables.safety import approvals, audit_entries
from bot.triggers import Value, derived_id

ASKED = "approval.asked"
"""The audit chain's word for it."""

FOUNDERS_STAGE = "founders stage"
"""Why a ramp waits whose next stage only a Founder lets in; its Run has it as its reason."""


class Approval(Value):
    """One request for a yes. `commit` is what it is about, `plan_digest` the whole plan."""

    id: str
    run_id: str
    repository_id: int
    of: Literal["founder", "person"]
    commit: str
    plan_digest: str
    requested_by: str
    asked_at: Instant
    expires_at: Instant
    state: Literal["pending", "approved", "rejected", "void"]
    decided_by: str | None
    decided_at: Instant | None

    def is_expired(self, at: datetime) -> bool:
        """Whether nobody answered in time."""
        return self.state == "pending" and at >= self.expires_at


async def ask(
    conn: AsyncConnection,
    run_id: str,
    repository_id: int,
    *,
    of: Literal["founder", "person"] = "founder",
    commit: str,
    plan_digest: str,
    requested_by: str,
    at: datetime,
    expires_at: datetime,
) -> Approval:
    """Ask for a yes to one plan; what the Run asked before is void."""
    await void(conn, run_id, at)
    row = await conn.execute(
        sa.insert(approvals)
        .values(
            id=derived_id(f"approval:{run_id}:{plan_digest}", at),
            run_id=run_id,
            repository_id=repository_id,
            of=of,
            commit=commit,
            plan_digest=plan_digest,
            requested_by=requested_by,
            asked_at=at,
            expires_at=expires_at,
            state="pending",
        )
        .returning(approvals)
    )
    return _approval(row.one())


async def void(conn: AsyncConnection, run_id: str, at: datetime) -> None:
    """Take back what a Run waits for: its plan has changed, or it has ended."""
    await conn.execute(
        sa.update(approvals)
        .where(approvals.c.run_id == run_id, approvals.c.state == "pending")
        .values(state="void", decided_at=at)
    )


async def latest(conn: AsyncConnection, run_id: str) -> Approval | None:
    """Read what a Run asked for last; None if it never did."""
    query = (
        sa.select(approvals)
        .where(approvals.c.run_id == run_id)
        .order_by(approvals.c.asked_at.desc(), approvals.c.id.desc())
        .limit(1)
    )
    row = (await conn.execute(query)).first()
    return None if row is None else _approval(row)


async def asked_otherwise(conn: AsyncConnection, approval: Approval) -> frozenset[str]:
    """Read about which commits its Run asked before, by another plan; none where it never did."""
    query = sa.select(approvals.c.commit).where(
        approvals.c.run_id == approval.run_id,
        approvals.c.plan_digest != approval.plan_digest,
        approvals.c.asked_at <= approval.asked_at,
    )
    return frozenset((await conn.execute(query)).scalars())


async def was_asked(conn: AsyncConnection, incident: str, run_id: str) -> bool:
    """Tell whether a Run of an incident ever asked for an approval, bound to a plan or not."""
    query = sa.select(audit_entries.c.seq).where(
        audit_entries.c.incident == incident,
        audit_entries.c.run == run_id,
        audit_entries.c.action == ASKED,
    )
    return (await conn.execute(query.limit(1))).first() is not None


async def pending(conn: AsyncConnection, repositories: Collection[int]) -> set[str]:
    """Which Runs of these repositories wait for a Founder? Their ids."""
    query = sa.select(approvals.c.run_id).where(
        approvals.c.state == "pending",
        approvals.c.of == "founder",
        approvals.c.repository_id.in_(repositories),
    )
    return set((await conn.execute(query)).scalars())


async def decide(
    conn: AsyncConnection,
    approval_id: str,
    to: Literal["approved", "rejected"],
    *,
    by: str,
    at: datetime,
) -> Approval:
    """Write down an answer. The same answer by the same person again changes nothing.

    Raises:
        UnknownRecord: there is no such request.
        IllegalMove: it was decided, taken back, or has expired.
    """
    query = sa.select(approvals).where(approvals.c.id == approval_id).with_for_update()
    row = (await conn.execute(query)).first()
    if row is None:
        raise UnknownRecord(f"there is no approval {approval_id}")
    now = _approval(row)
    if (now.state, now.decided_by) == (to, by):
        return now
    if now.state != "pending":
        who = f" by {now.decided_by}" if now.decided_by else ""
        raise IllegalMove(f"it is {now.state}{who} already")
    if now.is_expired(at):
        raise IllegalMove("the request has expired")
    changed = await conn.execute(
        sa.update(approvals)
        .where(approvals.c.id == approval_id)
        .values(state=to, decided_by=by, decided_at=at)
        .returning(approvals)
    )
    return _approval(changed.one())


def _approval(row: sa.Row[Any]) -> Approval:
    return Approval.model_validate(dict(row._mapping))
