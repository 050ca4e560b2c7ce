"""Faults on request."""

from __future__ import annotations


from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from bot.demo.world import World


class Faults:
    """What shall go wrong, and when."""

    def __init__(self, world: World) -> None:
        """Start with none."""
        self.world = world
        self.middleware = self._make_middleware()

    def _make_middleware(self) -> Middleware:
        @web.middleware
        async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await handler(request)

        return middleware
