"""What is over is kept for PLAYBOOKS_KEEP days, and then forgotten, a little at a time.

Runs with their steps, trials and progress, what came in and was answered, notifications, what
shadows and ramps were judged by, and the engine's own rows. Incidents stay, and the audit chain is
never touched. A Run goes only when it has ended, its incident is closed, and no shadow or ramp of
its is open. Each batch is a short transaction, and far longer than it took the database is left to
others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.engine.storage import forget_executions, open_engine_database
from bot.records.database import give_space_back, reading
from bot.records.tables.intake import alert_events, answers, inbox, notifications
from bot.records.tables.recovery import (
    OPEN_STATUSES,
    incidents,
    progress,
    runs,
    steps,
    trials,
)
from bot.records.tables.traffic import evidence, evidence_entries

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class RetentionRhythm:
    """How fast it goes.

    Attributes:
        every: seconds from one round to the next.
        rest: after each batch, so many times as long as it took nothing is done.
        runs: so many Runs in one transaction, with all that belongs to them.
        rows: so many rows of another table.
    """

    every: float = 3600.0
    rest: float = 4.0
    runs: int = 50
    rows: int = 1000


class Retention:
    """Forgets what is over. One per process; several at once do no harm."""

    def __init__(
        self,
        records: AsyncEngine,
        data: Path,
        *,
        keep: timedelta,
        clock: Callable[[], datetime],
        also: Sequence[Callable[[], Awaitable[None]]] = (),
        rhythm: RetentionRhythm | None = None,
    ) -> None:
        """Prepare; nothing is opened before the first round.

        Args:
            records: the records database.
            data: the data folder, which has the engine's file on SQLite.
            keep: so long what is over stays.
            clock: tells the time (UTC).
            also: what else is tidied in each round.
            rhythm: how fast it goes.
        """
        self._records = records
        self._reading = reading(records)
        self._data = data
        self._keep = keep
        self._clock = clock
        self._also = also
        self._rhythm = rhythm or RetentionRhythm()

    async def run(self) -> None:
        """Tidy, and be idle, until cancelled."""
        while True:
            # Not at the start, when what was under way is taken up again.
            await asyncio.sleep(self._rhythm.every)
            await self.tidy()
            for tidy in self._also:
                await tidy()

    async def tidy(self) -> dict[str, int]:
        """Forget all that is over; the rows that went, by table."""
        before = self._clock() - self._keep
        rows = self._rhythm.rows
        gone = {
            "runs": await self._all(lambda: self._runs(before), self._rhythm.runs),
            "inbox": await self._all(lambda: self._inbox(before), rows),
            "answers": await self._all(lambda: self._answers(before), rows),
            "notifications": await self._all(lambda: self._notifications(before), rows),
            "alert_events": await self._all(lambda: self._alert_events(before), rows),
            "evidence": await self._all(lambda: self._evidence(before), self._rhythm.runs),
        }
        engine = open_engine_database(self._records, self._data)
        try:
            most = self._rhythm.runs
            gone["engine"] = await self._all(
                lambda: forget_executions(engine, self._records, before, most), most
            )
            for database in {self._records, engine}:
                while await self._paced(partial(give_space_back, database)):
                    pass
        finally:
            if engine is not self._records:
                await engine.dispose()
        if any(gone.values()):
            log.info("what was over was forgotten", before=before.isoformat(), **gone)
        return gone

    async def _all(self, forget: Callable[[], Awaitable[int]], most: int) -> int:
        """Forget batch after batch until one is not full; how many in all."""
        total = 0
        while (done := await self._paced(forget)) >= most:
            total += done
        return total + done

    async def _paced(self, work: Callable[[], Awaitable[int]]) -> int:
        time = asyncio.get_running_loop().time
        began = time()
        done = await work()
        if done:
            await asyncio.sleep((time() - began) * self._rhythm.rest)
        return done

    async def _runs(self, before: datetime) -> int:
        still_open = sa.select(incidents.c.id).where(incidents.c.status.in_(OPEN_STATUSES))
        over = (
            sa.select(runs.c.id)
            .where(
                runs.c.finished_at < before,
                sa.or_(runs.c.incident_id.is_(None), runs.c.incident_id.not_in(still_open)),
                sa.or_(runs.c.joined_incident.is_(None), runs.c.joined_incident.not_in(still_open)),
                ~sa.exists().where(evidence.c.run_id == runs.c.id, evidence.c.closed_at.is_(None)),
            )
            .limit(self._rhythm.runs)
        )
        ids = await self._found(over)
        if ids:
            async with self._records.begin() as conn:
                for table in (steps, trials, progress):
                    await conn.execute(sa.delete(table).where(table.c.run_id.in_(ids)))
                await conn.execute(sa.delete(runs).where(runs.c.id.in_(ids)))
        return len(ids)

    async def _inbox(self, before: datetime) -> int:
        over = sa.select(inbox.c.id).where(inbox.c.done_at < before).order_by(inbox.c.id)
        return await self._rows(inbox.c.id, over)

    async def _answers(self, before: datetime) -> int:
        live = sa.select(runs.c.id).where(runs.c.finished_at.is_(None))
        over = sa.select(answers.c.run_id).where(
            answers.c.at < before, answers.c.run_id.not_in(live)
        )
        return await self._rows(answers.c.run_id, over)

    async def _notifications(self, before: datetime) -> int:
        still_open = sa.select(incidents.c.id).where(incidents.c.status.in_(OPEN_STATUSES))
        over = sa.select(notifications.c.id).where(
            notifications.c.settled_at < before,
            sa.or_(
                notifications.c.incident_id.is_(None),
                notifications.c.incident_id.not_in(still_open),
            ),
        )
        return await self._rows(notifications.c.id, over)

    async def _alert_events(self, before: datetime) -> int:
        over = sa.select(alert_events.c.key).where(alert_events.c.received_at < before)
        keys = await self._found(over.limit(self._rhythm.rows))
        if keys:
            async with self._records.begin() as conn:
                await conn.execute(
                    sa.delete(alert_events).where(
                        alert_events.c.key.in_(keys), alert_events.c.received_at < before
                    )
                )
        return len(keys)

    async def _evidence(self, before: datetime) -> int:
        """What a shadow or ramp that is over was judged by; its report is in the repository."""
        live = sa.select(runs.c.id).where(runs.c.finished_at.is_(None))
        over = sa.select(evidence.c.attempt).where(
            evidence.c.closed_at < before, evidence.c.run_id.not_in(live)
        )
        entry = evidence_entries.c
        query = sa.select(entry.attempt, entry.seq).where(entry.attempt.in_(over))
        async with self._reading.connect() as conn:
            found = (await conn.execute(query.limit(self._rhythm.runs))).all()
        if found:
            those = [tuple(row) for row in found]
            async with self._records.begin() as conn:
                await conn.execute(
                    sa.delete(evidence_entries).where(
                        sa.tuple_(entry.attempt, entry.seq).in_(those)
                    )
                )
        return len(found)

    async def _rows(self, key: sa.Column[Any], over: sa.Select[Any]) -> int:
        ids = await self._found(over.limit(self._rhythm.rows))
        if ids:
            async with self._records.begin() as conn:
                await conn.execute(sa.delete(key.table).where(key.in_(ids)))
        return len(ids)

    async def _found(self, over: sa.Select[Any]) -> list[Any]:
        """Look without a lock: what is over does not begin again."""
        async with self._reading.connect() as conn:
            return list((await conn.execute(over)).scalars())
