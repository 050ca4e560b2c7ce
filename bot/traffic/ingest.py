"""Observations as they come in: each counted once, many at a time.

An event id is remembered as long as its observation could come in late. Every function works
inside the caller's transaction and never commits.

What arrives together is committed together, so that many small requests cost one write to disk.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from operator import itemgetter

import sqlalchemy as sa
import structlog
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bot.canary.observations import (
    AHEAD,
    LATE,
    REVENUE_LATE,
    Expected,
    Observation,
    ReadLines,
    Rejection,
    read_lines,
)
from bot.records.database import reading
from bot.records.tables.traffic import observed_events
from bot.traffic import evidence_log as ledgers
from bot.traffic.evaluation import percents_of
from bot.traffic.evidence_log import EvidenceLog, pack

log = structlog.get_logger(__name__)
_AT_ONCE = 500
"""Far below SQLite's limit of variables in one statement."""


def key_of(seen: Observation) -> bytes:
    """Name an event in 16 bytes: half a SHA-256 of its capability and id."""
    return hashlib.sha256(f"{seen.capability}\n{seen.event_id}".encode()).digest()[:16]


async def remember(
    conn: AsyncConnection,
    repository_id: int,
    events: Sequence[tuple[bytes, Observation]],
    *,
    now: datetime,
    maturity: timedelta,
) -> set[bytes]:
    """Note events, and tell which of them were noted before.

    The caller holds the ledger's lock, so nobody else notes the same ones at this moment.

    Args:
        conn: the caller's transaction.
        repository_id: whose.
        events: each by its key, no key twice.
        now: the time of receipt.
        maturity: how old revenue must be.
    """
    if not events:
        return set()
    rows = [
        {
            "repository_id": repository_id,
            "event": key,
            "expires": int((now + _remembered(seen, maturity)).timestamp()),
        }
        # Neighbours in the index share pages: far less is written to disk than in any other order.
        for key, seen in sorted(events, key=itemgetter(0))
    ]
    try:
        async with conn.begin_nested():
            await conn.execute(sa.insert(observed_events), rows)
    except IntegrityError:
        known = await _known(conn, repository_id, [key for key, _ in events])
        new = [row for row in rows if row["event"] not in known]
        if new:
            await conn.execute(sa.insert(observed_events), new)
        return known
    return set()


async def forget_expired(conn: AsyncConnection, *, now: datetime, most: int) -> int:
    """Forget up to `most` events that could not come in any more; how many."""
    table = observed_events
    expired = (
        sa.select(table.c.repository_id, table.c.event)
        .where(table.c.expires < int(now.timestamp()))
        .limit(most)
    )
    key = sa.tuple_(table.c.repository_id, table.c.event)
    done = await conn.execute(sa.delete(table).where(key.in_(expired)))
    return done.rowcount


def _remembered(seen: Observation, maturity: timedelta) -> timedelta:
    late = LATE if seen.revenue is None else maturity + REVENUE_LATE
    return late + 2 * AHEAD


async def _known(conn: AsyncConnection, repository_id: int, keys: Sequence[bytes]) -> set[bytes]:
    found: set[bytes] = set()
    for start in range(0, len(keys), _AT_ONCE):
        query = sa.select(observed_events.c.event).where(
            observed_events.c.repository_id == repository_id,
            observed_events.c.event.in_(keys[start : start + _AT_ONCE]),
        )
        found.update(bytes(key) for key in (await conn.execute(query)).scalars())
    return found


MOST_LINES = 10_000
"""In one request."""
MOST_AT_ONCE = 20_000
"""Lines in one transaction."""
FEW_LINES = 500
"""So many are sooner read than handed to a thread."""
MOST_WAITING = 64 * 1024 * 1024
"""Bytes that wait to be written; beyond, senders are asked to come again."""

_OVER = "has no shadow or ramp any more"


