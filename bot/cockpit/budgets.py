"""Every budget and cap, a dozen repositories at a time."""

from __future__ import annotations

from aiohttp import web

from bot.cockpit.routes import AccessRule, PageRoute
from bot.cockpit.spending import Spending
from bot.cockpit.visit import Visit

PER_PAGE = 12
"""Repositories: each is asked for its configuration."""


class BudgetPages:
    """`/ui/budgets`."""

    def __init__(self, spending: Spending) -> None:
        """Show what `spending` reads."""
        self._spending = spending

    def routes(self) -> tuple[PageRoute, ...]:
        """Its address."""
        return (PageRoute("GET", "/budgets", self.page, AccessRule.SIGNED_IN),)

    async def page(self, visit: Visit) -> web.StreamResponse:
        """Show the budgets of some repositories, by name, from the one that follows `after`."""
        sight, chosen = visit.narrowed()
        after = visit.query.get("after", "").lower()
        named = sorted(sight.seen.values(), key=lambda each: each.repository.full_name.lower())
        left = [each for each in named if each.repository.full_name.lower() > after]
        shown = left[:PER_PAGE]
        async with visit.window(sight) as window:
            spent = await self._spending.read(window, shown, visit.now, unused=True)
        return visit.page(
            "budgets.html",
            chosen=chosen,
            shown=[(each, [one for one in spent if one.seen is each]) for each in shown],
            more=shown[-1].repository.full_name if len(left) > len(shown) else None,
            total=len(named),
        )
