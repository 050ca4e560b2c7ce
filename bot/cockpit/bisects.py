"""One bisect: the range with its posterior, the trials, and the check of its suspect."""

from __future__ import annotations

from aiohttp import web

from bot.cockpit.actions import answer_to_show
from bot.cockpit.charts import BarChart, bars_of
from bot.cockpit.routes import AccessRule, PageRoute
from bot.cockpit.visit import PageRefused, Visit


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
            chart=chart,
            request_answer=shown,
        )
