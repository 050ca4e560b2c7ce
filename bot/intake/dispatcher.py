"""Hands what is in the inbox to the engine, in order of arrival, until every entry is done.

An entry is marked done only after its start returned. A process that dies in between leaves the
entry claimed: its next life gives it back at once, another replica takes it when the lease ends.
Starting must therefore be idempotent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import structlog

from bot.intake.inbox import Inbox, Taken
from bot.triggers import Trigger

log = structlog.get_logger(__name__)

Start = Callable[[Trigger], Awaitable[None]]
_Lane = tuple[int, int | None]


class Dispatcher:
    """One per process. Entries about the same issue or PR are started one after the other."""

    def __init__(
        self,
        inbox: Inbox,
        start: Start,
        *,
        replica: str,
        clock: Callable[[], datetime],
        at_once: int = 8,
        lease: timedelta = timedelta(seconds=60),
        look_every: float = 5.0,
        pauses: tuple[float, ...] = (0.2, 1.0, 3.0),
    ) -> None:
        """Prepare; `run` does the work.

        Args:
            inbox: where entries wait.
            start: carries out one Trigger, or joins what an earlier call for it began.
            replica: this process's name, the same after a restart and unique among replicas.
            clock: tells the time (UTC).
            at_once: how many starts may be under way.
            lease: how long a claim holds; also how long a start that keeps failing rests.
            look_every: seconds between looks for entries other replicas left behind.
            pauses: seconds between tries of a start that fails.
        """
        self._inbox = inbox
        self._start = start
        self._replica = replica
        self._clock = clock
        self._at_once = at_once
        self._lease = lease
        self._look_every = look_every
        self._pauses = pauses
        self._under_way: set[asyncio.Task[None]] = set()
        self._lanes: dict[_Lane, asyncio.Task[None]] = {}
        self._slot_free = asyncio.Event()
        self._handed_over: list[int] = []

    async def run(self) -> None:
        """Work until cancelled. A database that is away for a while only delays the work."""
        try:
            await self._release_former_claims()
            while True:
                self._inbox.arrived.clear()
                self._slot_free.clear()
                await self._note_handed_over()
                if not await self._take_some():
                    await self._wait_for_something()
        finally:
            for task in self._under_way:
                task.cancel()
            await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _note_handed_over(self) -> None:
        """Mark in one write what ended since the last look; dying before it only repeats starts."""
        ended = list(self._handed_over)
        if not ended:
            return
        try:
            await self._inbox.done(ended, self._clock())
        except Exception:
            log.exception("the inbox cannot be written; trying again soon")
            return
        del self._handed_over[: len(ended)]

    async def _take_some(self) -> bool:
        free = self._at_once - len(self._under_way)
        if free <= 0:
            return False
        try:
            taken = await self._inbox.take(
                free, replica=self._replica, now=self._clock(), lease=self._lease
            )
        except Exception:
            log.exception("the inbox cannot be read; trying again soon")
            return False
        for entry in taken:
            self._begin(entry)
        return bool(taken)

    def _begin(self, entry: Taken) -> None:
        try:
            trigger = Trigger.model_validate(entry.payload)
        except ValueError:
            # Perhaps a newer version's entry, before a roll-back: it keeps until its lease ends.
            log.exception("an entry of the inbox cannot be read", entry=entry.id)
            return
        lane = (trigger.repository.id, trigger.source.subject)
        task = asyncio.create_task(self._hand_over(entry.id, trigger, self._lanes.get(lane)))
        self._lanes[lane] = task
        self._under_way.add(task)
        task.add_done_callback(lambda ended: self._ended(lane, ended))

    def _ended(self, lane: _Lane, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        if self._lanes.get(lane) is task:
            del self._lanes[lane]
        self._slot_free.set()

    async def _hand_over(
        self, entry: int, trigger: Trigger, before: asyncio.Task[None] | None
    ) -> None:
        if before is not None:
            await asyncio.wait([before])
        with structlog.contextvars.bound_contextvars(entry=entry, trigger=trigger.key):
            most = self._lease.total_seconds() / (2 + 2 * len(self._pauses))
            for pause in (*self._pauses, None):
                try:
                    # Not wait_for: before Python 3.12 it can swallow a cancellation.
                    async with asyncio.timeout(most):
                        await self._start(trigger)
                    break
                except Exception:
                    if pause is None:
                        log.exception("starting keeps failing; resting until the lease ends")
                        return
                    log.warning("starting failed; trying again", exc_info=True, seconds=pause)
                    await asyncio.sleep(pause)
            self._handed_over.append(entry)

    async def _release_former_claims(self) -> None:
        while True:
            try:
                return await self._inbox.release(self._replica)
            except Exception:
                log.exception("the inbox cannot be written; trying again soon")
                await asyncio.sleep(1)

    async def _wait_for_something(self) -> None:
        events = [self._slot_free.wait()]
        if len(self._under_way) < self._at_once:
            events.append(self._inbox.arrived.wait())
        waits = [asyncio.create_task(event) for event in events]
        try:
            await asyncio.wait(waits, timeout=self._look_every, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
