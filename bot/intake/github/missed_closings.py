"""Issues of incidents that a person closed, or opened again, as no delivery told.

https://docs.github.com/en/rest/issues/events#list-issue-events
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncEngine

from bot.github.calls.repository import Shown
from bot.github.client import RepositoryClient
from bot.intake.github import payloads
from bot.intake.github.meanings import INCIDENT_LABEL
from bot.records import incidents


async def moved_since(
    client: RepositoryClient, records: AsyncEngine, issues: Iterable[Shown], since: datetime
) -> list[tuple[Shown, Shown]]:
    """Read which issues stand otherwise than their incidents: each with what happened to it last.

    Where they agree, and they nearly always do, nothing is asked.

    Args:
        client: the repository.
        records: have the incidents.
        issues: those that anything happened to.
        since: what happened before is none of our business.
    """
    found = []
    for issue in issues:
        number = payloads.number(issue, "number")
        if number is None or INCIDENT_LABEL not in payloads.label_names(issue):
            continue
        async with records.connect() as conn:
            incident = await incidents.find_by_issue(conn, client.repository.id, number)
        if incident is None or incident.is_open is (issue.get("state") == "open"):
            continue
        events = await client.changes.events(number, "closed", "reopened")
        if events and datetime.fromisoformat(str(events[-1]["created_at"])) >= since:
            found.append((issue, events[-1]))
    return found
