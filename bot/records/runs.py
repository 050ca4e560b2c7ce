"""Runs: one durable execution of a playbook each, and what it is waiting for.

Every function works inside the caller's transaction and never commits.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa
import structlog
from pydantic import JsonValue
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.metrics import RUN_CHANGES
from bot.records.database import insert_into, once_committed
from bot.records.lifecycle import (
    FINISHED,
    LEFT_TO_PEOPLE,
    UNDONE,
    IllegalMove,
    RunState,
    StaleVersion,
    UnknownRecord,
    why_run_cannot_move,
)
from bot.records.tables.columns import Instant
from bot.records.tables.recovery import runs
from bot.triggers import Trigger, Value

log = structlog.get_logger(__name__)


class ToldStanding(Value):
    """What people were told last of where a Run stands: Markdown, the words of others escaped.

    Attributes:
        state: whether a person has to act.
        headline: the one next thing to do, and for whom.
        details: what happened and what can be done, in paragraphs.
        at: since when.
    """

    state: Literal["working", "needs you", "done", "stopped"]
    headline: str
    details: tuple[str, ...] = ()
    at: Instant


class StoredRun(Value):
    """One Run as the database has it. `version` grows by one with every change.

    `watch_head_sha` and `watch_pull_request` are what the Run waits on: a delivery about them
    wakes it. `seed` is text because 64-bit numbers do not survive JSON. `joined_incident` is set
    instead of `incident_id` where the request found its incident open and another Run at work on
    it: it is no Run of that incident, and did nothing.
    """

    id: str
    incident_id: str | None
    joined_incident: str | None = None
    repository_id: int
    playbook: str
    playbook_version: int
    trigger_key: str
    trigger: dict[str, JsonValue]
    inputs: dict[str, JsonValue]
    plan_digest: str | None
    seed: str | None
    actor: str
    dry_run: bool
    state: RunState
    reason: str | None
    standing: ToldStanding | None = None
    watch_head_sha: str | None
    watch_pull_request: int | None
    deadline: Instant | None
    artifact_path: str | None
    artifact_sha256: str | None
    created_at: Instant
    updated_at: Instant
    finished_at: Instant | None
    version: int

    @property
    def is_live(self) -> bool:
        """Whether the Run may still do something."""
        return self.state not in FINISHED

    @property
    def needs_somebody(self) -> bool:
        """Whether it goes no further without a person, as long as its Incident is open."""
        asks = self.standing is not None and self.standing.state == "needs you"
        return asks or self.state in LEFT_TO_PEOPLE

    @property
    def broke_off(self) -> bool:
        """Whether a failed step ended it; a rollback that was wished for has no reason noted."""
        return self.state is RunState.FAILED or (self.state in UNDONE and self.reason is not None)


async def start(
    conn: AsyncConnection,
    run_id: str,
    trigger: Trigger,
    *,
    playbook: str,
    at: datetime,
    playbook_version: int = 1,
    incident_id: str | None = None,
    inputs: dict[str, JsonValue] | None = None,
    seed: str | None = None,
    dry_run: bool = False,
    deadline: datetime | None = None,
) -> StoredRun:
    """Record a queued Run for a Trigger; the same Trigger again finds the Run it has."""
    insert = insert_into(conn)
    begun = await conn.execute(
        insert(runs)
        .values(
            id=run_id,
            incident_id=incident_id,
            repository_id=trigger.repository.id,
            playbook=playbook,
            playbook_version=playbook_version,
            trigger_key=trigger.key,
            trigger=trigger.model_dump(mode="json"),
            inputs=inputs or {},
            seed=seed,
            actor=trigger.actor.login,
            dry_run=dry_run,
            state=RunState.QUEUED,
            deadline=deadline,
            created_at=at,
            updated_at=at,
            version=1,
        )
        .on_conflict_do_nothing()
    )
    found = await find_by_trigger(conn, trigger.key)
    if found is None:
        raise StaleVersion(f"run {run_id} already belongs to another trigger")
    if begun.rowcount:
        _tell(conn, found, None)
    return found


# Made once: to make a query takes about as long as to ask it.
_RUNS = sa.select(runs)
_OLDEST_FIRST = _RUNS.order_by(runs.c.created_at, runs.c.id)
_NEWEST_FIRST = _RUNS.order_by(runs.c.created_at.desc(), runs.c.id.desc()).limit(
    sa.bindparam("most", type_=sa.Integer)
)
_IS_THERE = runs.c.repository_id == sa.bindparam("repository_id")
_ONE = _RUNS.where(runs.c.id == sa.bindparam("run_id"))
_ONE_LOCKED = _ONE.with_for_update()
_OF_TRIGGER = _RUNS.where(runs.c.trigger_key == sa.bindparam("key"))
_OF_INCIDENT = _OLDEST_FIRST.where(runs.c.incident_id == sa.bindparam("incident"))
_JOINED = _OLDEST_FIRST.where(runs.c.joined_incident == sa.bindparam("incident"))
_LIVE = _OLDEST_FIRST.where(runs.c.finished_at.is_(None))
_LIVE_THERE = _LIVE.where(_IS_THERE)
_WITHOUT_INCIDENT = _NEWEST_FIRST.where(
    _IS_THERE, runs.c.incident_id.is_(None), runs.c.joined_incident.is_(None)
)
_BROKEN_OFF = _NEWEST_FIRST.where(
    _IS_THERE,
    sa.or_(
        runs.c.state == RunState.FAILED,
        sa.and_(runs.c.state.in_(sorted(UNDONE)), runs.c.reason.is_not(None)),
    ),
)


async def find(conn: AsyncConnection, run_id: str) -> StoredRun | None:
    """Read one Run; None if there is none with this id."""
    return await _first(conn, _ONE, run_id=run_id)


async def find_by_trigger(conn: AsyncConnection, trigger_key: str) -> StoredRun | None:
    """Read the Run a Trigger started; None if it started none."""
    return await _first(conn, _OF_TRIGGER, key=trigger_key)


async def of_incident(conn: AsyncConnection, incident_id: str) -> list[StoredRun]:
    """Read every Run of an Incident, oldest first; requests that only joined it are none."""
    return await _all(conn, _OF_INCIDENT, incident=incident_id)


async def joined(conn: AsyncConnection, incident_id: str) -> list[StoredRun]:
    """Read the requests that joined an Incident, oldest first."""
    return await _all(conn, _JOINED, incident=incident_id)


async def without_incident(
    conn: AsyncConnection, repository_id: int, *, limit: int = 50
) -> list[StoredRun]:
    """Read the latest Runs that have opened no Incident (yet) and joined none, newest first."""
    return await _all(conn, _WITHOUT_INCIDENT, repository_id=repository_id, most=limit)


async def list_live(conn: AsyncConnection, repository_id: int | None = None) -> list[StoredRun]:
    """Read the Runs that may still do something, oldest first."""
    if repository_id is None:
        return await _all(conn, _LIVE)
    return await _all(conn, _LIVE_THERE, repository_id=repository_id)


async def list_broken_off(
    conn: AsyncConnection, repository_id: int, *, limit: int = 50
) -> list[StoredRun]:
    """Read the latest Runs that a failed step ended, newest first: they can be asked for again."""
    return await _all(conn, _BROKEN_OFF, repository_id=repository_id, most=limit)


async def watching(
    conn: AsyncConnection,
    repository_id: int,
    *,
    heads: Collection[str] = (),
    pull_requests: Collection[int] = (),
) -> list[str]:
    """Read the ids of the live Runs that wait on one of these head commits or pull requests."""
    if not heads and not pull_requests:
        return []
    query = (
        sa.select(runs.c.id)
        .where(
            runs.c.repository_id == repository_id,
            runs.c.finished_at.is_(None),
            sa.or_(runs.c.watch_head_sha.in_(heads), runs.c.watch_pull_request.in_(pull_requests)),
        )
        .order_by(runs.c.id)
    )
    return list(await conn.scalars(query))


async def watch(
    conn: AsyncConnection,
    run_id: str,
    *,
    at: datetime,
    head_sha: str | None,
    pull_request: int | None,
) -> StoredRun:
    """Say what a Run waits on from now; None means nothing of that sort.

    Raises:
        UnknownRecord: there is no such Run.
    """
    now = await _locked(conn, run_id)
    return await _change(
        conn, now, at, {"watch_head_sha": head_sha, "watch_pull_request": pull_request}
    )


DECLINED = "declined"
"""What a Run that failed by nobody's fault is counted as: it was refused, or had nothing to do."""


