"""The pages of incidents and bisects."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from bot.cockpit.actions import Approvals, answer_to_show
from bot.cockpit.render import BarChart, bars_of
from bot.cockpit.request import (
    KINDS,
    OPEN_WORD,
    AccessRule,
    PageRefused,
    PageRoute,
    Visit,
    identity,
    incident_filter,
)
from bot.cockpit.text import action_said, can_retry, what_next
from bot.playbooks.incident.record_files import RECORDS_BRANCH
from bot.records.audit.chain import AuditEntry
from bot.records.bisects import MOST_SUSPECTS
from bot.records.lifecycle import IncidentStatus
from bot.triggers import Severity


class BisectPages:
    """`/ui/bisects/{run}`."""

    def routes(self) -> tuple[PageRoute, ...]:
        """Its address."""
        return (PageRoute("GET", "/bisects/{run}", self.page, AccessRule.SIGNED_IN),)

    async def page(self, visit: Visit) -> web.StreamResponse:
        """Show how far a bisect is, and what it found."""
        async with visit.window() as window:
            run = await window.run(visit.request.match_info["run"])
            if run is None or run.playbook != "bisect":
                raise PageRefused(404, "There is no such bisect among those you can see.")
            progress = await window.progress_of(run)
            incident = await window.incident(run.incident_id) if run.incident_id else None
            shown = await answer_to_show(visit, window)
        chart: BarChart | None = bars_of(progress.bars) if progress and progress.bars else None
        seen = visit.sight.seen[run.repository_id]
        return visit.page(
            "bisect.html",
            run=run,
            waits=run.is_live and run.standing is not None and run.standing.state == "needs you",
            seen=seen,
            incident=incident,
            progress=progress,
            is_cut=progress is not None and len(progress.suspects) == MOST_SUSPECTS,
            chart=chart,
            request_answer=shown,
        )


PER_PAGE = 50
MOST_RUNS = 25
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
        """One incident; of its Runs the newest, or those `before` one, and those at work."""
        before = identity(visit.query, "before")
        async with visit.window() as window:
            incident = await window.incident(visit.request.match_info["incident"])
            if incident is None:
                raise PageRefused(
                    404,
                    "There is no such incident among those you can see.",
                    "It may be in a repository you have no access to.",
                )
            found = await window.runs_of(incident, before=before, limit=MOST_RUNS + 1)
            live = await window.live_runs_of(incident)
            newest = found if before is None else await window.runs_of(incident, limit=1)
            lead = (await window.leading_runs([incident.id])).get(incident.id)
            shown = {run.id: run for run in (*reversed(found[:MOST_RUNS]), *live)}
            runs = sorted(shown.values(), key=lambda each: (each.created_at, each.id))
            steps = {run.id: await window.steps_of(run) for run in runs}
            approvals = {run.id: await window.approval_of(run) for run in runs}
            waiting = await window.asked_a_founder()
            timeline = await window.timeline(incident)
            other = incident.recurrence_of or incident.duplicate_of
            earlier = await window.incident(other) if other else None
            answer = await answer_to_show(visit, window)
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
            live=live,
            lead=lead,
            before=before,
            more=found[MOST_RUNS - 1].id if len(found) > MOST_RUNS else None,
            steps=steps,
            asked=asked,
            irreversible=_irreversible(timeline),
            timeline=timeline[-MOST_TOLD:],
            left_out=max(0, len(timeline) - MOST_TOLD),
            earlier=earlier,
            next=what_next(incident, lead, waiting),
            can_retry=can_retry(incident, newest[0] if newest else None),
            said=action_said,
            records_branch=RECORDS_BRANCH,
            severities=list(reversed(Severity)),
            request_answer=answer,
        )


def _irreversible(timeline: Sequence[AuditEntry]) -> dict[str, list[str]]:
    """The paths that a Founder was asked about last, by Run."""
    found: dict[str, list[str]] = {}
    for entry in timeline:
        paths = entry.refs.get("irreversible")
        if entry.run and isinstance(paths, list):
            found[entry.run] = [str(each) for each in paths]
    return found
