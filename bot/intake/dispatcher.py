"""Hands what is in the inbox to the engine, in order of arrival, until every entry is done.

An entry is marked done only after its start returned. A process that dies in between leaves the
entry claimed: its next life gives it back at once, another replica takes it when the lease ends.
Starting must therefore be idempotent.

While Triggers come in quickly, starts give way: GitHub waits ten seconds for its answer and tells
nothing twice, and a Run takes a hundred times what the answer takes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import structlog

from bot.errors import Passing
from bot.intake.inbox import Inbox, Taken
from bot.metrics import BEGUN
from bot.triggers import Trigger

log = structlog.get_logger(__name__)

Start = Callable[[Trigger], Awaitable[bool]]
"""Begins what is asked for; whether nothing came of it: then its entry goes."""
Turn = Callable[[Trigger], Callable[[], Awaitable[None]] | None]
"""Of each Trigger in order of arrival: what it has to wait for, if anything, before its start."""
_Lane = tuple[int, int | None, bool]

_GLANCE_S = 0.02
_TRICKLE = 2
_TRICKLE_S = 0.25
"""In a rush that does not end, so many starts are begun in each so many seconds."""


def _at_once(trigger: Trigger) -> None:
    del trigger


class Dispatcher:
    """One per process. Entries about the same issue or PR are started one after the other."""

    def __init__(
        self,
        inbox: Inbox,
        start: Start,
        hear: Start | None = None,
        *,
        replica: str,
        clock: Callable[[], datetime],
        at_once: int = 64,
        talk_at_once: int = 4,
        lease: timedelta = timedelta(seconds=60),
        in_turn: Turn = _at_once,
        look_every: float = 5.0,
        pauses: tuple[float, ...] = (0.2, 1.0, 3.0),
        talk_every: float = 0.25,
        gives_way_for: float = 2.0,
    ) -> None:
        """Prepare; `run` does the work.

        Args:
            inbox: where entries wait.
            start: carries out one Trigger, or joins what an earlier call for it began.
            hear: the same for what most likely comes from somebody without rights.
            replica: this process's name, the same after a restart and unique among replicas.
            clock: tells the time (UTC).
            at_once: how many starts may be under way. They wait for GitHub, some seconds where much
                is asked for, and whoever wants main back must find room beside them.
            talk_at_once: how many of them may be what strangers said.
            lease: how long a claim holds; also how long a start that keeps failing rests.
            in_turn: tells what a Trigger has to wait for before it is started.
            look_every: seconds between looks for entries other replicas left behind.
            pauses: seconds between tries of a start that fails.
            talk_every: seconds between two looks at what strangers said; a few entries each.
            gives_way_for: seconds that no start is begun while the inbox is rushed; after that
                eight are in each second.
        """
        self._inbox = inbox
        self._start = start
        self._hear = hear or start
        self._replica = replica
        self._clock = clock
        self._at_once = at_once
        self._talk_at_once = talk_at_once
        self._lease = lease
        self._in_turn = in_turn
        self._look_every = look_every
        self._pauses = pauses
        self._talk_every = talk_every
        self._gives_way_for = gives_way_for
        self._next_talk = 0.0
        self._rushed_since: float | None = None
        self._talk_waits = False
        self._under_way: set[asyncio.Task[None]] = set()
        self._talking: set[asyncio.Task[None]] = set()
        self._waiting: set[asyncio.Task[None]] = set()
        self._lanes: dict[_Lane, asyncio.Task[None]] = {}
        self._slot_free = asyncio.Event()
        self._handed_over: list[int] = []
        self._come_to_nothing: dict[int, str] = {}

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
            left = self._under_way | self._waiting
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    async def _note_handed_over(self) -> None:
        """Mark in one write what ended since the last look; dying before it only repeats starts."""
        ended, gone = list(self._handed_over), dict(self._come_to_nothing)
        try:
            if ended:
                await self._inbox.done(ended, self._clock())
                del self._handed_over[: len(ended)]
            if gone:
                await self._inbox.forget(gone)
                for entry in gone:
                    del self._come_to_nothing[entry]
        except Exception:
            log.exception("the inbox cannot be written; trying again soon")

    async def _room(self) -> int:
        """How many starts may be begun now. Waits while those who send Triggers come first."""
        clock = asyncio.get_running_loop().time
        while self._inbox.is_rushed():
            if self._rushed_since is None:
                self._rushed_since = clock()
            if clock() >= self._rushed_since + self._gives_way_for:
                await asyncio.sleep(_TRICKLE_S)
                return min(_TRICKLE, self._at_once - len(self._under_way))
            await asyncio.sleep(_GLANCE_S)
        self._rushed_since = None
        return self._at_once - len(self._under_way)

    async def _take_some(self) -> bool:
        free = await self._room()
        if free <= 0:
            return False
        try:
            taken = await self._inbox.take(
                free, replica=self._replica, now=self._clock(), lease=self._lease
            )
            talk = await self._take_talk() if len(taken) < free else []
        except Exception:
            log.exception("the inbox cannot be read; trying again soon")
            return False
        for entry in taken:
            self._begin(entry)
        for entry in talk:
            self._begin(entry, is_talk=True)
        return bool(taken or talk)

    async def _take_talk(self) -> list[Taken]:
        """Take a few entries of strangers, now and then: a thousand of them hold up nobody."""
        now = asyncio.get_running_loop().time()
        most = min(self._talk_at_once, self._at_once) - len(self._talking)
        if now < self._next_talk or most <= 0:
            self._talk_waits = True
            return []
        taken = await self._inbox.take(
            most, replica=self._replica, now=self._clock(), lease=self._lease, talk=True
        )
        self._talk_waits = bool(taken)
        if taken:
            self._next_talk = now + self._talk_every
        return taken

    def _begin(self, entry: Taken, *, is_talk: bool = False) -> None:
        try:
            trigger = Trigger.model_validate(entry.payload)
        except ValueError:
            # Perhaps a newer version's entry, before a roll-back: it keeps until its lease ends.
            log.exception("an entry of the inbox cannot be read", entry=entry.id)
            return
        # Nobody waits for a stranger who spoke before them.
        lane = (trigger.repository.id, trigger.source.subject, is_talk)
        start = self._hear if is_talk else self._start
        its_turn = self._in_turn(trigger)
        before = self._lanes.get(lane)
        task = asyncio.create_task(self._hand_over(entry, trigger, start, before, its_turn))
        # Nobody waits for one that itself waits for its turn: that may take seconds.
        if its_turn is None:
            self._lanes[lane] = task
        self._under_way.add(task)
        if is_talk:
            self._talking.add(task)
        task.add_done_callback(lambda ended: self._ended(lane, ended))

    def _ended(self, lane: _Lane, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._talking.discard(task)
        if self._lanes.get(lane) is task:
            del self._lanes[lane]
        self._slot_free.set()

    async def _hand_over(
        self,
        taken: Taken,
        trigger: Trigger,
        start: Start,
        before: asyncio.Task[None] | None,
        its_turn: Callable[[], Awaitable[None]] | None,
    ) -> None:
        if before is not None:
            await asyncio.wait([before])
        if its_turn is not None:
            # That costs nothing, and others find room meanwhile.
            async with self._out_of_the_way():
                await its_turn()
        entry, repository = taken.id, trigger.repository
        with structlog.contextvars.bound_contextvars(
            entry=entry,
            trigger=trigger.key,
            delivery=taken.delivery,
            repository=repository.full_name,
            repository_id=repository.id,
        ):
            most = self._lease.total_seconds() / (2 + 2 * len(self._pauses))
            for pause in (*self._pauses, None):
                try:
                    # Not wait_for: before Python 3.12 it can swallow a cancellation.
                    async with asyncio.timeout(most):
                        came_to_nothing = await start(trigger)
                    break
                except Exception as error:
                    # What passes by itself is no fault of ours: a sentence says it all.
                    of_ours = not isinstance(error, Passing | TimeoutError)
                    why = f"{type(error).__name__}: {error}".removesuffix(": ")
                    if pause is None:
                        say = log.error if of_ours else log.warning
                        say("starting keeps failing; resting until the lease ends",
                            why=why, exc_info=of_ours)  # fmt: skip
                        return
                    log.warning(
                        "starting failed; trying again", why=why, seconds=pause, exc_info=of_ours
                    )
                    await asyncio.sleep(pause)
            begun_in = (self._clock() - trigger.received_at).total_seconds()
            BEGUN.observe(max(begun_in, 0.0))
            if came_to_nothing:
                self._come_to_nothing[entry] = trigger.key
            else:
                self._handed_over.append(entry)

    @asynccontextmanager
    async def _out_of_the_way(self) -> AsyncIterator[None]:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - this is one
        self._under_way.discard(task)
        self._waiting.add(task)
        self._slot_free.set()
        try:
            yield
        finally:
            self._waiting.discard(task)
            self._under_way.add(task)

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
            look_in = self._talk_every if self._talk_waits else self._look_every
            await asyncio.wait(waits, timeout=look_in, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
