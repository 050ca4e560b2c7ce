"""Several replicas on one database: each says that it lives, and takes over from the dead."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.records import replicas

log = structlog.get_logger(__name__)


class Heartbeat:
    """One per process."""

    def __init__(
        self,
        records: AsyncEngine,
        replica: str,
        *,
        clock: Callable[[], datetime],
        take_over: Callable[[str], Awaitable[int]],
        give_up: Callable[[], None],
    ) -> None:
        """Prepare; `run` does the work.

        Args:
            records: the database all replicas share.
            replica: this process's name.
            clock: tells the time (UTC).
            take_over: continues the Runs of a dead replica, and says how many.
            give_up: ends this process at once: two processes must never do one Run.
        """
        self._records = records
        self._replica = replica
        self._clock = clock
        self._take_over = take_over
        self._give_up = give_up

    async def begin(self) -> None:
        """Beat once, before anything is done in this replica's name."""
        async with self._records.begin() as conn:
            await replicas.beat(conn, self._replica, self._clock())

    async def run(self) -> None:
        """Beat until cancelled."""
        beat = self._clock()
        while True:
            await asyncio.sleep(replicas.BEAT_EVERY.total_seconds())
            now = self._clock()
            try:
                async with asyncio.timeout(replicas.BEAT_EVERY.total_seconds()):
                    async with self._records.begin() as conn:
                        await replicas.beat(conn, self._replica, now)
                        dead = await replicas.take_dead(conn, self._replica, now)
                beat = now
            except Exception:
                log.exception("the heartbeat could not be renewed")
                if self._clock() - beat >= replicas.GIVE_UP_AFTER:
                    self._give_up()
                continue
            for sibling in dead:
                taken = await self._take_over(sibling)
                log.warning(
                    "took over from a replica that fell silent", replica=sibling, runs=taken
                )
