"""What is held, since when, by whom and why: at most one pause in force per repository and scope.

running → paused → half open (one canary pull request) → running. Every function works inside the
caller's transaction and never commits; each change and its audit entry are one. Whoever reports the
gate reads these rows: to pause is to write one.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.records.audit import chain
from bot.records.database import insert_into
from bot.records.lifecycle import IllegalMove, StaleVersion
from bot.records.tables.columns import Instant
from bot.records.tables.safety import pauses
from bot.triggers import SELF_WORK, Value, derived_id


class PauseKind(StrEnum):
    """Why something is held, the mildest first: it decides who may lift it."""

    THRESHOLD = "threshold"
    """A limit was reached; it lifts itself when all is well again."""
    MANUAL = "manual"
    """A person said so; a person lifts it."""
    SAFETY = "safety"
    """Something that must not happen happened; only a person lifts it."""


class Pause(Value):
    """One pause. `canary` is the one pull request let through while it is half open."""

    id: str
    repository_id: int
    scope: str
    kind: PauseKind
    state: Literal["paused", "half open", "lifted"]
    reason: str
    set_by: str
    since: Instant
    incident_id: str | None
    green_since: Instant | None
    canary: int | None
    canary_merged: str | None
    lifted_by: str | None
    lifted_at: Instant | None
    lifted_because: str | None
    version: int

    @property
    def lifts_itself(self) -> bool:
        """Whether it ends without a person."""
        return self.kind is PauseKind.THRESHOLD


_ANY_TIME = datetime(2020, 1, 1, tzinfo=UTC)
"""Stands in an id for the moment of what is one thing whenever it is seen."""


class Pausing(Value):
    """What is known when something is paused.

    `key` is what makes this wish this one (a Trigger's key): asked again it is found, and a pause
    that was lifted since is not set a second time. With `once` that is so whenever it is asked.
    """

    key: str
    once: bool = False
    repository_id: int
    scope: str
    kind: PauseKind
    reason: str
    by: str
    at: Instant
    incident_id: str | None = None
    run: str | None = None


async def pause(conn: AsyncConnection, wanted: Pausing) -> Pause:
    """Pause a scope, or make the pause in force stricter; make it the transaction's last statement.

    A milder reason than the one in force changes nothing, except that a half-open scope is paused
    again: something went wrong once more.

    Returns:
        The pause as it is now.
    """
    insert = insert_into(conn)
    made = (
        await conn.execute(
            insert(pauses).values(_new_row(wanted)).on_conflict_do_nothing().returning(pauses)
        )
    ).first()
    if made is not None:
        return await _audited(conn, wanted, _pause(made), "paused")
    now = await in_force(conn, wanted.repository_id, wanted.scope, lock=True)
    if now is None:
        row = await conn.execute(sa.select(pauses).where(pauses.c.id == _id(wanted)))
        return _pause(row.one())
    order = list(PauseKind)
    stricter = order.index(wanted.kind) > order.index(now.kind)
    if now.id == _id(wanted) or (not stricter and now.state != "half open"):
        return now
    changes: dict[str, Any] = {"state": "paused", "green_since": None, **_NO_CANARY}
    if stricter or wanted.kind is now.kind:
        changes.update(
            kind=wanted.kind,
            reason=wanted.reason,
            set_by=wanted.by,
            incident_id=wanted.incident_id,
        )
    return await _audited(conn, wanted, await _change(conn, now, changes), "paused again")


def _id(wanted: Pausing) -> str:
    at = _ANY_TIME if wanted.once else wanted.at
    return derived_id(f"pause:{wanted.key}:{wanted.scope}", at)


def _new_row(wanted: Pausing) -> dict[str, Any]:
    return {
        "id": _id(wanted),
        "repository_id": wanted.repository_id,
        "scope": wanted.scope,
        "kind": wanted.kind,
        "state": "paused",
        "reason": wanted.reason,
        "set_by": wanted.by,
        "since": wanted.at,
        "incident_id": wanted.incident_id,
        "version": 1,
    }


async def _audited(conn: AsyncConnection, wanted: Pausing, now: Pause, what: str) -> Pause:
    await chain.append(
        conn,
        wanted.repository_id,
        f"{_named(wanted.scope)}.{what}",
        actor=wanted.by,
        at=wanted.at,
        incident=wanted.incident_id,
        run=wanted.run,
        refs={"pause": now.id, "scope": wanted.scope},
        data={"reason": wanted.reason, "kind": wanted.kind},
    )
    return now


def _named(scope: str) -> str:
    return scope if scope == SELF_WORK else "capability"


_NO_CANARY: dict[str, Any] = {"canary": None, "canary_merged": None}


async def in_force(
    conn: AsyncConnection, repository_id: int, scope: str, *, lock: bool = False
) -> Pause | None:
    """Read the pause of one scope; None if it runs."""
    query = sa.select(pauses).where(
        pauses.c.repository_id == repository_id,
        pauses.c.scope == scope,
        pauses.c.state != "lifted",
    )
    row = (await conn.execute(query.with_for_update() if lock else query)).first()
    return None if row is None else _pause(row)


async def last_lifted(conn: AsyncConnection, repository_id: int, scope: str) -> Pause | None:
    """Read the pause of one scope that was lifted last; None if none ever was."""
    query = (
        sa.select(pauses)
        .where(
            pauses.c.repository_id == repository_id,
            pauses.c.scope == scope,
            pauses.c.state == "lifted",
        )
        .order_by(pauses.c.lifted_at.desc())
        .limit(1)
    )
    row = (await conn.execute(query)).first()
    return None if row is None else _pause(row)


# Looked at every second, and made once: to make a query takes longer than to find nothing.
_IN_FORCE = sa.select(pauses).where(pauses.c.state != "lifted").order_by(pauses.c.since)
_IN_FORCE_THERE = _IN_FORCE.where(pauses.c.repository_id == sa.bindparam("repository_id"))


async def all_in_force(conn: AsyncConnection, repository_id: int | None = None) -> list[Pause]:
    """Read every pause in force, oldest first: of one repository, or of all."""
    if repository_id is None:
        return [_pause(row) for row in await conn.execute(_IN_FORCE)]
    rows = await conn.execute(_IN_FORCE_THERE, {"repository_id": repository_id})
    return [_pause(row) for row in rows]


async def unpause(
    conn: AsyncConnection,
    pause: Pause,
    *,
    by: str,
    person: bool,
    at: datetime,
    because: str,
    run: str | None = None,
) -> Pause:
    """Let it run again; make it the transaction's last statement.

    Args:
        conn: the caller's transaction.
        pause: the one to lift, as it was read.
        by: who lifts it.
        person: whether that is a person.
        at: now.
        because: why it is safe.
        run: the Run this is part of.

    Raises:
        IllegalMove: only a person may lift a pause of this kind.
        StaleVersion: it changed since it was read.
    """
    if not person and not pause.lifts_itself:
        raise IllegalMove(f"a {pause.kind} pause is lifted by a person only")
    now = await _change(
        conn,
        pause,
        {"state": "lifted", "lifted_by": by, "lifted_at": at, "lifted_because": because},
    )
    await chain.append(
        conn,
        pause.repository_id,
        f"{_named(pause.scope)}.unpaused",
        actor=by,
        at=at,
        incident=pause.incident_id,
        run=run,
        refs={"pause": pause.id, "scope": pause.scope},
        data={"because": because},
    )
    return now


async def note(
    conn: AsyncConnection,
    pause: Pause,
    *,
    state: Literal["paused", "half open"],
    green_since: datetime | None,
    canary: int | None = None,
    canary_merged: str | None = None,
) -> Pause:
    """Write down how far a pause is on its way to its end.

    Raises:
        StaleVersion: it changed since it was read.
    """
    changes = {
        "state": state,
        "green_since": green_since,
        "canary": canary,
        "canary_merged": canary_merged,
    }
    return await _change(conn, pause, changes)


async def _change(conn: AsyncConnection, now: Pause, changes: dict[str, Any]) -> Pause:
    row = (
        await conn.execute(
            sa.update(pauses)
            .where(pauses.c.id == now.id, pauses.c.version == now.version)
            .values(**changes, version=now.version + 1)
            .returning(pauses)
        )
    ).first()
    if row is None:
        raise StaleVersion(f"the pause of {now.scope} changed meanwhile: look at it again")
    return _pause(row)


def _pause(row: sa.Row[Any]) -> Pause:
    return Pause.model_validate(dict(row._mapping))
