"""Every shadow and ramp under way, each as far as its ledger goes.

Courses are kept in memory and only ever read forwards; after a restart they begin again from the
last checkpoint. Any process may hold one: all come to the same.
"""

from __future__ import annotations

import asyncio
import zlib
from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bot.records.database import reading
from bot.records.instants import Instant
from bot.records.refusals import UnknownRecord
from bot.traffic import ledger as ledgers
from bot.traffic import servings
from bot.traffic.course import RampEvaluation, ShadowEvaluation, begun
from bot.traffic.ledger import EvidenceLog
from bot.traffic.verdicts import Judged
from bot.triggers import Value

SMALL = 16 * 1024
"""Bytes of an entry that is sooner taken in than handed to a thread."""

log = structlog.get_logger(__name__)


class UnreadableEvidence(Exception):
    """Entries of a ledger are gone or damaged: nobody can judge by it any more."""


class Look(Value):
    """One look at a shadow or ramp, as a step can record it.

    Attributes:
        attempt: which.
        at: when it was judged.
        seq: the last entry that counted.
        input_sha256: of all entries up to the last one of the ledger.
        phase: index of the ramp's phase.
        seen_at: when the last observation was accepted.
        closed: whether it is over.
        judged: the verdict. A breach that closed the ledger is the verdict for good.
    """

    attempt: str
    at: Instant
    seq: int
    input_sha256: str
    phase: int
    seen_at: Instant | None
    closed: bool
    judged: Judged


class Evaluations:
    """Adds up ledgers. `current` gives a course that must not be changed."""

    def __init__(self, database: AsyncEngine) -> None:
        """Read from the records database."""
        self._database = reading(database)
        self._known: dict[str, RampEvaluation | ShadowEvaluation] = {}
        self._saved: dict[str, int] = {}
        self._one_at_a_time: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def current(self, attempt: str) -> tuple[EvidenceLog, RampEvaluation | ShadowEvaluation]:
        """Add up everything that is in the ledger now.

        Raises:
            UnknownRecord: there is no such ledger.
            UnreadableEvidence: it cannot be added up.
        """
        async with self._one_at_a_time[attempt]:
            async with self._database.connect() as conn:
                ledger = await ledgers.find(conn, attempt)
                if ledger is None:
                    raise UnknownRecord(f"nothing is observed for {attempt}")
                course = self._known.get(attempt) or await _resumed(conn, ledger)
                self._known[attempt] = course
                if course.seq < ledger.last:
                    percents = await percents_of(conn, attempt)
                    if not await self._read_on(conn, ledger, course, percents):
                        course = await _resumed(conn, ledger)
                        self._known[attempt] = course
                        if not await self._read_on(conn, ledger, course, percents):
                            raise UnreadableEvidence(f"entries of {attempt} are missing")
            return ledger, course

    async def look(self, attempt: str, now: datetime) -> Look:
        """Judge a shadow or ramp now; see `current`."""
        ledger, course = await self.current(attempt)
        verdict = ledger.breach.verdict if ledger.breach else course.judge(now)
        return Look(
            attempt=attempt,
            at=now,
            seq=course.seq,
            input_sha256=ledger.digest,
            phase=ledger.phase,
            seen_at=ledger.seen_at,
            closed=ledger.closed_at is not None,
            judged=Judged.of(verdict),
        )

    async def saved(self, attempt: str) -> tuple[int, bytes] | None:
        """Write down what was learnt, if anything was since it was last asked for: seq, bytes."""
        async with self._one_at_a_time[attempt]:
            course = self._known.get(attempt)
            if course is None or course.seq <= self._saved.get(attempt, 0):
                return None
            content = await asyncio.to_thread(course.save)
            self._saved[attempt] = course.seq
            return course.seq, content

    def forget(self, attempt: str) -> None:
        """Free the memory of a course that is over."""
        self._known.pop(attempt, None)
        self._saved.pop(attempt, None)
        self._one_at_a_time.pop(attempt, None)

    async def _read_on(
        self,
        conn: AsyncConnection,
        ledger: EvidenceLog,
        course: RampEvaluation | ShadowEvaluation,
        percents: Mapping[int, int],
    ) -> bool:
        """Take in what is new; False: entries are missing that this course has not seen."""
        while course.seq < ledger.last and course.breach is None:
            found = await ledgers.entries(conn, ledger.attempt, after=course.seq, until=ledger.last)
            expected = range(course.seq + 1, course.seq + 1 + len(found))
            if not found or [entry.seq for entry in found] != list(expected):
                return False
            for entry in found:
                try:
                    if len(entry.content) <= SMALL:
                        course.take(entry, percents)
                    else:
                        await asyncio.to_thread(course.take, entry, percents)
                except (ValueError, LookupError, zlib.error) as error:
                    # What was half taken in must not be added to.
                    self._known.pop(ledger.attempt, None)
                    raise UnreadableEvidence(
                        f"entry {entry.seq} of {ledger.attempt} is damaged"
                    ) from error
        return True


async def percents_of(conn: AsyncConnection, attempt: str) -> dict[int, int]:
    """The candidate's share by generation, of one shadow or ramp."""
    return {
        serving.generation: serving.split.percent
        for serving in await servings.of_attempt(conn, attempt)
    }


async def _resumed(conn: AsyncConnection, ledger: EvidenceLog) -> RampEvaluation | ShadowEvaluation:
    course = begun(ledger)
    saved = await ledgers.checkpoint(conn, ledger.attempt)
    if saved is not None:
        try:
            course.restore(saved[1])
        except (ValueError, LookupError, zlib.error):
            log.warning("a checkpoint is damaged; adding up anew", attempt=ledger.attempt)
            return begun(ledger)
    return course
