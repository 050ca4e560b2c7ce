"""What is over is forgotten: sizes before and after, and how long others wait meanwhile.

    python benchmarks/retention.py --deliveries 100000 --runs 10000 --observations 1000000

Deliveries, Runs with their steps, executions and observations are written into SQLite, some of
them open. The clock moves on by 100 days, and everything is tidied, while somebody writes a row
every 20 ms. Printed: rows and bytes before and after, the writer's longest wait, whether the audit
chain is whole and everything open is there, and what a second round finds to do.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path

import sqlalchemy as sa
from dbos._schemas.system_database import SystemSchema
from sqlalchemy.ext.asyncio import AsyncEngine

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.observations import LINES, begin, body
from bot.app import wall_clock
from bot.engine.storage import make_tables, open_engine_database
from bot.records import incidents
from bot.records.audit import chain
from bot.records.audit.verify import Altered, Truncated, verify
from bot.records.database import open_database, url_from
from bot.records.lifecycle import RunState
from bot.records.schema import migrate
from bot.records.tables.intake import answers, inbox
from bot.records.tables.recovery import runs, steps
from bot.records.tables.traffic import evidence_entries, observed_events
from bot.retention import Retention
from bot.traffic import evidence_log as ledgers
from bot.traffic.circuit_breaker import CircuitBreaker
from bot.traffic.evaluation import Evaluations
from bot.traffic.ingest import Ingest
from tests.intake.api.providing import APP
from tests.records.examples import REPOSITORY, opening

STEPS = 12
"""Of each Run; as many outputs has its execution."""
OPEN_EVERY = 100
"""Every so many Runs one is not over."""
PAYLOAD = {"text": "x" * 600}
STATUS, OUTPUTS = SystemSchema.workflow_status, SystemSchema.operation_outputs
BLANK = {"schema_translate_map": {STATUS.schema: None}}


async def observe(records: AsyncEngine, folder: Path, count: int) -> None:
    """Take a request of observations in as the server does, copy its rows, and end the ramp."""
    await begin(folder)
    ingest = Ingest(records, clock=wall_clock, heard=lambda _: None)
    rng = random.Random(20)  # noqa: S311 - repeatable
    await ingest.put(APP.id, body(rng, min(LINES, count), 0, 1).split(b"\n"))
    expires = int((wall_clock() + timedelta(days=1)).timestamp())
    async with records.connect() as conn:
        entry = dict((await conn.execute(sa.select(evidence_entries))).one()._mapping)
    for number in range(1, -(-count // LINES)):
        keys = sorted(rng.randbytes(16) for _ in range(min(LINES, count - number * LINES)))
        async with records.begin() as conn:
            await conn.execute(
                sa.insert(observed_events),
                [{"repository_id": APP.id, "event": key, "expires": expires} for key in keys],
            )
            more = entry | {"seq": number + 1}
            await conn.execute(sa.insert(evidence_entries).values(more))
    async with records.begin() as conn:
        await ledgers.close(conn, "ramp-1", at=wall_clock())


async def deliver(records: AsyncEngine, count: int, now: datetime) -> None:
    """Deliveries that were handed over, but for the last hundred."""
    for first in range(0, count, 5000):
        rows = [
            {"key": f"1:{n}", "payload": PAYLOAD, "received_at": now,
             "done_at": None if n >= count - OPEN_EVERY else now}
            for n in range(first, min(first + 5000, count))
        ]  # fmt: skip
        async with records.begin() as conn:
            await conn.execute(sa.insert(inbox), rows)


async def play(records: AsyncEngine, beside: AsyncEngine, count: int, now: datetime) -> None:
    """Runs, steps, answers and executions; of a hundred one is live, and one held."""
    at = int(now.timestamp() * 1000)
    async with records.begin() as conn:
        held, _ = await incidents.open_or_join(conn, opening())
    for first in range(0, count, 500):
        ids = range(first, min(first + 500, count))
        live = {n for n in ids if n % OPEN_EVERY == 0}
        async with records.begin() as conn:
            await conn.execute(
                sa.insert(runs),
                [{"id": f"r{n}", "repository_id": REPOSITORY.id, "playbook": "revert",
                  "playbook_version": 1, "trigger_key": f"1:{n}", "trigger": PAYLOAD, "inputs": {},
                  "actor": "a", "dry_run": False, "created_at": now, "updated_at": now,
                  "incident_id": held.id if n % OPEN_EVERY == 1 else None,
                  "state": RunState.RUNNING if n in live else RunState.SUCCEEDED,
                  "finished_at": None if n in live else now, "version": 1} for n in ids],
            )  # fmt: skip
            await conn.execute(
                sa.insert(steps),
                [{"key": f"r{n}/{k}", "run_id": f"r{n}", "name": "x", "attempt": 1,
                  "reversibility": "irreversible", "started_at": now, "finished_at": now}
                 for n in ids for k in range(STEPS)],
            )  # fmt: skip
            await conn.execute(
                sa.insert(answers),
                [{"run_id": f"r{n}", "repository_id": 1, "actor": "a", "outcome": "done",
                  "text": "", "at": now} for n in ids],
            )  # fmt: skip
            for n in ids:
                if n % 10 == 0:
                    await chain.append(conn, REPOSITORY.id, "x", actor="a", at=now, run=f"r{n}")
        async with beside.begin() as conn:
            await conn.execute(
                sa.insert(STATUS),
                [{"workflow_uuid": f"r{n}", "status": "PENDING" if n in live else "SUCCESS",
                  "created_at": at, "updated_at": at, "priority": 0, "inputs": "x" * 600}
                 for n in ids],
                execution_options=BLANK,
            )  # fmt: skip
            await conn.execute(
                sa.insert(OUTPUTS),
                [{"workflow_uuid": f"r{n}", "function_id": k, "function_name": "x",
                  "output": "x" * 100, "retention_timestamp": at}
                 for n in ids for k in range(STEPS)],
                execution_options=BLANK,
            )  # fmt: skip


async def rows(records: AsyncEngine, beside: AsyncEngine) -> dict[str, int]:
    """How many there are."""
    found = {}
    for table in (inbox, runs, steps, answers, observed_events, evidence_entries):
        async with records.connect() as conn:
            query = sa.select(sa.func.count()).select_from(table)
            found[table.name] = int((await conn.execute(query)).scalar_one())
    for table in (STATUS, OUTPUTS):
        async with beside.connect() as conn:
            query = sa.select(sa.func.count()).select_from(table)
            counted = await conn.execute(query, execution_options=BLANK)
            found[table.name] = int(counted.scalar_one())
    return found


async def size(folder: Path, *databases: AsyncEngine) -> int:
    """Bytes of both files, once everything is written into them."""
    for database in databases:
        async with database.connect() as conn:
            driver = (await conn.get_raw_connection()).driver_connection
            await driver.executescript("PRAGMA wal_checkpoint(TRUNCATE)")  # type: ignore[union-attr]
    return await asyncio.to_thread(
        lambda: sum(each.stat().st_size for each in folder.glob("*.db*"))
    )


async def somebody(records: AsyncEngine, waits: list[float]) -> None:
    """Write a row every 20 ms, and note how long each took."""
    number = 0
    while True:
        began = time.perf_counter()
        async with records.begin() as conn:
            await conn.execute(
                sa.insert(answers).values(
                    run_id=f"somebody-{number}", repository_id=1, actor="a", outcome="done",
                    text="", at=wall_clock() + timedelta(days=100),
                )
            )  # fmt: skip
        waits.append(time.perf_counter() - began)
        number += 1
        await asyncio.sleep(0.02)


async def main(deliveries: int, count: int, observations: int) -> bool:
    """Fill, move the clock on, tidy, look."""
    with tempfile.TemporaryDirectory() as name:
        folder, now = Path(name), wall_clock()
        await migrate(url_from(folder))
        records = open_database(url_from(folder))
        await make_tables(records, folder)
        beside = open_engine_database(records, folder)
        await observe(records, folder, observations)
        await deliver(records, deliveries, now)
        await play(records, beside, count, now)
        before, bytes_before = await rows(records, beside), await size(folder, records, beside)

        def later() -> datetime:
            return wall_clock() + timedelta(days=100)

        async def wake(_: str) -> None:
            pass

        guard = CircuitBreaker(records, Evaluations(records), wake=wake, clock=later)
        retention = Retention(records, folder, keep=timedelta(days=90), clock=later)
        waits: list[float] = []
        writer = asyncio.create_task(somebody(records, waits))
        began = time.perf_counter()
        await guard._tidy()
        gone = await retention.tidy()
        took = time.perf_counter() - began
        writer.cancel()
        await asyncio.gather(writer, return_exceptions=True)
        began = time.perf_counter()
        again = await retention.tidy()
        idle = time.perf_counter() - began
        after, bytes_after = await rows(records, beside), await size(folder, records, beside)
        async with records.connect() as conn:
            entries = await chain.read(conn, REPOSITORY.id)
            verdict = verify(entries, [], [], await chain.head_of(conn, REPOSITORY.id))
        await beside.dispose()
        await records.dispose()

        print(f"{'rows':<20} {'before':>12} {'after':>10}")
        for table, many in before.items():
            print(f"{table:<20} {many:>12,} {after[table]:>10,}")
        print(f"{'MiB':<20} {bytes_before / 2**20:>12,.1f} {bytes_after / 2**20:>10,.1f}")
        waits.sort()
        print(
            f"tidied in {took:.0f} s; meanwhile {len(waits):,} writes by somebody else: "
            f"half within {waits[len(waits) // 2] * 1000:.0f} ms, 99 of 100 within "
            f"{waits[int(len(waits) * 0.99)] * 1000:.0f} ms, the longest {waits[-1] * 1000:.0f} ms"
        )
        whole = not isinstance(verdict, Altered | Truncated) and len(entries) == -(-count // 10)
        kept = 2 * -(-count // OPEN_EVERY)
        there = after["runs"] == kept and after["workflow_status"] == kept
        waiting = after["inbox"] == min(deliveries, OPEN_EVERY)
        print(f"audit chain: {len(entries):,} entries, {'whole' if whole else verdict}")
        print(f"open Runs and those of open incidents: {kept:,}, all there: {there}")
        print(f"deliveries that wait: all there: {waiting}")
        print(f"a second round forgot {sum(again.values())} rows in {idle:.1f} s: {gone}")
        return whole and there and waiting and not any(again.values())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--deliveries", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--observations", type=int, default=1_000_000)
    given = parser.parse_args()
    done = asyncio.run(main(given.deliveries, given.runs, given.observations))
    sys.exit(0 if done else 1)
