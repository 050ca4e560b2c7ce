"""Who hears of an incident? Decided purely, and put into the outbox beside the incident itself."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from bot.records.notices import outbox
from bot.records.recovery import incidents
from bot.records.recovery.incidents import Incident
from bot.triggers import Severity

FOUNDER, TEAM = "founder", "team"
REPEATED = 2
"""So many Medium incidents about one thing within `REPEATED_WITHIN` are told to the Founder."""
REPEATED_WITHIN = timedelta(days=7)


def why_founder_is_spared(severity: Severity, mediums: int) -> str | None:
    """Say why the Founder does not hear of an incident; None where they do.

    Args:
        severity: of the incident.
        mediums: Medium incidents about the same thing in the last days, this one included.
    """
    if severity in (Severity.HIGH, Severity.CRITICAL):
        return None
    if severity is Severity.LOW:
        return "the severity is low"
    if mediums >= REPEATED:
        return None
    days = REPEATED_WITHIN.days
    return f"the severity is medium, for the first time about this within {days} days"


def why_team_is_spared(severity: Severity) -> str | None:
    """Say why the team does not hear of an incident; None where it does."""
    return "the severity is low" if severity is Severity.LOW else None


async def announce(
    conn: AsyncConnection, incident: Incident, *, at: datetime, spared: str | None = None
) -> None:
    """Put what the Founder and the team hear of an incident into the outbox, once each.

    Doing it again after the severity rose sends what was held back; what was sent is never sent
    twice.

    Args:
        conn: the transaction that opens or changes the incident.
        incident: it.
        at: now.
        spared: why nobody is told, where the circumstances say so.
    """
    mediums = await incidents.count_about(
        conn,
        incident.repository_id,
        incident.topic,
        severity=Severity.MEDIUM,
        since=at - REPEATED_WITHIN,
    )
    title = f"{incident.severity.upper()} in {incident.repository}"
    for audience, silence in (
        (FOUNDER, why_founder_is_spared(incident.severity, mediums)),
        (TEAM, why_team_is_spared(incident.severity)),
    ):
        await outbox.post(
            conn,
            f"{incident.id}:{audience}",
            repository_id=incident.repository_id,
            incident_id=incident.id,
            audience=audience,
            title=title,
            body=incident.title,
            at=at,
            suppressed_because=spared or silence,
        )
