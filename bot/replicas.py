"""Several replicas on one database: each says that it lives, and takes over from the dead."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bot.metrics import TAKEOVERS
from bot.records import replicas
from bot.records.outages import outage_of
from bot.records.replicas import NameLock, takeover_lock

log = structlog.get_logger(__name__)
_EVER = timedelta(days=36_500)


class NameTaken(Exception):
    """Another process is alive under this replica's name."""


class AnotherApp(Exception):
    """A replica of another App is alive on this database; `str()` is its name."""


@dataclass(frozen=True)
class HeartbeatRhythm:
    """When a replica beats, gives up by itself, and is held for dead by its siblings.

    `give_up_after` must be well below `dead_after`: two processes must never do one Run.
    """

    beat_every: timedelta = replicas.BEAT_EVERY
    give_up_after: timedelta = replicas.GIVE_UP_AFTER
    dead_after: timedelta = replicas.DEAD_AFTER


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
        rhythm: HeartbeatRhythm | None = None,
        code: str | None = None,
        app: str | None = None,
        counted: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Prepare; `run` does the work.

        Args:
            records: the database all replicas share.
            replica: this process's name.
            clock: tells the time (UTC).
            take_over: continues the Runs of a dead replica, and says how many.
            give_up: ends this process at once; called from another thread, too.
            rhythm: the times; those of docs/decisions/0015 unless said otherwise.
            code: what this process can replay, for its siblings to know.
            app: the App that it speaks for, with its GitHub, likewise.
            counted: hears with each beat how many replicas live.
        """
        self._records = records
        self._replica = replica
        self._clock = clock
        self._take_over = take_over
        self._give_up = give_up
        self._rhythm = rhythm or HeartbeatRhythm()
        self._code, self._app = code, app
        self._name = NameLock(records, replica)
        self._counted = counted
        self._lock = takeover_lock(records)
        self._renewed = time.monotonic()
        self._there: tuple[datetime, float] | None = None
        self._sure_at = 0.0
        self._has_joined = False

    async def begin(self) -> None:
        """Beat once, before anything is done in this replica's name.

        Raises:
            NameTaken: a living process has that name; a dead one's may be taken at once.
            AnotherApp: a living process on this database speaks for another App.
        """
        if not await self._name.take():
            raise NameTaken(self._replica)
        async with self._records.begin() as conn:
            now = await self._now(conn)
            await replicas.join(conn, self._replica, now, self._code, self._app)
            another = self._app and await replicas.of_another_app(
                conn, self._app, now, self._rhythm.dead_after
            )
            if another:
                raise AnotherApp(another)
        self._has_joined = True
        self._may_take_over()
        self._renewed = time.monotonic()

    async def run(self) -> None:
        """Beat until cancelled."""
        over = threading.Event()
        threading.Thread(target=self._watch, args=(over,), name="heartbeat", daemon=True).start()
        try:
            while True:
                await asyncio.sleep(self._rhythm.beat_every.total_seconds())
                for sibling in await self._renew():
                    await self._continue_for(sibling)
        finally:
            over.set()

    async def leave(self) -> None:
        """Say that this replica is gone, once nothing runs in its name any more."""
        if self._has_joined:
            await self._tell_siblings()
        if self._lock is not None:
            self._lock.release()
        await self._name.release()

    async def _tell_siblings(self) -> None:
        try:
            async with self._records.begin() as conn:
                now = await self._now(conn)
                await replicas.leave(conn, self._replica, now, self._rhythm.dead_after)
        except Exception:
            log.exception("siblings were not told that this replica stops; they will notice")

    async def living(self) -> dict[str, str | None] | None:
        """Which replicas are not silent; None where this one may not take over from others."""
        if not self._may_take_over():
            return None
        async with self._records.connect() as conn:
            now = await self._now(conn)
            silent = self._rhythm.dead_after if self._is_sure() else _EVER
            return await replicas.living(conn, now, silent)

    async def is_first(self) -> bool:
        """Whether this replica does what one of them shall do: the eldest that lives."""
        async with self._records.connect() as conn:
            now = await self._now(conn)
            first = await replicas.eldest(conn, now, self._rhythm.dead_after)
        return first in (None, self._replica)

    async def _now(self, conn: AsyncConnection) -> datetime:
        """The time there, seen beside the time that passed here.

        Where the two disagree, that clock was set or this machine was suspended: how old a
        sibling's last word is says nothing before each that lives had time for another.
        """
        there, here = await replicas.time_there(conn, self._clock()), time.monotonic()
        if self._there is not None:
            then, at = self._there
            passed = timedelta(seconds=here - at)
            if abs(there - then - passed) > self._rhythm.give_up_after:
                log.warning("the clock that replicas go by has jumped", by=there - then - passed)
                self._sure_at = here + self._rhythm.dead_after.total_seconds()
        self._there = there, here
        return there

    def _is_sure(self) -> bool:
        """Whether the ages of siblings' last words can be believed."""
        return time.monotonic() >= self._sure_at

    def _may_take_over(self) -> bool:
        return self._lock is None or self._lock.take()

    def _may_be_taken_over(self) -> bool:
        return self._lock is None or not self._lock.held

    async def _renew(self) -> list[str]:
        """Beat; the siblings that are now ours to take over from."""
        try:
            async with asyncio.timeout(self._rhythm.beat_every.total_seconds()):
                # A database server that was started again has forgotten whose the name is.
                is_ours = await self._name.take()
                async with self._records.begin() as conn:
                    now = await self._now(conn)
                    ours = is_ours and await replicas.beat(conn, self._replica, now)
                    self._counted(
                        max(len(await replicas.living(conn, now, self._rhythm.dead_after)), 1)
                    )
                    dead = []
                    if self._may_take_over() and self._is_sure():
                        dead = await replicas.take_dead(
                            conn, self._replica, now, self._rhythm.dead_after
                        )
        except Exception as error:
            if outage_of(error) is None and not isinstance(error, TimeoutError):
                log.exception("the heartbeat could not be renewed")
            else:
                log.warning("the heartbeat could not be renewed", why=str(error) or "no answer")
            return []
        if not ours:
            log.error("a sibling has taken over from this replica: it stops")
            self._give_up()
        self._renewed = time.monotonic()
        return dead

    async def _continue_for(self, sibling: str) -> None:
        try:
            taken = await self._take_over(sibling)
            async with self._records.begin() as conn:
                await replicas.forget(conn, sibling, taken_over_by=self._replica)
        except Exception:
            # The claim lapses, and some replica tries again.
            log.exception("a silent replica could not be taken over from", replica=sibling)
            return
        TAKEOVERS.inc()
        log.warning("took over from a replica that fell silent", replica=sibling, runs=taken)

    def _watch(self, over: threading.Event) -> None:
        """Give up in time even where the event loop is what is stuck.

        Where nobody can take over there is nothing to give up for: two processes will not do one
        Run, and ending this one would only stop what it does.
        """
        longest = self._rhythm.give_up_after.total_seconds()
        told = 0.0
        while not over.wait(longest / 15):
            if time.monotonic() - self._renewed < longest:
                continue
            if self._may_be_taken_over():
                self._give_up()
                return
            if told != self._renewed:  # once for each silence
                told = self._renewed
                log.warning(
                    "the heartbeat could not be renewed; nobody else is there, so it goes on"
                )
