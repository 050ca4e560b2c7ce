"""A million observations, and how soon a breach is acted on.

    python benchmarks/observations.py --count 1000000 --rate 1000 --breaches 10

A server of its own process takes observations over HTTP into SQLite; its guard judges the ramp.

1. So many observations as fast as they are taken: rate, memory, and after a kill -9 right behind
   the last 202 whether every one that was confirmed is there and counted once.
2. At a steady rate, one arm begins to fail: from the moment the observation that crosses the
   limit was on disk, how long until OFREP and a copy of the flag file serve the baseline?
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncEngine

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bot.app import wall_clock
from bot.canary.baseline import FrozenBaseline
from bot.canary.policy import Policy
from bot.records.database import open_database, url_from
from bot.records.schema import migrate
from bot.traffic import allocation
from bot.traffic import evidence_log as ledgers
from bot.traffic.allocation import NewestAllocations
from bot.traffic.circuit_breaker import CircuitBreaker
from bot.traffic.evaluation import Evaluations, begun, percents_of
from bot.traffic.flag_file import FlagFile
from bot.traffic.flagd import Split
from bot.traffic.ingest import Ingest
from tests.canary.traffic import frozen
from tests.intake.api.providing import APP, Served, application

CAPABILITY = "llm.summarize"
LINES = 10_000
"""In a request of the first part."""
BURST = 100
"""In a request of the second part."""
AT_ONCE = 2
HEADERS = {"Authorization": "Bearer everywhere"}


async def serve(folder: Path) -> None:
    """The server: the bot's own parts, without GitHub."""
    database = open_database(url_from(folder))

    async def wake(run: str) -> None:
        del run

    guard = CircuitBreaker(database, Evaluations(database), wake=wake, clock=wall_clock)
    observing = Ingest(database, clock=wall_clock, heard=guard.heard)
    app = application(Served(), NewestAllocations(database), observing)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    gc.freeze()  # as `serve` does
    print(runner.addresses[0][1], flush=True)
    await guard.run()


