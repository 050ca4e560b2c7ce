"""What is looked at together: lists of incidents and Runs over several repositories, and figures.

Every function takes the ids of the repositories that may be looked at, and reads nothing else.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from statistics import median
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.records.incidents import Incident
from bot.records.lifecycle import LEFT_TO_PEOPLE, OPEN, IncidentStatus, RunState
from bot.records.runs import StoredRun
from bot.records.tables.intake import answers
from bot.records.tables.recovery import incidents, progress, runs
from bot.records.tables.safety import audit_entries, audit_heads, budget_windows, config_questions
from bot.records.tables.traffic import evidence
from bot.triggers import Severity, Value

Ids = Collection[int]

_GRAVEST_FIRST = sa.case(
    {each: place for place, each in enumerate(reversed(Severity))},
    value=incidents.c.severity,
    else_=len(Severity),
)
_MOST_TIMED = 200
_LONGEST_WINDOW = timedelta(days=32)


class Filter(Value):
    """Which incidents are wanted; None and empty mean all. `words` are looked for in titles."""

    statuses: tuple[IncidentStatus, ...] = ()
    severity: Severity | None = None
    kind: str | None = None
    words: str = ""


class Times(Value):
    """How long incidents took, over `count` of them; None where there was none to measure."""

    count: int
    to_mitigate: timedelta | None
    to_resolve: timedelta | None

    @property
    def is_cut(self) -> bool:
        """Whether there were more than are measured."""
        return self.count >= _MOST_TIMED


async def gravest(
    conn: AsyncConnection, repositories: Ids, wanted: Filter, *, limit: int
) -> list[Incident]:
    """Read incidents, the gravest first, of equal ones the newest."""
    query = _filtered(repositories, wanted)
    newest = query.order_by(_GRAVEST_FIRST, incidents.c.id.desc()).limit(limit)
    return [_incident(row) for row in await conn.execute(newest)]


async def these(
    conn: AsyncConnection, repositories: Ids, incident_ids: Collection[str]
) -> dict[str, Incident]:
    """Read incidents by their ids; those that are not there, or elsewhere, are left out."""
    if not incident_ids:
        return {}
    query = sa.select(incidents).where(
        incidents.c.id.in_(incident_ids), incidents.c.repository_id.in_(repositories)
    )
    return {row.id: _incident(row) for row in await conn.execute(query)}


async def newest(
    conn: AsyncConnection,
    repositories: Ids,
    wanted: Filter,
    *,
    before: str | None = None,
    limit: int,
) -> list[Incident]:
    """Read incidents, the newest first, from the one that follows `before`."""
    query = _filtered(repositories, wanted)
    if before is not None:
        query = query.where(incidents.c.id < before)
    rows = await conn.execute(query.order_by(incidents.c.id.desc()).limit(limit))
    return [_incident(row) for row in rows]


async def count_open(conn: AsyncConnection, repositories: Ids) -> Mapping[Severity, int]:
    """Count the open incidents by severity."""
    query = (
        _filtered(repositories, Filter(statuses=tuple(sorted(OPEN))))
        .with_only_columns(incidents.c.severity, sa.func.count())
        .group_by(incidents.c.severity)
    )
    return {Severity(row[0]): int(row[1]) for row in await conn.execute(query)}


async def lately_resolved(
    conn: AsyncConnection, repositories: Ids, *, limit: int
) -> list[Incident]:
    """Read the incidents that were resolved last."""
    query = (
        sa.select(incidents)
        .where(incidents.c.repository_id.in_(repositories), incidents.c.resolved_at.is_not(None))
        .order_by(incidents.c.resolved_at.desc(), incidents.c.id.desc())
        .limit(limit)
    )
    return [_incident(row) for row in await conn.execute(query)]


async def times(conn: AsyncConnection, repositories: Ids, *, since: datetime) -> Times:
    """Measure the incidents resolved since then (the last two hundred): medians."""
    query = (
        sa.select(incidents.c.detected_at, incidents.c.mitigated_at, incidents.c.resolved_at)
        .where(incidents.c.repository_id.in_(repositories), incidents.c.resolved_at >= since)
        .order_by(incidents.c.resolved_at.desc())
        .limit(_MOST_TIMED)
    )
    rows = (await conn.execute(query)).all()
    mitigated = [row.mitigated_at - row.detected_at for row in rows if row.mitigated_at]
    return Times(
        count=len(rows),
        to_mitigate=median(mitigated) if mitigated else None,
        to_resolve=median(row.resolved_at - row.detected_at for row in rows) if rows else None,
    )


async def live_runs_of(
    conn: AsyncConnection, repositories: Ids, incident_id: str
) -> list[StoredRun]:
    """Read the Runs of an incident that may still do something, oldest first."""
    query = sa.select(runs).where(*_live(repositories), runs.c.incident_id == incident_id)
    return [_run(row) for row in await conn.execute(query.order_by(runs.c.id))]


async def live_runs(
    conn: AsyncConnection, repositories: Ids, *, limit: int, besides: Collection[str] = ()
) -> list[StoredRun]:
    """Read the Runs that may still do something, oldest first; `besides`: not these incidents'."""
    query = sa.select(runs).where(*_live(repositories), _besides(besides))
    oldest = query.order_by(runs.c.created_at, runs.c.id).limit(limit)
    return [_run(row) for row in await conn.execute(oldest)]


