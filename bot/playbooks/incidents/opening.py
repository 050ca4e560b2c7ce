"""A Run begins with its incident: opened, or joined where it is open about the same thing."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import JsonValue
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.playbooks.run import Run
from bot.playbooks.steps import Step
from bot.records import budgets, incidents, runs
from bot.records.audit import chain
from bot.records.audit.anchors import Anchor, sign
from bot.records.incidents import Incident, Opening
from bot.records.lifecycle import RunState
from bot.records.notifications import announce
from bot.triggers import OURSELVES, Severity, SourceKind, Trigger, Value, derived_id

Refs = dict[str, JsonValue]
"""What an audit entry refers to, by name."""


class NewIncident(Value):
    """What is wrong, as the Run that opens its incident knows it.

    Attributes:
        kind: the playbook.
        subject: what it is about; one of a kind is open about a subject at a time.
        title: plain text.
        severity: how bad it is.
        reason: in the words of whoever asked.
        refs: what its audit entry refers to.
        about: the group of alerts that it follows from, if one does.
    """

    kind: str
    subject: str
    title: str
    severity: Severity
    reason: str
    refs: Refs
    about: str | None = None


class Opened(Value):
    """The incident as this Run found or made it, and which attempt at it this Run is.

    `joined` says that another Run is at work on it: there is nothing for this one to do.
    `overtaken` says that it ended while this Run planned: nothing was opened, and what was planned
    is planned again.
    """

    incident: Incident
    joined: bool
    attempt: int
    anchor: Anchor
    overtaken: bool = False


async def open_incident(
    run: Run,
    trigger: Trigger,
    found: NewIncident,
    signing_key: Ed25519PrivateKey,
    *,
    planned_after: str | None = None,
    can_plan_again: bool = False,
) -> Opened:
    """Open the incident with its audit entry, or join the one that is open about the same thing.

    An open incident that no live Run works on any more is taken up again as a further attempt.

    Args:
        run: the Run that begins.
        trigger: what asked for it.
        found: what is wrong.
        signing_key: signs the audit chain's new head.
        planned_after: the earlier incident about it that the plan knows to be over.
        can_plan_again: whether to open nothing where another one has ended meanwhile.
    """
    now = await run.now()
    opening = Opening(
        id=derived_id(trigger.key, trigger.received_at),
        repository=trigger.repository,
        kind=found.kind,
        subject=found.subject,
        title=found.title,
        severity=found.severity,
        source=trigger.source.kind,
        source_url=trigger.source.url,
        opened_by=trigger.actor.login,
        detected_at=trigger.received_at,
        suspect=found.subject,
        group_key=found.about,
    )

    async def overtaken(conn: AsyncConnection, by: Incident) -> Opened:
        entry = await chain.append(
            conn,
            trigger.repository.id,
            "plan.overtaken",
            actor=trigger.actor.login,
            at=now,
            incident=by.id,
            run=run.id,
            refs=found.refs,
            data={"reason": f"incident {by.id} ended while this was planned"},
        )
        anchor = sign(entry.head, signing_key, now)
        return Opened(incident=by, joined=False, attempt=1, anchor=anchor, overtaken=True)

    async def change(conn: AsyncConnection) -> Opened:
        async with conn.begin_nested() as opens:
            incident, existed = await incidents.open_or_join(conn, opening)
            before = await _ended_meanwhile(conn, incident, trigger) if can_plan_again else None
            is_overtaken = before is not None and before.id != planned_after
            if is_overtaken:
                await opens.rollback()
        if before is not None and is_overtaken:
            return await overtaken(conn, before)
        earlier = [r for r in await runs.of_incident(conn, incident.id) if r.id != run.id]
        joined = existed and any(r.is_live for r in earlier)
        if joined:
            # It did nothing: the Run at work on the incident was counted.
            await budgets.give_back(conn, trigger.repository.id, trigger.key)
            why = f"joined incident {incident.id}"
            await runs.note(conn, run.id, at=now, joined_incident=incident.id)
            await runs.move(conn, run.id, RunState.CANCELLED, at=now, reason=why)
        else:
            await runs.note(conn, run.id, at=now, incident_id=incident.id)
            await runs.move(conn, run.id, RunState.RUNNING, at=now)
        attempt = len(earlier) + 1
        if not existed:
            await announce(conn, incident, at=now, spared=_told_already(trigger))
        entry = await chain.append(
            conn,
            trigger.repository.id,
            "incident.joined" if joined else "incident.opened",
            actor=trigger.actor.login,
            at=now,
            incident=incident.id,
            run=run.id,
            refs=found.refs,
            data={"reason": found.reason, "severity": found.severity, "attempt": attempt},
        )
        return Opened(
            incident=incident,
            joined=joined,
            attempt=attempt,
            anchor=sign(entry.head, signing_key, now),
        )

    return await run.write(Step.OPEN_INCIDENT, Opened, change)


async def _ended_meanwhile(
    conn: AsyncConnection, opened: Incident, trigger: Trigger
) -> Incident | None:
    """The earlier incident about the same thing that ended after the request had come."""
    if opened.recurrence_of is None:
        return None
    earlier = await incidents.find(conn, opened.recurrence_of)
    if earlier is None:
        return None
    ended = earlier.resolved_at or earlier.closed_at
    return earlier if ended is not None and ended >= trigger.received_at else None


def _told_already(trigger: Trigger) -> str | None:
    """Why nobody is told of the incident: what follows from an alert has been told with it."""
    if trigger.actor == OURSELVES and trigger.source.kind is SourceKind.ALERT:
        return "told with the alert's own incident"
    return None