class Overloaded(Exception):
    """More is coming in than can be written: send it again in a moment."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """What one repository expects: by capability, the ledger and what its lines must hold."""

    ledgers: Mapping[str, EvidenceLog]
    expected: Mapping[str, Expected]


@dataclass(slots=True)
class _Waiting:
    repository_id: int
    lines: Sequence[bytes]
    size: int
    done: asyncio.Future[ReadLines]


@dataclass(slots=True)
class _Batch:
    """The lines of several requests for one ledger, in the order in which they came."""

    ledger: EvidenceLog
    maturity: timedelta
    rows: list[tuple[bytes, Observation, int, int]] = field(default_factory=list)
    """Event key, observation, which request, which line."""


class Ingest:
    """Takes observations in. Safe for several replicas on one database."""

    def __init__(
        self,
        database: AsyncEngine,
        *,
        clock: Callable[[], datetime],
        heard: Callable[[str], None],
    ) -> None:
        """Write to the records database.

        Args:
            database: the records database.
            clock: tells the time (UTC).
            heard: told of every attempt that has something new, once it is durable.
        """
        self._database = database
        self._reading = reading(database)
        self._clock = clock
        self._heard = heard
        self._waiting: list[_Waiting] = []
        self._bytes = 0
        self._writer: asyncio.Task[None] | None = None

    async def put(self, repository_id: int, lines: Sequence[bytes]) -> ReadLines:
        """Take lines in; returns once what was accepted is on disk.

        Raises:
            Overloaded: too much is waiting; nothing was taken.
            sqlalchemy.exc.SQLAlchemyError: nothing was taken; the sender must send it again.
        """
        size = sum(map(len, lines))
        if self._bytes + size > MOST_WAITING:
            raise Overloaded("Too many observations are waiting to be written. Send them again.")
        waiting = _Waiting(repository_id, lines, size, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._bytes += size
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())
        return await waiting.done

    async def _write(self) -> None:
        while self._waiting:
            taken = self._take()
            try:
                found = await self._store(taken)
            except Exception as error:
                log.exception("observations could not be stored")
                for waiting in taken:
                    if not waiting.done.done():
                        waiting.done.set_exception(error)
            else:
                for waiting, read in zip(taken, found, strict=True):
                    if not waiting.done.done():
                        waiting.done.set_result(read)
            finally:
                self._bytes -= sum(waiting.size for waiting in taken)

    def _take(self) -> list[_Waiting]:
        taken, lines = 0, 0
        for waiting in self._waiting:
            lines += len(waiting.lines)
            if taken and lines > MOST_AT_ONCE:
                break
            taken += 1
        found, self._waiting = self._waiting[:taken], self._waiting[taken:]
        return found

    async def _store(self, taken: Sequence[_Waiting]) -> list[ReadLines]:
        now = self._clock()
        async with self._reading.connect() as conn:
            expectations = {
                repository_id: await expectation(conn, repository_id)
                for repository_id in {waiting.repository_id for waiting in taken}
            }
        if sum(len(waiting.lines) for waiting in taken) <= FEW_LINES:
            readings, batches = _read(taken, expectations, now)
        else:
            readings, batches = await asyncio.to_thread(_read, taken, expectations, now)
        if batches:
            async with self._database.begin() as conn:
                for batch in batches:
                    await self._add(conn, batch, readings, now)
            for batch in batches:
                self._heard(batch.ledger.attempt)
        return readings

    async def _add(
        self, conn: AsyncConnection, batch: _Batch, readings: list[ReadLines], now: datetime
    ) -> None:
        """Add what is new to the ledger; what is not, or came too late, becomes a rejection."""
        ledger = await ledgers.locked(conn, batch.ledger.attempt)
        if ledger.closed_at is not None:
            _reject(readings, batch.rows, "capability", _OVER, duplicate=False)
            return
        first: dict[bytes, tuple[bytes, Observation, int, int]] = {}
        again: list[tuple[bytes, Observation, int, int]] = []
        for row in batch.rows:
            if row[0] in first:
                again.append(row)
            else:
                first[row[0]] = row
        events = [(key, row[1]) for key, row in first.items()]
        known = await remember(conn, ledger.repository_id, events, now=now, maturity=batch.maturity)
        again += [row for key, row in first.items() if key in known]
        _reject(readings, again, "event_id", "was accepted before", duplicate=True)
        new = [row[1] for key, row in first.items() if key not in known]
        if new:
            few = len(new) <= FEW_LINES
            content = pack(new) if few else await asyncio.to_thread(pack, new)
            await ledgers.append(conn, ledger, "observations", content, at=now)


async def expectation(conn: AsyncConnection, repository_id: int) -> Expectation:
    """Read what a repository's open shadows and ramps expect."""
    # Where counters are read, reported observations would count the same requests twice.
    found = {
        each.capability: each
        for each in await ledgers.open_ones(conn, repository_id)
        if each.source is None
    }
    expected = {}
    for capability, ledger in found.items():
        roas = ledger.policy.metrics.roas
        expected[capability] = Expected(
            mode=ledger.mode,
            unit=ledger.policy.unit,
            percents=await percents_of(conn, ledger.attempt),
            maturity=timedelta(0) if roas is None else roas.maturity,
        )
    return Expectation(found, expected)


def _read(
    taken: Sequence[_Waiting], expectations: Mapping[int, Expectation], now: datetime
) -> tuple[list[ReadLines], list[_Batch]]:
    readings: list[ReadLines] = []
    batches: dict[str, _Batch] = {}
    for request, waiting in enumerate(taken):
        here = expectations[waiting.repository_id]
        read = read_lines(waiting.lines, here.expected, now=now, known=lambda _: False)
        readings.append(read)
        for seen, line in zip(read.accepted, read.places, strict=True):
            ledger = here.ledgers[seen.capability]
            batch = batches.get(ledger.attempt)
            if batch is None:
                maturity = here.expected[seen.capability].maturity
                batch = batches[ledger.attempt] = _Batch(ledger, maturity)
            batch.rows.append((key_of(seen), seen, request, line))
    # Always in the same order, so that two writers never wait for each other's locks.
    return readings, [batches[attempt] for attempt in sorted(batches)]


def _reject(
    readings: list[ReadLines],
    rows: Sequence[tuple[bytes, Observation, int, int]],
    field: str,
    problem: str,
    *,
    duplicate: bool,
) -> None:
    """Move rows from what was accepted to what was rejected."""
    by_request: dict[int, dict[int, str]] = {}
    for _, seen, request, line in rows:
        by_request.setdefault(request, {})[line] = seen.event_id
    for request, lines in by_request.items():
        read = readings[request]
        kept = [
            (seen, place)
            for seen, place in zip(read.accepted, read.places, strict=True)
            if place not in lines
        ]
        rejections = [
            Rejection(line, event_id, field, problem, duplicate) for line, event_id in lines.items()
        ]
        readings[request] = replace(
            read,
            accepted=tuple(seen for seen, _ in kept),
            places=tuple(place for _, place in kept),
            rejected=tuple(sorted((*read.rejected, *rejections), key=lambda each: each.line)),
        )