async def move(
    conn: AsyncConnection,
    run_id: str,
    to: RunState,
    *,
    at: datetime,
    reason: str | None = None,
    counted_as: str | None = None,
) -> StoredRun:
    """Move a Run to another state. Moving it to where it already is changes nothing.

    Args:
        conn: the caller's transaction.
        run_id: which Run.
        to: its new state.
        at: now.
        reason: why, in words for people; kept until the next move.
        counted_as: what whoever operates the bot hears of it; None: the state.

    Raises:
        UnknownRecord: there is no such Run.
        IllegalMove: the life cycle does not allow it.
    """
    now = await _locked(conn, run_id)
    if now.state is to:
        return now
    if why := why_run_cannot_move(now.state, to):
        raise IllegalMove(why)
    finished_at = at if to in FINISHED else None
    moved = {"state": to, "reason": reason, "finished_at": finished_at}
    changed = await _change(conn, now, at, moved)
    _tell(conn, changed, now.state, counted_as)
    return changed


def _tell(
    conn: AsyncConnection, run: StoredRun, before: RunState | None, counted_as: str | None = None
) -> None:
    """A line for each change of state, and a count: once it is committed."""
    # As a word: an Enum with a space in it is shown with its class.
    state = counted_as or str(run.state)

    def tell() -> None:
        RUN_CHANGES.labels(run.playbook, state).inc()
        log.info(
            "a run changed its state" if before else "a run began",
            run=run.id,
            playbook=run.playbook,
            incident=run.incident_id or run.joined_incident,
            repository_id=run.repository_id,
            state=state,
            before=before and str(before),
            why=run.reason,
        )

    once_committed(conn, tell)


