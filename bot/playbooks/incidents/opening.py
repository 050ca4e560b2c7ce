"""A Run begins with its incident: opened, or joined where it is open about the same thing."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import JsonValue
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.playbooks.run import Run
from bot.records.audit_chain import audit
from bot.records.audit_chain.anchors import Anchor, sign
from bot.records.lifecycle import RunState
from bot.records.notices.announcing import announce
from bot.records.recovery import incidents, runs
from bot.records.recovery.incidents import Incident, Opening
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
    """

    incident: Incident
    joined: bool
    attempt: int
    anchor: Anchor


async def open_incident(
    run: Run,
    trigger: Trigger,
    found: NewIncident,
    signing_key: Ed25519PrivateKey,
) -> Opened:
    """Open the incident with its audit entry, or join the one that is open about the same thing.

    An open incident that no live Run works on any more is taken up again as a further attempt.

    Args:
        run: the Run that begins.
        trigger: what asked for it.
        found: what is wrong.
        signing_key: signs the audit chain's new head.
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

    async def change(conn: AsyncConnection) -> Opened:
        incident, existed = await incidents.open_or_join(conn, opening)
        earlier = [r for r in await runs.of_incident(conn, incident.id) if r.id != run.id]
        joined = existed and any(r.is_live for r in earlier)
        await runs.note(conn, run.id, at=now, incident_id=incident.id)
        if joined:
            why = f"joined incident {incident.id}"
            await runs.move(conn, run.id, RunState.CANCELLED, at=now, reason=why)
        else:
            await runs.move(conn, run.id, RunState.RUNNING, at=now)
        attempt = len(earlier) + 1
        if not existed:
            await announce(conn, incident, at=now, spared=_told_already(trigger))
        entry = await audit.append(
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

    return await run.write("open the incident", Opened, change)


def _told_already(trigger: Trigger) -> str | None:
    """Why nobody is told of the incident: what follows from an alert has been told with it."""
    if trigger.actor == OURSELVES and trigger.source.kind is SourceKind.ALERT:
        return "told with the alert's own incident"
    return None
