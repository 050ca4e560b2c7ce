"""Gives the traffic back on a breach, before anybody is asked.

It acts before any Run hears of it, in a transaction of its own: from the observation that
crosses a limit to the baseline being served there is nothing to wait for: flags have no copy of
the allocation but answer each client by its newest rows (`allocation.py`; over HTTP
`bot/intake/api/traffic.py`). The Run is woken afterwards; if that is lost, it finds the closed
ledger at its next look.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bot.canary.judge import Breach
from bot.records.database import reading
from bot.traffic import allocation
from bot.traffic import evidence_log as ledgers
from bot.traffic.allocation import Decided
from bot.traffic.evaluation import Evaluations, UnreadableEvidence
from bot.traffic.evidence_log import BreachFound, EvidenceLog, Judged
from bot.traffic.flagd import Allocation
from bot.traffic.ingest import forget_expired
from bot.triggers import Value

log = structlog.get_logger(__name__)


class Tripped(Value):
    """What tripping left behind.

    Attributes:
        ledger: the evidence, closed.
        serving: who serves now.
        first: it was this call that ended it; else it had ended before, and nothing was changed.
    """

    ledger: EvidenceLog
    serving: Allocation | None
    first: bool


async def trip(
    conn: AsyncConnection,
    attempt: str,
    breach: BreachFound,
    *,
    at: datetime,
    actor: str,
    seq: int | None = None,
    above: int = 0,
    run: str | None = None,
    incident: str | None = None,
) -> Tripped:
    """Give everything to the baseline, latch it there, and close the ledger; twice is once.

    For every anomaly of a ramp: what the guard sees, an alert, a person's word. A ramp that has
    ended already is left as it ended. Make this the transaction's last statement.

    Args:
        conn: the caller's transaction.
        attempt: the shadow or ramp.
        breach: what happened.
        at: now.
        actor: who found it.
        seq: the last entry that counts; None: all.
        above: see `allocation.set_traffic`.
        run: the Run that trips it, if one does.
        incident: what it belongs to.

    Raises:
        UnknownRecord: there is no such shadow or ramp.
    """
    before = await ledgers.locked(conn, attempt)
    if before.closed_at is not None:
        serving = await allocation.find(conn, before.repository_id, before.capability)
        return Tripped(ledger=before, serving=serving, first=False)
    closed = await ledgers.close(conn, attempt, at=at, seq=seq, breach=breach)
    serving = await allocation.pause(
        conn,
        closed.repository_id,
        closed.capability,
        Decided(at=at, actor=actor, why=breach.evidence, run=run, incident=incident),
        baseline=closed.policy.baseline,
        above=above,
    )
    return Tripped(ledger=closed, serving=serving, first=True)


ACTOR = "playbooks"
KEEP_ENTRIES = timedelta(days=1)
"""So long entries stay after a checkpoint holds them."""
FORGET_AT_ONCE = 5_000
"""Events that one transaction forgets; transactions follow each other until none is left."""


@dataclass(frozen=True, slots=True)
class BreakerRhythm:
    """How often the guard does what, in seconds.

    Attributes:
        look: at every shadow and ramp, for silence; observations are looked at when they come.
        checkpoint: what was learnt is saved.
        tidy: what is no longer needed is deleted, all of it.
    """

    look: float = 1.0
    checkpoint: float = 10.0
    tidy: float = 600.0


class CircuitBreaker:
    """Watches what is under way in all repositories. One per process."""

    def __init__(
        self,
        database: AsyncEngine,
        evaluations: Evaluations,
        *,
        wake: Callable[[str], Awaitable[None]],
        clock: Callable[[], datetime],
        fault: Callable[[str], str | None] = lambda _: None,
        rhythm: BreakerRhythm | None = None,
    ) -> None:
        """Watch what is in the records database.

        Args:
            database: the records database.
            evaluations: adds the ledgers up.
            wake: tells a Run to look again; may be lost.
            clock: tells the time (UTC).
            fault: tells what is wrong with an attempt's source, if something is known to be.
            rhythm: how often it does what.
        """
        self._database = database
        self._reading = reading(database)
        self._evaluations = evaluations
        self._wake = wake
        self._clock = clock
        self._fault = fault
        self._rhythm = rhythm or BreakerRhythm()
        self._heard: set[str] = set()
        self._something = asyncio.Event()
        self._watched: set[str] = set()
        self._told: dict[str, Judged] = {}

    def heard(self, attempt: str) -> None:
        """Look at this attempt soon: something was observed."""
        self._heard.add(attempt)
        self._something.set()

    async def run(self) -> None:
        """Watch until cancelled; beside it, delete what is no longer needed."""
        tidying = asyncio.create_task(self._keep_tidy(), name="tidying evidence")
        try:
            await self._keep_watch()
        finally:
            tidying.cancel()
            await asyncio.wait([tidying])

    async def _keep_watch(self) -> None:
        now = asyncio.get_running_loop().time
        next_look = next_checkpoint = now()
        while True:
            self._something.clear()
            heard, self._heard = self._heard, set()
            if now() >= next_look:
                heard |= await self._under_way()
                self._evaluations.awake.look(self._clock())
                next_look = now() + self._rhythm.look
            for attempt in sorted(heard):
                await self._safely(self.watch(attempt), f"watching {attempt}")
            if now() >= next_checkpoint:
                began = now()
                await self._safely(self.checkpoint(), "saving what was learnt")
                # A million keys take long to write down: never more than a twentieth of the time.
                next_checkpoint = now() + max(self._rhythm.checkpoint, 20 * (now() - began))
            try:
                async with asyncio.timeout(max(0.0, next_look - now())):
                    await self._something.wait()
            except TimeoutError:
                continue

    async def watch(self, attempt: str) -> None:
        """Look at one shadow or ramp: trip it on a breach, wake its Run if the verdict changed."""
        try:
            ledger, course = await self._evaluations.current(attempt)
        except UnreadableEvidence as fault:
            await self._cannot_judge(attempt, str(fault))
            return
        if ledger.closed_at is None:
            now = self._clock()
            verdict = course.judge(
                now, self._evaluations.awake.since(ledger.policy.max_silence, now)
            )
            if isinstance(verdict, Breach) and ledger.mode == "ramp":
                verdict = self._explained(attempt, verdict)
                ledger = await self._trip(ledger, verdict, course.seq)
            judged = Judged.of(verdict)
        if ledger.closed_at is not None:
            await self._wake(ledger.run_id)
            self._over(attempt)
        elif _changed(self._told.get(attempt), judged):
            await self._wake(ledger.run_id)
            self._told[attempt] = judged

    async def checkpoint(self) -> None:
        """Save what was learnt from the ledgers under way."""
        for attempt in sorted(self._watched):
            saved = await self._evaluations.saved(attempt)
            if saved is not None:
                async with self._database.begin() as conn:
                    await ledgers.save_checkpoint(conn, attempt, *saved)

    def _explained(self, attempt: str, breach: Breach) -> Breach:
        """Say why it is silent, where that is known."""
        fault = self._fault(attempt) if breach.metric == "silence" else None
        if fault is None:
            return breach
        return replace(breach, evidence=f"{breach.evidence} Counters: {fault}.")

    async def _cannot_judge(self, attempt: str, why: str) -> None:
        """Nobody watches the candidate any more, so it gets nothing."""
        log.error("the evidence cannot be read", attempt=attempt, why=why)
        async with self._reading.connect() as conn:
            ledger = await ledgers.find(conn, attempt)
        if ledger is not None and ledger.closed_at is None and ledger.mode == "ramp":
            breach = Breach("evidence", f"What was observed cannot be read any more: {why}.")
            await self._trip(ledger, breach, None)
            await self._wake(ledger.run_id)

    async def _trip(self, ledger: EvidenceLog, breach: Breach, seq: int | None) -> EvidenceLog:
        async with self._database.begin() as conn:
            tripped = await trip(
                conn,
                ledger.attempt,
                BreachFound.of(breach),
                at=self._clock(),
                actor=ACTOR,
                seq=seq,
                run=ledger.run_id,
            )
        if tripped.first:
            log.warning(
                "back to the baseline",
                capability=ledger.capability,
                metric=breach.metric,
                evidence=breach.evidence,
            )
        return tripped.ledger

    async def _under_way(self) -> set[str]:
        async with self._reading.connect() as conn:
            found = await ledgers.under_way(conn)
        # One that was closed elsewhere is looked at once more: its Run may not know yet.
        over = self._watched - found
        self._watched = found
        return found | over

    def _over(self, attempt: str) -> None:
        self._evaluations.forget(attempt)
        self._watched.discard(attempt)
        self._told.pop(attempt, None)

    async def _keep_tidy(self) -> None:
        # Not between two looks: however much there is to delete, a breach does not wait for it.
        while True:
            await self._safely(self._tidy(), "deleting what is not needed")
            await asyncio.sleep(self._rhythm.tidy)

    async def _tidy(self) -> None:
        now, time = self._clock(), asyncio.get_running_loop().time
        forgotten = FORGET_AT_ONCE
        while forgotten == FORGET_AT_ONCE:
            began = time()
            async with self._database.begin() as conn:
                forgotten = await forget_expired(conn, now=now, most=FORGET_AT_ONCE)
            # Observations that come in have the database as long as this had it.
            await asyncio.sleep(time() - began)
        async with self._database.begin() as conn:
            await ledgers.prune(conn, now=now, keep=KEEP_ENTRIES)

    async def _safely(self, work: Awaitable[None], what: str) -> None:
        try:
            await work
        except Exception:
            # One broken ledger must not keep the guard from the others.
            log.exception("the guard failed; it tries again", at=what)


def _changed(before: Judged | None, now: Judged) -> bool:
    """Whether a Run has something to do: what it waits for may go on changing."""
    return before is None or before.kind != now.kind or before.percent != now.percent
