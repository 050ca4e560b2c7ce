"""Shadows and ramps: who serves what, and one of them closely."""

from __future__ import annotations

from aiohttp import web

from bot.cockpit.actions import answer_to_show
from bot.cockpit.lanes import RolloutLanes
from bot.cockpit.routes import AccessRule, PageRoute
from bot.cockpit.visit import PageRefused, Visit

MOST = 30


class RampPages:
    """`/ui/ramps` and `/ui/ramps/{attempt}`."""

    def __init__(self, lanes: RolloutLanes) -> None:
        """Look through `lanes`."""
        self._lanes = lanes

    def routes(self) -> tuple[PageRoute, ...]:
        """Their addresses."""
        return (
            PageRoute("GET", "/ramps", self.index, AccessRule.SIGNED_IN),
            PageRoute("GET", "/ramps/{attempt}", self.page, AccessRule.SIGNED_IN),
        )

    async def index(self, visit: Visit) -> web.StreamResponse:
        """Who serves what, and every shadow and ramp, the newest first."""
        sight, chosen = visit.narrowed()
        async with visit.window(sight) as window:
            ledgers = await window.ledgers(limit=MOST)
            serving = await window.serving()
            lanes = [
                await self._lanes.look(each, await window.served_by(each), visit.now)
                for each in ledgers
            ]
        return visit.page("ramps.html", chosen=chosen, lanes_shown=lanes, serving=serving)

    async def page(self, visit: Visit) -> web.StreamResponse:
        """One shadow or ramp."""
        async with visit.window() as window:
            ledger = await window.ledger(visit.request.match_info["attempt"])
            if ledger is None:
                raise PageRefused(404, "There is no such shadow or ramp among those you can see.")
            lane = await self._lanes.look(ledger, await window.served_by(ledger), visit.now)
            run = await window.run(ledger.run_id)
            shown = await answer_to_show(visit, window)
        return visit.page(
            "ramp.html",
            lane=lane,
            run=run,
            seen=visit.sight.seen[ledger.repository_id],
            request_answer=shown,
        )
