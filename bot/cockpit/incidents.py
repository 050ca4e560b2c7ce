"""The list of incidents, and one incident: its story, and what can be done about it."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from bot.cockpit.actions import answer_to_show
from bot.cockpit.deciding import Approvals
from bot.cockpit.filters import KINDS, OPEN_WORD, identity, incident_filter
from bot.cockpit.routes import AccessRule, PageRoute
from bot.cockpit.visit import PageRefused, Visit
from bot.cockpit.words import action_said, can_retry, what_next
from bot.playbooks.incidents.record_files import RECORDS_BRANCH
from bot.records.audit.chain import AuditEntry
from bot.records.lifecycle import IncidentStatus
from bot.triggers import Severity

PER_PAGE = 50
MOST_TOLD = 500


class IncidentPages:
    """`/ui/incidents` and `/ui/incidents/{incident}`."""

    def __init__(self, deciding: Approvals) -> None:
        """`deciding` says what a visitor may decide."""
        self._deciding = deciding

    def routes(self) -> tuple[PageRoute, ...]:
        """Their addresses."""
        return (
            PageRoute("GET", "/incidents", self.index, AccessRule.SIGNED_IN),
            PageRoute("GET", "/incidents/{incident}", self.page, AccessRule.SIGNED_IN),
        )

    async def index(self, visit: Visit) -> web.StreamResponse:
        """Every incident, the newest first."""
        sight, chosen = visit.narrowed()
        wanted = incident_filter(visit.query)
        before = identity(visit.query, "before")
        async with visit.window(sight) as window:
            found = await window.newest(wanted, before=before, limit=PER_PAGE + 1)
        return visit.page(
            "incidents.html",
            chosen=chosen,
            incidents=found[:PER_PAGE],
            more=found[PER_PAGE - 1].id if len(found) > PER_PAGE else None,
            statuses=[OPEN_WORD, *IncidentStatus],
            severities=list(reversed(Severity)),
            kinds=KINDS,
        )

    async def page(self, visit: Visit) -> web.StreamResponse:
        """One incident."""
        async with visit.window() as window:
            incident = await window.incident(visit.request.match_info["incident"])
            if incident is None:
                raise PageRefused(
                    404,
                    "There is no such incident among those you can see.",
                    "It may be in a repository you have no access to.",
                )
            runs = (await window.runs_of([incident.id]))[incident.id]
            steps = {run.id: await window.steps_of(run) for run in runs}
            approvals = {run.id: await window.approval_of(run) for run in runs}
            waiting = await window.asked_a_founder()
            timeline = await window.timeline(incident)
            before = incident.recurrence_of or incident.duplicate_of
            earlier = await window.incident(before) if before else None
            shown = await answer_to_show(visit, window)
        seen = visit.sight.seen[incident.repository_id]
        asked = {
            run: await self._deciding.question(
                approval, seen.repository, visit.who.login, visit.now
            )
            for run, approval in approvals.items()
            if approval is not None
        }
        return visit.page(
            "incident.html",
            incident=incident,
            seen=seen,
            runs=runs,
            steps=steps,
            asked=asked,
            irreversible=_irreversible(timeline),
            timeline=timeline[-MOST_TOLD:],
            left_out=max(0, len(timeline) - MOST_TOLD),
            earlier=earlier,
            next=what_next(incident, runs, waiting),
            can_retry=can_retry(incident, runs),
            said=action_said,
            records_branch=RECORDS_BRANCH,
            severities=list(reversed(Severity)),
            request_answer=shown,
        )


def _irreversible(timeline: Sequence[AuditEntry]) -> dict[str, list[str]]:
    """The paths that a Founder was asked about last, by Run."""
    found: dict[str, list[str]] = {}
    for entry in timeline:
        paths = entry.refs.get("irreversible")
        if entry.run and isinstance(paths, list):
            found[entry.run] = [str(each) for each in paths]
    return found
