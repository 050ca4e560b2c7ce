"""Counts from Prometheus: asked for, and put into the evidence log.

Each reading is one entry of the ledger and holds the counters' values, so the next one, in
whatever process, counts from there: nothing is counted twice, and nothing is missed while the
bot is away. Where nothing comes, nothing is written: the rules of silence say what follows.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import inf, isfinite
from typing import Any

import aiohttp
import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.canary.counters import CounterFault, CounterSource, counted, read_series
from bot.records.database import reading
from bot.traffic import evidence_log as ledgers
from bot.traffic.evaluation import percents_of
from bot.traffic.evidence_log import EvidenceLog, pack_counts, unpack_counts

log = structlog.get_logger(__name__)
_LONGEST_WAIT = aiohttp.ClientTimeout(total=10)
_LARGEST_ANSWER = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Vector:
    """The result of an instant query, as of `at` (seconds since the epoch; 0 without series)."""

    at: float
    series: Sequence[Any]


class Prometheus:
    """One Prometheus server (https://prometheus.io/docs/prometheus/latest/querying/api/)."""

    def __init__(self, url: str, token: str | None = None) -> None:
        """Ask at `url`, as the bearer of `token` if one is given."""
        self._url = f"{url.rstrip('/')}/api/v1/query"
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._http: aiohttp.ClientSession | None = None

    async def query(self, promql: str) -> Vector:
        """Evaluate a query now.

        Raises:
            CounterFault: Prometheus is away, refuses, or answers something else.
        """
        if self._http is None:
            self._http = aiohttp.ClientSession(headers=self._headers, timeout=_LONGEST_WAIT)
        try:
            async with self._http.post(
                self._url, data={"query": promql}, allow_redirects=False
            ) as answer:
                body = await _limited(answer)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise CounterFault(f"Prometheus cannot be reached ({type(error).__name__})") from error
        return _vector(body)

    async def close(self) -> None:
        """Close the connection."""
        if self._http is not None:
            await self._http.close()


async def _limited(answer: aiohttp.ClientResponse) -> Any:
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > _LARGEST_ANSWER:
            raise CounterFault("Prometheus answers with too much: aggregate the series")
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise CounterFault(f"Prometheus answers {answer.status}, not JSON") from None


def _vector(body: Any) -> Vector:
    match body:
        case {"status": "success", "data": {"resultType": "vector", "result": [*series]}}:
            try:
                at = max((float(each["value"][0]) for each in series), default=0.0)
            except (LookupError, TypeError, ValueError, OverflowError):
                at = inf
            if not isfinite(at):
                raise CounterFault("the answer is not an instant vector")
            return Vector(at, series)
        case {"status": "success"}:
            raise CounterFault("the queries must give instant vectors")
        case {"status": "error", "error": str(why)}:
            raise CounterFault(f"Prometheus refuses the query: {why[:300]}")
        case _:
            raise CounterFault("Prometheus answers something unknown")


NOT_SET = "PROMETHEUS_URL is not set"
"""Why no counters can be read."""
_LOOK_EVERY = 0.5
_LOOK_FOR_RAMPS_EVERY = 1.0
"""Seconds between two looks while no ramp has counters: as long as the shortest allowed silence."""


class Scraper:
    """Reads counters. Several processes may: each reading counts once."""

    def __init__(
        self,
        database: AsyncEngine,
        query: Callable[[str], Awaitable[Vector]] | None,
        *,
        clock: Callable[[], datetime],
        heard: Callable[[str], None],
    ) -> None:
        """Write to the records database.

        Args:
            database: the records database.
            query: asks Prometheus; None: there is none.
            clock: tells the time (UTC).
            heard: told of every attempt that has something new, once it is durable.
        """
        self._database = database
        self._reading = reading(database)
        self._query = query
        self._clock = clock
        self._heard = heard
        self._last: dict[str, datetime] = {}
        self._faults: dict[str, str] = {}

    def hindrance(self) -> str | None:
        """Why no counters can be read at all; None: they can be asked for."""
        return NOT_SET if self._query is None else None

    def fault(self, attempt: str) -> str | None:
        """Why the last reading for this ramp failed; None: it did not."""
        return self._faults.get(attempt)

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            try:
                await self.read_due()
            except Exception:
                log.exception("counters could not be read; trying again")
            await asyncio.sleep(_LOOK_EVERY if self._last else _LOOK_FOR_RAMPS_EVERY)

    async def read_due(self) -> None:
        """Read the counters of every ramp that is due."""
        async with self._reading.connect() as conn:
            found = await ledgers.with_counters(conn)
        known = {each.attempt for each in found}
        self._last = {attempt: at for attempt, at in self._last.items() if attempt in known}
        self._faults = {attempt: why for attempt, why in self._faults.items() if attempt in known}
        due: list[Awaitable[None]] = []
        for ledger in found:
            source = ledger.source
            last, now = self._last.get(ledger.attempt), self._clock()
            if source is not None and (last is None or now - last >= source.every):
                self._last[ledger.attempt] = now
                due.append(self._try(ledger, source))
        # All at once: what is slow or wrong for one ramp is no silence of the others.
        for failed in await asyncio.gather(*due, return_exceptions=True):
            if isinstance(failed, Exception):
                log.error("counters could not be read; trying again", exc_info=failed)

    async def _try(self, ledger: EvidenceLog, source: CounterSource) -> None:
        try:
            if self._query is None:
                raise CounterFault(NOT_SET)
            vector = await self._query(source.query)
            await self._count(ledger, source, vector)
        except CounterFault as fault:
            if self._faults.get(ledger.attempt) != str(fault):
                log.warning("no counts", capability=ledger.capability, why=str(fault))
            self._faults[ledger.attempt] = str(fault)
        else:
            self._faults.pop(ledger.attempt, None)

    async def _count(self, ledger: EvidenceLog, source: CounterSource, vector: Vector) -> None:
        series = read_series(vector.series)
        async with self._database.begin() as conn:
            ledger = await ledgers.locked(conn, ledger.attempt)
            if ledger.closed_at is not None:
                return
            entry = await ledgers.last_of_kind(conn, ledger.attempt, "counts")
            before = None if entry is None else unpack_counts(entry.content)
            if before is not None and vector.at <= before.read_at:
                return
            percents = await percents_of(conn, ledger.attempt)
            edges = source.edges(ledger.policy)
            found = counted(series, before, percents, edges, read_at=vector.at)
            if found.is_empty and (before is None or found.values == before.values):
                return
            await ledgers.append(conn, ledger, "counts", pack_counts(found), at=self._clock())
        self._heard(ledger.attempt)