STRANDED = "this bot was updated while it was under way, and cannot go on with it"
"""The reason of a Run whose execution is over although nothing ended it."""


async def strand(conn: AsyncConnection, run_id: str, *, at: datetime) -> bool:
    """End a Run whose execution is over; False where it has ended already."""
    now = await _locked(conn, run_id)
    if not now.is_live:
        return False
    undoing = now.state is RunState.COMPENSATING
    state = RunState.ROLLBACK_FAILED if undoing else RunState.FAILED
    await move(conn, run_id, state, at=at, reason=STRANDED)
    return True


async def list_stranded(conn: AsyncConnection, *, limit: int = 200) -> list[StoredRun]:
    """Read the latest Runs that ended like this, newest first."""
    query = sa.select(runs).where(runs.c.reason == STRANDED)
    newest = query.order_by(runs.c.updated_at.desc()).limit(limit)
    return [_run(row) for row in await conn.execute(newest)]


async def stand(
    conn: AsyncConnection,
    run_id: str,
    *,
    at: datetime,
    state: Literal["working", "needs you", "done", "stopped"],
    headline: str,
    details: Sequence[str] = (),
) -> StoredRun:
    """Keep what people are told of where a Run stands. The same again changes nothing.

    Raises:
        UnknownRecord: there is no such Run.
    """
    now = await _locked(conn, run_id)
    told = ToldStanding(state=state, headline=headline, details=tuple(details), at=at)
    if now.standing is not None and now.standing.model_copy(update={"at": at}) == told:
        return now
    return await _change(conn, now, at, {"standing": told.model_dump(mode="json")})


async def note(
    conn: AsyncConnection,
    run_id: str,
    *,
    at: datetime,
    incident_id: str | None = None,
    joined_incident: str | None = None,
    inputs: dict[str, JsonValue] | None = None,
    plan_digest: str | None = None,
    seed: str | None = None,
    deadline: datetime | None = None,
    artifact_path: str | None = None,
    artifact_sha256: str | None = None,
) -> StoredRun:
    """Note what became known about a Run; what is left out stays as it is.

    Raises:
        UnknownRecord: there is no such Run.
    """
    now = await _locked(conn, run_id)
    wanted: dict[str, Any] = {
        "incident_id": incident_id,
        "joined_incident": joined_incident,
        "inputs": inputs,
        "plan_digest": plan_digest,
        "seed": seed,
        "deadline": deadline,
        "artifact_path": artifact_path,
        "artifact_sha256": artifact_sha256,
    }
    changes = {
        name: value
        for name, value in wanted.items()
        if value is not None and getattr(now, name) != value
    }
    return await _change(conn, now, at, changes) if changes else now


async def _all(conn: AsyncConnection, query: sa.Select[Any], **those: Any) -> list[StoredRun]:
    return [_run(row) for row in await conn.execute(query, those)]


async def _first(conn: AsyncConnection, query: sa.Select[Any], **that: Any) -> StoredRun | None:
    row = (await conn.execute(query, that)).first()
    return None if row is None else _run(row)


async def _locked(conn: AsyncConnection, run_id: str) -> StoredRun:
    found = await _first(conn, _ONE_LOCKED, run_id=run_id)
    if found is None:
        raise UnknownRecord(f"there is no run {run_id}")
    return found


async def _change(
    conn: AsyncConnection, now: StoredRun, at: datetime, changes: dict[str, Any]
) -> StoredRun:
    changed = await conn.execute(
        sa.update(runs)
        .where(runs.c.id == now.id, runs.c.version == now.version)
        .values(**changes, updated_at=at, version=now.version + 1)
        .returning(runs)
    )
    row = changed.first()
    if row is None:
        raise StaleVersion(f"run {now.id} changed while it was being written: try again")
    return _run(row)


def _run(row: sa.Row[Any]) -> StoredRun:
    return StoredRun.model_validate(dict(row._mapping))
