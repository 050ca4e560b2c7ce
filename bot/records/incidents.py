"""What went wrong: Incidents, opened once per thing that broke, and moved along their life cycle.

Every function works inside the caller's transaction and never commits.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import sqlalchemy as sa
import structlog
from pydantic import Field
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.records.database import insert_into, once_committed
from bot.records.lifecycle import (
    OPEN,
    REOPEN_WINDOW,
    AlreadyOpen,
    IllegalMove,
    IncidentStatus,
    StaleVersion,
    UnknownRecord,
    why_incident_cannot_move,
)
from bot.records.tables.columns import Instant
from bot.records.tables.recovery import incidents
from bot.triggers import Repository, Severity, Value

log = structlog.get_logger(__name__)


class Opening(Value):
    """What is known when an Incident is opened.

    `id` is derived from the Trigger (`bot.triggers.derived_id`), so that a retry finds what it
    made. `kind` and `subject` (say `revert` and `pull_request:7`) are what the Incident is about:
    one is open at a time per repository, kind and subject.
    """

    id: str
    repository: Repository
    kind: str
    subject: str
    title: str
    severity: Severity
    source: str
    opened_by: str
    detected_at: Instant
    source_url: str | None = None
    status: IncidentStatus = IncidentStatus.ACTIVE
    started_at: Instant | None = None
    dedup_key: str | None = None
    group_key: str | None = None
    suspect: str | None = None


class Incident(Value):
    """One Incident as the database has it. `version` grows by one with every change."""

    id: str
    repository_id: int
    repository: str
    kind: str
    subject: str
    title: str
    severity: Severity
    status: IncidentStatus
    source: str
    source_url: str | None
    opened_by: str
    dedup_key: str | None
    group_key: str | None
    alert_count: int = Field(ge=1)
    suspect: str | None
    started_at: Instant | None
    detected_at: Instant
    acknowledged_at: Instant | None
    mitigated_at: Instant | None
    resolved_at: Instant | None
    closed_at: Instant | None
    duplicate_of: str | None
    recurrence_of: str | None
    adr: str | None
    issue: int | None
    prs: tuple[int, ...]
    version: int

    @property
    def topic(self) -> str:
        """The check, capability or alert it is about: what makes two Incidents a repetition."""
        return self.group_key or self.subject

    @property
    def is_open(self) -> bool:
        """Whether a second Trigger about the same thing would join this Incident."""
        return self.status in OPEN


async def open_or_join(conn: AsyncConnection, opening: Opening) -> tuple[Incident, bool]:
    """Open an Incident, or join the open one about the same thing.

    Opening the same id again finds the first one, whatever became of it. An Incident about
    something that broke before names the latest earlier one in `recurrence_of`.

    Returns:
        The Incident, and whether it was joined: True if another Trigger had opened it.
    """
    if made_before := await find(conn, opening.id):
        return made_before, False
    insert = insert_into(conn)
    row = (
        await conn.execute(
            insert(incidents)
            .values(await _new_row(conn, opening))
            .on_conflict_do_nothing()
            .returning(incidents)
        )
    ).first()
    if row is not None:
        return _incident(row), False
    return await _join(conn, opening), True


# Made once: to make a query takes about as long as to ask it.
_ONE = sa.select(incidents).where(incidents.c.id == sa.bindparam("incident"))
_NEWEST_FIRST = (
    sa.select(incidents)
    .order_by(incidents.c.detected_at.desc(), incidents.c.id.desc())
    .limit(sa.bindparam("most", type_=sa.Integer))
)
_NEWEST_THERE = _NEWEST_FIRST.where(incidents.c.repository_id == sa.bindparam("repository_id"))


async def find(conn: AsyncConnection, incident_id: str) -> Incident | None:
    """Read one Incident; None if there is none with this id."""
    row = (await conn.execute(_ONE, {"incident": incident_id})).first()
    return None if row is None else _incident(row)


async def find_by_issue(conn: AsyncConnection, repository_id: int, issue: int) -> Incident | None:
    """Read the latest Incident whose incident issue has this number."""
    return await _latest(
        conn, incidents.c.repository_id == repository_id, incidents.c.issue == issue
    )


async def list_open(conn: AsyncConnection, repository_id: int | None = None) -> list[Incident]:
    """Read the open Incidents, oldest first: of one repository, or of all."""
    query = sa.select(incidents).where(incidents.c.status.in_(sorted(OPEN)))
    if repository_id is not None:
        query = query.where(incidents.c.repository_id == repository_id)
    rows = await conn.execute(query.order_by(incidents.c.detected_at, incidents.c.id))
    return [_incident(row) for row in rows]


async def list_recent(
    conn: AsyncConnection, repository_id: int | None = None, *, limit: int = 50
) -> list[Incident]:
    """Read the latest Incidents whatever their status, newest first."""
    if repository_id is None:
        rows = await conn.execute(_NEWEST_FIRST, {"most": limit})
    else:
        rows = await conn.execute(_NEWEST_THERE, {"most": limit, "repository_id": repository_id})
    return [_incident(row) for row in rows]


CAME_TO_NOTHING = (IncidentStatus.DECLINED, IncidentStatus.DUPLICATE)


async def latest_about(
    conn: AsyncConnection,
    repository_id: int,
    kind: str,
    subject: str,
    *,
    besides: Sequence[IncidentStatus] = (),
) -> Incident | None:
    """Read the latest Incident about something, whatever its status; None if there is none.

    Args:
        conn: the caller's connection; nothing is written.
        repository_id: GitHub's id of the repository.
        kind: of Incident.
        subject: what it is about.
        besides: those with such a status are passed over.
    """
    return await _latest(
        conn,
        incidents.c.repository_id == repository_id,
        incidents.c.kind == kind,
        incidents.c.subject == subject,
        incidents.c.status.not_in(besides),
    )


async def resolved_about(
    conn: AsyncConnection, repository_id: int, kind: str, subject: str
) -> list[Incident]:
    """Read the resolved Incidents of a kind about something, newest first."""
    query = (
        sa.select(incidents)
        .where(
            incidents.c.repository_id == repository_id,
            incidents.c.kind == kind,
            incidents.c.subject == subject,
            incidents.c.status == IncidentStatus.RESOLVED,
        )
        .order_by(incidents.c.detected_at.desc(), incidents.c.id.desc())
    )
    return [_incident(row) for row in await conn.execute(query)]


async def count_about(
    conn: AsyncConnection, repository_id: int, topic: str, *, severity: Severity, since: datetime
) -> int:
    """Count the Incidents of a severity about one topic that were detected since then.

    The topic of an Incident is its `group_key`, else its `subject`. Alerts and Triggers that
    joined an open Incident made none.
    """
    query = (
        sa.select(sa.func.count())
        .select_from(incidents)
        .where(
            incidents.c.repository_id == repository_id,
            sa.func.coalesce(incidents.c.group_key, incidents.c.subject) == topic,
            incidents.c.severity == severity,
            incidents.c.detected_at >= since,
        )
    )
    return int((await conn.execute(query)).scalar_one())


async def move(
    conn: AsyncConnection,
    incident_id: str,
    to: IncidentStatus,
    *,
    at: datetime,
    expected_version: int | None = None,
    duplicate_of: str | None = None,
    reopen_window: timedelta = REOPEN_WINDOW,
) -> Incident:
    """Move an Incident along its life cycle. Moving it to where it already is changes nothing.

    Args:
        conn: the caller's transaction.
        incident_id: which Incident.
        to: its new status.
        at: now.
        expected_version: the version the decision was based on, where a person decided.
        duplicate_of: the Incident it repeats, when `to` is duplicate.
        reopen_window: how long a resolved Incident may become active again.

    Raises:
        UnknownRecord: there is no such Incident.
        IllegalMove: the life cycle does not allow it.
        StaleVersion: the Incident is no longer at `expected_version`.
        AlreadyOpen: reopening it would make two open Incidents about the same thing.
    """
    now = await _locked(conn, incident_id, expected_version)
    if now.status is to:
        return now
    if why := why_incident_cannot_move(
        now.status, to, at=at, resolved_at=now.resolved_at, reopen_window=reopen_window
    ):
        raise IllegalMove(why)
    changes: dict[str, Any] = {"status": to, **_times(now, to, at)}
    if duplicate_of is not None:
        changes["duplicate_of"] = duplicate_of
    try:
        async with conn.begin_nested():
            moved = await _change(conn, now, changes)
    except IntegrityError as error:
        raise AlreadyOpen(
            f"another incident about {now.subject} is open: work on that one"
        ) from error
    about = {"incident": moved.id, "repository_id": moved.repository_id, "severity": moved.severity}
    said = partial(
        log.info, "an incident changed its status", status=to, before=now.status, **about
    )
    once_committed(conn, said)
    return moved


async def refer(
    conn: AsyncConnection,
    incident_id: str,
    *,
    issue: int | None = None,
    adr: str | None = None,
    pull_request: int | None = None,
    suspect: str | None = None,
) -> Incident:
    """Note what belongs to an Incident; what is left out or already noted stays as it is.

    Args:
        conn: the caller's transaction.
        incident_id: which Incident.
        issue: the number of its incident issue.
        adr: the path of its ADR in the repository.
        pull_request: the number of one more pull request made for it.
        suspect: the commit or pull request that might be guilty.

    Raises:
        UnknownRecord: there is no such Incident.
    """
    now = await _locked(conn, incident_id)
    wanted: dict[str, Any] = {"issue": issue, "adr": adr, "suspect": suspect}
    changes = {name: value for name, value in wanted.items() if value is not None}
    if pull_request is not None and pull_request not in now.prs:
        changes["prs"] = [*now.prs, pull_request]
    changes = {name: value for name, value in changes.items() if getattr(now, name) != value}
    return await _change(conn, now, changes) if changes else now


async def count_alerts(conn: AsyncConnection, incident_id: str, count: int) -> Incident:
    """Note how many alerts an Incident stands for.

    Raises:
        UnknownRecord: there is no such Incident.
    """
    now = await _locked(conn, incident_id)
    count = max(count, 1)
    return now if now.alert_count == count else await _change(conn, now, {"alert_count": count})


async def set_severity(conn: AsyncConnection, incident_id: str, severity: Severity) -> Incident:
    """Change how bad an open Incident is; what was said at the end of another one stays true.

    Raises:
        UnknownRecord: there is no such Incident.
    """
    now = await _locked(conn, incident_id)
    unchanged = now.severity is severity or not now.is_open
    return now if unchanged else await _change(conn, now, {"severity": severity})


async def _new_row(conn: AsyncConnection, opening: Opening) -> dict[str, Any]:
    earlier = await _latest(
        conn,
        incidents.c.repository_id == opening.repository.id,
        incidents.c.kind == opening.kind,
        incidents.c.subject == opening.subject,
        incidents.c.status.in_([IncidentStatus.RESOLVED, IncidentStatus.CLOSED]),
    )
    acknowledged = opening.detected_at if opening.status is IncidentStatus.ACTIVE else None
    return {
        **opening.model_dump(exclude={"repository"}),
        "repository_id": opening.repository.id,
        "repository": opening.repository.full_name,
        "alert_count": 1,
        "acknowledged_at": acknowledged,
        "recurrence_of": earlier.id if earlier else None,
        "prs": [],
        "version": 1,
    }


async def _join(conn: AsyncConnection, opening: Opening) -> Incident:
    row = (
        await conn.execute(
            sa.update(incidents)
            .where(
                incidents.c.repository_id == opening.repository.id,
                incidents.c.kind == opening.kind,
                incidents.c.subject == opening.subject,
                incidents.c.status.in_(sorted(OPEN)),
            )
            .values(
                alert_count=incidents.c.alert_count + 1,
                version=incidents.c.version + 1,
            )
            .returning(incidents)
        )
    ).first()
    if row is None:
        raise StaleVersion("the incident was closed while joining it: try again")
    return _incident(row)


async def _latest(conn: AsyncConnection, *conditions: sa.ColumnElement[bool]) -> Incident | None:
    query = sa.select(incidents).where(*conditions)
    newest = query.order_by(incidents.c.detected_at.desc(), incidents.c.id.desc()).limit(1)
    row = (await conn.execute(newest)).first()
    return None if row is None else _incident(row)


async def _locked(
    conn: AsyncConnection, incident_id: str, expected_version: int | None = None
) -> Incident:
    query = sa.select(incidents).where(incidents.c.id == incident_id).with_for_update()
    row = (await conn.execute(query)).first()
    if row is None:
        raise UnknownRecord(f"there is no incident {incident_id}")
    now = _incident(row)
    if expected_version not in (None, now.version):
        raise StaleVersion(
            f"incident {incident_id} is at version {now.version}, not {expected_version}: "
            "look at it again"
        )
    return now


async def _change(conn: AsyncConnection, now: Incident, changes: dict[str, Any]) -> Incident:
    changed = await conn.execute(
        sa.update(incidents)
        .where(incidents.c.id == now.id, incidents.c.version == now.version)
        .values(**changes, version=now.version + 1)
        .returning(incidents)
    )
    row = changed.first()
    if row is None:
        raise StaleVersion(f"incident {now.id} changed while it was being written: try again")
    return _incident(row)


def _times(now: Incident, to: IncidentStatus, at: datetime) -> dict[str, datetime | None]:
    if to is IncidentStatus.ACTIVE:
        return {
            "acknowledged_at": now.acknowledged_at or at,
            "mitigated_at": None,
            "resolved_at": None,
        }
    if to is IncidentStatus.MITIGATED:
        return {"mitigated_at": at}
    if to is IncidentStatus.RESOLVED:
        return {"resolved_at": at}
    return {"closed_at": at}


def _incident(row: sa.Row[Any]) -> Incident:
    return Incident.model_validate(dict(row._mapping))
