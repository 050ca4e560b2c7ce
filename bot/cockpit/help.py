"""Every command: what it does, who may use it, examples. Made from the table the parser reads."""

from __future__ import annotations

from aiohttp import web

from bot.cockpit.routes import AccessRule, PageRoute
from bot.cockpit.visit import Visit
from bot.intake.comments.commands import DEFINITIONS, who_may


class HelpPage:
    """`/ui/help`."""

    def routes(self) -> tuple[PageRoute, ...]:
        """Its address."""
        return (PageRoute("GET", "/help", self.page, AccessRule.OPEN),)

    async def page(self, visit: Visit) -> web.StreamResponse:
        """List the commands."""
        return visit.page(
            "help.html",
            commands=[each for each in DEFINITIONS if each.available],
            later=[each for each in DEFINITIONS if not each.available],
            who_may=who_may,
        )
