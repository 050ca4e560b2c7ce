"""An incident about a group of alerts: opened, joined, or taken up again when it fires anew."""

from __future__ import annotations

from datetime import datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.playbooks.incidents.opening import Opened
from bot.playbooks.run import Run
from bot.playbooks.triage import text as words
from bot.records.audit_chain import audit
from bot.records.audit_chain.anchors import sign
from bot.records.intake import alerts
from bot.records.intake.alerts import Group
from bot.records.lifecycle import REOPEN_WINDOW, IncidentStatus, RunState
from bot.records.notices.announcing import announce
from bot.records.recovery import incidents, runs
from bot.records.recovery.incidents import Incident, Opening
from bot.triggers import Severity, Trigger, Value, derived_id

KIND = "alert"
_ORDER = list(Severity)


class Triaged(Value):
    """The incident, and the group as it was when it was opened."""

    opened: Opened
    group: Group


def severity_of(group: Group) -> Severity:
    """The worst of what fires; of what has cleared, where nothing fires any more."""
    firing = [each for each in group.conditions if each.firing] or list(group.conditions)
    return max((each.said.severity for each in firing), key=_ORDER.index, default=Severity.MEDIUM)


def began_at(group: Group, detected: datetime) -> datetime:
    """When it began: never after we heard of it, whatever the senders' clocks say."""
    return min([each.at for each in group.conditions] + [detected])


async def open_for_group(
    run: Run, trigger: Trigger, group_id: str, *, signing_key: Ed25519PrivateKey
) -> Triaged | None:
    """Open the incident of a group with its audit entry and notifications; None: no such group.

    What was resolved a short while ago is taken up again: it fires anew.
    """
    now = await run.now()

    async def change(conn: AsyncConnection) -> Triaged | None:
        group = await alerts.find(conn, group_id, lock=True)
        if group is None:
            return None
        incident, action = await _incident(conn, trigger, group, now)
        incident = await incidents.count_alerts(conn, incident.id, group.received)
        over = "it was over before it was heard of" if group.is_clear else None
        await announce(conn, incident, at=now, spared=over)
        await runs.note(conn, run.id, at=now, incident_id=incident.id)
        for state in (RunState.RUNNING, RunState.VERIFYING):
            await runs.move(conn, run.id, state, at=now)
        attempt = sum(1 for r in await runs.of_incident(conn, incident.id) if r.id != run.id) + 1
        entry = await audit.append(
            conn,
            trigger.repository.id,
            action,
            actor=trigger.actor.login,
            at=now,
            incident=incident.id,
            run=run.id,
            refs={"group": group.group_key, "source": group.source},
            data={
                "reason": group.title,
                "severity": incident.severity,
                "episode": group.episode,
                "conditions": len(group.conditions),
            },
        )
        anchor = sign(entry.head, signing_key, now)
        opened = Opened(incident=incident, joined=False, attempt=attempt, anchor=anchor)
        return Triaged(opened=opened, group=group)

    # `Triaged | None` is a type, and only used to read the result back.
    return await run.write("open the incident", Triaged | None, change)  # type: ignore[arg-type]


async def _incident(
    conn: AsyncConnection, trigger: Trigger, group: Group, now: datetime
) -> tuple[Incident, str]:
    subject = f"alerts:{group.id}"
    latest = await incidents.latest_about(conn, group.repository_id, KIND, subject)
    resolved_at = latest.resolved_at if latest else None
    if (
        latest is not None
        and latest.status is IncidentStatus.RESOLVED
        and resolved_at is not None
        and now - resolved_at <= REOPEN_WINDOW
    ):
        return (
            await incidents.move(conn, latest.id, IncidentStatus.ACTIVE, at=now),
            "incident.reopened",
        )
    opening = Opening(
        id=derived_id(trigger.key, trigger.received_at),
        repository=trigger.repository,
        kind=KIND,
        subject=subject,
        title=words.title(group),
        severity=severity_of(group),
        source=trigger.source.kind,
        source_url=trigger.source.url,
        opened_by=trigger.actor.login,
        detected_at=trigger.received_at,
        started_at=began_at(group, trigger.received_at),
        group_key=group.group_key,
        dedup_key=group.conditions[0].fingerprint if group.conditions else None,
    )
    incident, _ = await incidents.open_or_join(conn, opening)
    return incident, "incident.opened"