async def count_live(
    conn: AsyncConnection, repositories: Ids, *, besides: Collection[str] = ()
) -> int:
    """Count the Runs that may still do something; `besides`: not these incidents'."""
    query = sa.select(sa.func.count()).select_from(runs)
    query = query.where(*_live(repositories), _besides(besides))
    return int((await conn.execute(query)).scalar_one())


# Which Run of an incident says where it stands: the one at work; of those that are over, the newest
# that told people something.
_LEADING = (
    sa.select(runs.c.id)
    .where(runs.c.incident_id == incidents.c.id)
    .order_by(
        runs.c.finished_at.is_(None).desc(),
        runs.c.standing.is_not(None).desc(),
        runs.c.created_at.desc(),
        runs.c.id.desc(),
    )
    .limit(1)
    .correlate(incidents)
    .scalar_subquery()
)


async def needing_somebody(conn: AsyncConnection, repositories: Ids) -> list[str]:
    """Which open incidents wait for a person? Their ids, the gravest first, then the oldest.

    Whatever they wait for: a yes, a mended check, a review, or that anybody begins. The Run that
    counts is the leading one.
    """
    query = (
        sa.select(incidents.c.id)
        .select_from(incidents.outerjoin(runs, runs.c.id == _LEADING))
        .where(
            incidents.c.repository_id.in_(repositories),
            incidents.c.status.in_(sorted(OPEN)),
            sa.or_(
                runs.c.id.is_(None),
                runs.c.state.in_(sorted(LEFT_TO_PEOPLE)),
                runs.c.standing["state"].as_string() == "needs you",
            ),
        )
        .order_by(_GRAVEST_FIRST, incidents.c.id)
    )
    return list((await conn.execute(query)).scalars())


async def leading_runs(
    conn: AsyncConnection, repositories: Ids, incident_ids: Collection[str]
) -> dict[str, StoredRun]:
    """Read the Run of each of these incidents that says where it stands, by incident."""
    query = (
        sa.select(runs)
        .select_from(incidents.join(runs, runs.c.id == _LEADING))
        .where(incidents.c.id.in_(incident_ids), incidents.c.repository_id.in_(repositories))
    )
    return {row.incident_id: _run(row) for row in await conn.execute(query)}


async def runs_of(
    conn: AsyncConnection,
    repositories: Ids,
    incident_id: str,
    *,
    before: str | None = None,
    limit: int,
) -> list[StoredRun]:
    """Read the newest Runs of an incident, or those before one, newest first."""
    query = sa.select(runs).where(
        runs.c.incident_id == incident_id, runs.c.repository_id.in_(repositories)
    )
    if before is not None:
        query = query.where(runs.c.id < before)
    rows = await conn.execute(query.order_by(runs.c.id.desc()).limit(limit))
    return [_run(row) for row in rows]


async def usual_duration(
    conn: AsyncConnection, repositories: Ids, playbook: str
) -> timedelta | None:
    """How long a playbook takes here: the median of its last 20 successes; None: never so far."""
    query = (
        sa.select(runs.c.created_at, runs.c.finished_at)
        .where(
            runs.c.repository_id.in_(repositories),
            runs.c.playbook == playbook,
            runs.c.state == RunState.SUCCEEDED,
        )
        .order_by(runs.c.id.desc())
        .limit(20)
    )
    took = [row.finished_at - row.created_at for row in await conn.execute(query)]
    return median(took) if took else None


async def heads(conn: AsyncConnection, repositories: Ids) -> dict[int, tuple[int, str]]:
    """Read the ends of the audit chains: number and hash of the last entry, by repository."""
    query = sa.select(audit_heads).where(
        audit_heads.c.repository_id.in_(repositories), audit_heads.c.seq > 0
    )
    return {row.repository_id: (row.seq, row.head_hash) for row in await conn.execute(query)}


async def spent_lately(conn: AsyncConnection, now: datetime) -> dict[int, int]:
    """How much was drawn on budgets and caps in windows that may still be open, by repository.

    Units of different budgets are added: the sum says that something changed, not how much.
    """
    amount = sa.func.sum(budget_windows.c.reserved + 2 * budget_windows.c.spent)
    query = (
        sa.select(budget_windows.c.repository_id, amount)
        .where(budget_windows.c.began_at > now - _LONGEST_WINDOW)
        .group_by(budget_windows.c.repository_id)
    )
    return {row[0]: int(row[1]) for row in await conn.execute(query) if row[1]}