@dataclass
class Server:
    """A running server."""

    process: subprocess.Popen[str]
    url: str

    def memory(self) -> tuple[float, float]:
        """Resident memory now and at most, MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = dict(line.split(":", 1) for line in status.splitlines())
        return tuple(int(found[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))  # type: ignore[return-value]


@contextmanager
def server(folder: Path) -> Iterator[Server]:
    """Start the server, and end it."""
    command = [sys.executable, __file__, "--serve", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603
    assert process.stdout is not None  # noqa: S101
    try:
        yield Server(process, f"http://127.0.0.1:{process.stdout.readline().strip()}")
    finally:
        process.kill()
        process.wait()


async def begin(folder: Path, percent: int = 50, attempt: str = "ramp-1") -> None:
    """Begin a ramp; its policy waits for more than there will be."""
    database = open_database(url_from(folder))
    now = wall_clock()
    policy = Policy.model_validate({"baseline": "provider-a", "candidates": ["provider-b"]})
    baseline: FrozenBaseline = frozen()
    async with database.begin() as conn:
        await ledgers.open_log(
            conn, attempt=attempt, run_id="run-1", repository_id=APP.id, capability=CAPABILITY,
            policy=policy, frozen=baseline, at=now,
        )  # fmt: skip
        split = Split(
            baseline="provider-a", candidate="provider-b", percent=percent, mode="ramp",
            attempt=attempt, salt=attempt,
        )  # fmt: skip
        await allocation.set_traffic(
            conn,
            APP.id,
            CAPABILITY,
            split,
            allocation.Decided(at=now, actor="benchmark", why="a benchmark"),
        )
    await database.dispose()


def body(
    rng: random.Random, count: int, first: int, generation: int, errors: float = 0.02
) -> bytes:
    """So many observations; the candidate fails as often as said."""
    now = datetime.now(UTC).isoformat()
    lines = []
    for number in range(first, first + count):
        candidate = rng.random() < 0.5
        lines.append(
            json.dumps(
                {
                    "event_id": f"{generation}-{number}-{rng.getrandbits(64):016x}",
                    "capability": CAPABILITY,
                    "arm": "candidate" if candidate else "baseline",
                    "generation": generation,
                    "time": now,
                    "latency": 0.2 * rng.lognormvariate(0, 0.5),
                    "error": rng.random() < (errors if candidate else 0.02),
                    "cost": 0.001 * rng.lognormvariate(0, 0.5),
                }
            )
        )
    return "\n".join(lines).encode()


async def post(http: aiohttp.ClientSession, url: str, data: bytes) -> Any:
    """Report; the answer of a 202."""
    async with http.post(f"{url}/providers/observations", data=data) as answer:
        found = await answer.json()
        if answer.status != 202:
            raise SystemExit(f"{answer.status}: {found}")
        return found


async def flood(count: int, seed: int) -> bool:
    """The first part."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        await migrate(url_from(folder))
        await begin(folder)
        rng = random.Random(seed)  # noqa: S311 - repeatable
        confirmed, marks = 0, []
        with server(folder) as running:
            async with aiohttp.ClientSession(headers=HEADERS) as http:
                await post(http, running.url, body(rng, 100, 10**9, 1))
                confirmed, spent, sent = 100, 0.0, 0
                while sent < count:
                    bodies = [
                        body(rng, LINES, sent + number * LINES, 1)
                        for number in range(min(AT_ONCE, -(-(count - sent) // LINES)))
                    ]
                    began = time.perf_counter()
                    answers = await asyncio.gather(
                        *(post(http, running.url, each) for each in bodies)
                    )
                    spent += time.perf_counter() - began
                    sent += LINES * len(bodies)
                    confirmed += sum(answer["accepted"] for answer in answers)
                    if sent * 10 // count > len(marks):
                        marks.append((sent, sent / spent, *running.memory()))
            running.process.send_signal(signal.SIGKILL)
        print(f"{'observations':>12} {'per second':>11} {'MiB now':>8} {'MiB at most':>12}")
        for seen, rate, now, most in marks:
            print(f"{seen:>12,} {rate:>11,.0f} {now:>8.0f} {most:>12.0f}")
        database = open_database(url_from(folder))
        ledger, course = await Evaluations(database).current("ramp-1")
        again = await _from_the_first_entry(database, ledger)
        await database.dispose()
        same = course.save() == again
        print(f"evidence as resumed and as added up anew: {'equal to the digit' if same else '?'}")
        counted = sum(course.evidence.assigned.counts)  # type: ignore[union-attr]
        size = _size(folder)
        print(f"confirmed {confirmed:,}; after kill -9 counted {counted:,}; disk {size >> 20} MiB")
        return counted == confirmed and same


async def _from_the_first_entry(database: AsyncEngine, ledger: ledgers.EvidenceLog) -> bytes:
    """What is learnt without any checkpoint."""
    course = begun(ledger)
    async with database.connect() as conn:
        percents = await percents_of(conn, ledger.attempt)
        while course.seq < ledger.last:
            for entry in await ledgers.entries(
                conn, ledger.attempt, after=course.seq, until=ledger.last
            ):
                course.take(entry, percents)
    return course.save()


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _document(path: Path) -> Any:
    return json.loads(path.read_text())


async def breaches(count: int, rate: int, seed: int) -> bool:
    """The second part."""
    rows = [await breach(rate, seed + number) for number in range(count)]
    print(f"\n{'to the baseline, ms':>20} {'median':>8} {'worst':>8}   ({rate:,} observations/s)")
    for name, index in (("OFREP", 0), ("flag file", 1)):
        times = [row[index] * 1000 for row in rows]
        print(f"{name:>20} {statistics.median(times):>8.0f} {max(times):>8.0f}")
    return max(max(row) for row in rows) < 1.0


async def breach(rate: int, seed: int) -> tuple[float, float]:
    """Seconds from the crossing observation being on disk to the baseline, by OFREP and file."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        await migrate(url_from(folder))
        await begin(folder)
        rng = random.Random(seed)  # noqa: S311 - repeatable
        with server(folder) as running:
            async with aiohttp.ClientSession(headers=HEADERS) as http:
                path = folder / "flagd.json"
                url = f"{running.url}/flags/flagd.json"
                with FlagFile(url, "everywhere", path, every=0.1):
                    watching = asyncio.create_task(_baseline_served(http, running.url, path))
                    await _steadily(http, running.url, rng, rate, watching)
                    seen = await watching
        database = open_database(url_from(folder))
        async with database.connect() as conn:
            ledger = await ledgers.find(conn, "ramp-1")
            assert ledger is not None  # noqa: S101
            assert ledger.closed_seq is not None  # noqa: S101
            crossing = await ledgers.entries(
                conn, "ramp-1", after=ledger.closed_seq - 1, until=ledger.closed_seq
            )
        await database.dispose()
        crossed = crossing[0].at.timestamp()
        return seen[0] - crossed, seen[1] - crossed


async def _steadily(
    http: aiohttp.ClientSession,
    url: str,
    rng: random.Random,
    rate: int,
    until: asyncio.Task[tuple[float, float]],
) -> None:
    """Report at a steady rate; after three seconds the candidate begins to fail."""
    began, number = time.perf_counter(), 0
    sending: set[asyncio.Task[Any]] = set()
    while not until.done() and number < 60 * rate:
        errors = 0.02 if number < 3 * rate else 0.12
        data = body(rng, BURST, number, 1, errors)
        sending.add(asyncio.create_task(_post_anyway(http, url, data)))
        number += BURST
        await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
    await asyncio.gather(*sending)


async def _post_anyway(http: aiohttp.ClientSession, url: str, data: bytes) -> None:
    """Report; once the ramp is over, nothing counts any more."""
    async with http.post(f"{url}/providers/observations", data=data) as answer:
        await answer.read()


async def _baseline_served(
    http: aiohttp.ClientSession, url: str, path: Path
) -> tuple[float, float]:
    """When OFREP, and when the file first said baseline, seconds since the epoch."""
    ofrep, file = 0.0, 0.0
    while not (ofrep and file):
        if not ofrep:
            address = f"{url}/ofrep/v1/evaluate/flags/{CAPABILITY}"
            async with http.post(address, json={"context": {"targetingKey": "k"}}) as answer:
                found = await answer.json()
            if found["metadata"].get("paused"):
                ofrep = time.time()
        if not file and _document(path)["flags"][CAPABILITY]["metadata"].get("paused"):
            file = time.time()
        await asyncio.sleep(0.005)
    return ofrep, file


def main() -> int:
    """Run both parts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--rate", type=int, default=1_000)
    parser.add_argument("--breaches", type=int, default=10)
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--serve", type=Path)
    given = parser.parse_args()
    if given.serve is not None:
        asyncio.run(serve(given.serve))
        return 0
    print(f"{os.cpu_count()} processors, SQLite, seed {given.seed}")
    kept = asyncio.run(flood(given.count, given.seed))
    quick = asyncio.run(breaches(given.breaches, given.rate, given.seed))
    print("nothing lost" if kept else "OBSERVATIONS WERE LOST")
    return 0 if kept and quick else 1


if __name__ == "__main__":
    sys.exit(main())
