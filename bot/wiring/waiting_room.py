"""While the bot cannot begin, its port answers all the same: alive, not ready, and why.

A supervisor that gets no answer starts a process again and again, and people see nothing. What is
asked for meanwhile is put off; deliveries that GitHub could not hand over are asked for later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog
from aiohttp import web

from bot.faults import Passing
from bot.intake.http.problems import put_off
from bot.records.outages import DatabaseAway, passing

T = TypeVar("T")

log = structlog.get_logger(__name__)

PATIENCE_S = 5.0
"""Seconds a beginning may take before the port answers in its place."""

_LONGEST_PAUSE_S = 60.0
_LONGEST_PAUSE_DATABASE_S = 3.0


class WaitingRoom:
    """Answers in the bot's place. One per start."""

    def __init__(self, host: str, port: int) -> None:
        """Prepare; nothing listens yet."""
        self._host, self.port = host, port
        self._runner: web.AppRunner | None = None
        self._part, self._why = "start", "it is about to begin"

    async def until(self, begin: Callable[[], Awaitable[T]]) -> T:
        """Try to begin until nothing that passes is in the way; gives what came of it.

        Nobody listens at the end, and nobody ever did where it began at once.

        Args:
            begin: may be called again after a fault.

        Raises:
            Exception: a fault that does not pass.
        """
        pause = 1.0
        try:
            while True:
                try:
                    return await self._patiently(begin)
                except Exception as error:
                    fault = passing(error)
                    if fault is None:
                        raise
                    log.warning("it cannot begin yet; trying again", why=str(error))
                    await self._say(fault)
                    await asyncio.sleep(pause)
                    near = isinstance(fault, DatabaseAway)
                    longest = _LONGEST_PAUSE_DATABASE_S if near else _LONGEST_PAUSE_S
                    pause = min(pause * 2, longest)
        finally:
            if self._runner is not None:
                await self._runner.cleanup()

    async def _patiently(self, begin: Callable[[], Awaitable[T]]) -> T:
        beginning = asyncio.ensure_future(begin())
        try:
            await asyncio.wait([beginning], timeout=PATIENCE_S)
            if not beginning.done():
                await self._open()
            return await beginning
        finally:
            beginning.cancel()

    async def _say(self, fault: Passing) -> None:
        self._part = "database" if isinstance(fault, DatabaseAway) else "GitHub"
        self._why = str(fault)
        await self._open()

    async def _open(self) -> None:
        if self._runner is not None:
            return
        application = web.Application()
        application.router.add_get("/healthz", self._healthz)
        application.router.add_get("/readyz", self._readyz)
        application.router.add_route("*", "/{anything:.*}", self._put_off)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self.port).start()
        self.port = self._runner.addresses[0][1]
        log.warning("listening, but not ready", port=self.port, why=self._why)

    async def _healthz(self, request: web.Request) -> web.Response:
        del request
        return web.json_response({"ok": True, "waiting": self._why})

    async def _readyz(self, request: web.Request) -> web.Response:
        del request
        return web.json_response({"ok": False, "parts": {self._part: self._why}}, status=503)

    async def _put_off(self, request: web.Request) -> web.Response:
        del request
        return put_off(self._why).response()