async def marks(conn: AsyncConnection, now: datetime) -> dict[int, str]:
    """Read, for each repository, a mark that changes whenever something to look at changes."""
    live = (
        sa.select(
            runs.c.repository_id,
            sa.func.count().label("runs"),
            sa.func.sum(runs.c.version).label("versions"),
            sa.func.sum(sa.func.coalesce(progress.c.version, 0)).label("shown"),
        )
        .select_from(runs.outerjoin(progress, progress.c.run_id == runs.c.id))
        .where(runs.c.finished_at.is_(None))
        .group_by(runs.c.repository_id)
    )
    parts: dict[int, list[str]] = {}
    for head in await conn.execute(sa.select(audit_heads.c.repository_id, audit_heads.c.seq)):
        parts.setdefault(head.repository_id, []).append(f"audit {head.seq}")
    for at_work in await conn.execute(live):
        counted = (at_work.runs, at_work.versions, at_work.shown)
        parts.setdefault(at_work.repository_id, []).append(f"runs {counted}")
    lately = (
        sa.select(answers.c.repository_id, answers.c.run_id, answers.c.outcome)
        .order_by(answers.c.at.desc())
        .limit(20)
    )
    for answer in await conn.execute(lately):
        said = f"answer {answer.run_id} {answer.outcome}"
        parts.setdefault(answer.repository_id, []).append(said)
    watched = sa.select(evidence.c.repository_id, evidence.c.attempt, evidence.c.seq).where(
        evidence.c.closed_at.is_(None)
    )
    for lane in await conn.execute(watched):
        parts.setdefault(lane.repository_id, []).append(f"evidence {lane.attempt} {lane.seq}")
    for asked in await conn.execute(sa.select(config_questions)):
        said = f"configuration {asked.number} {asked.digest} {asked.commit_sha}"
        parts.setdefault(asked.repository_id, []).append(said)
    for repository, amount in (await spent_lately(conn, now)).items():
        parts.setdefault(repository, []).append(f"spent {amount}")
    return {repository: "; ".join(found) for repository, found in parts.items()}


async def incidents_told_of(
    conn: AsyncConnection, repository_id: int, *, after: int, limit: int = 50
) -> list[str]:
    """Which incidents did the audit entries after this number tell of? Each once, in order."""
    query = (
        sa.select(audit_entries.c.incident)
        .where(
            audit_entries.c.repository_id == repository_id,
            audit_entries.c.seq > after,
            audit_entries.c.incident.is_not(None),
        )
        .order_by(audit_entries.c.seq)
        .limit(limit)
    )
    return list(dict.fromkeys((await conn.execute(query)).scalars()))


async def search_audit(
    conn: AsyncConnection,
    repository_id: int,
    *,
    words: str = "",
    actor: str = "",
    before: int | None = None,
    limit: int,
) -> list[int]:
    """Find audit entries, newest first; their numbers."""
    table = audit_entries.c
    query = sa.select(table.seq).where(table.repository_id == repository_id)
    if before is not None:
        query = query.where(table.seq < before)
    if actor:
        query = query.where(sa.func.lower(table.actor) == actor.lower())
    if words:
        anywhere = [table.action, table.refs, table.data, table.incident, table.run, table.actor]
        query = query.where(sa.or_(*(each.icontains(words, autoescape=True) for each in anywhere)))
    return list((await conn.execute(query.order_by(table.seq.desc()).limit(limit))).scalars())


def _filtered(repositories: Ids, wanted: Filter) -> sa.Select[Any]:
    query = sa.select(incidents).where(incidents.c.repository_id.in_(repositories))
    if wanted.statuses:
        query = query.where(incidents.c.status.in_(wanted.statuses))
    if wanted.severity is not None:
        query = query.where(incidents.c.severity == wanted.severity)
    if wanted.kind is not None:
        query = query.where(incidents.c.kind == wanted.kind)
    if wanted.words:
        query = query.where(incidents.c.title.icontains(wanted.words, autoescape=True))
    return query


def _live(repositories: Ids) -> tuple[sa.ColumnElement[bool], ...]:
    return runs.c.finished_at.is_(None), runs.c.repository_id.in_(repositories)


def _besides(incident_ids: Collection[str]) -> sa.ColumnElement[bool]:
    return sa.or_(runs.c.incident_id.is_(None), runs.c.incident_id.not_in(incident_ids))


def _incident(row: sa.Row[Any]) -> Incident:
    return Incident.model_validate(dict(row._mapping))


def _run(row: sa.Row[Any]) -> StoredRun:
    return StoredRun.model_validate(dict(row._mapping))
