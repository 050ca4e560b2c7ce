"""No Run of ours stands still: what an outage left on record, and nobody executes, goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

from bot.records.outages import outage_of

log = structlog.get_logger(__name__)

LOOK_EVERY = 20.0
"""Seconds between two looks; a Run must be found unattended at two of them."""

LOOK_EVERY = 2.0
"""Seconds until a Run that was just broken off goes on, and between tries while the database is
away."""


class OrphanedRuns:
    """Looks for them until cancelled. One per process."""

    def __init__(
        self,
        take_up: Callable[[], Awaitable[int]],
        interrupted: asyncio.Event,
        *,
        every: float = LOOK_EVERY,
        pause: float = LOOK_EVERY,
    ) -> None:
        """Prepare.

        Args:
            take_up: goes on with Runs that nobody executes, and says with how many.
            interrupted: set when one was just broken off.
            every: seconds between two looks.
            pause: seconds before a look that does not wait for its time.
        """
        self._take_up = take_up
        self._interrupted = interrupted
        self._every = every
        self._pause = pause

    async def run(self) -> None:
        """Look again and again. A database that is away is waited for."""
        while True:
            try:
                await self._take_up()
            except Exception as error:
                if outage_of(error) is None:
                    raise
                log.warning("runs cannot be taken up; trying again soon", why=str(error))
                self._interrupted.set()
            # Not wait_for: before Python 3.12 it can swallow a cancellation.
            with suppress(TimeoutError):
                async with asyncio.timeout(self._every):
                    await self._interrupted.wait()
            await asyncio.sleep(self._pause)
