"""When a bot whose heartbeat falls silent ends itself, and when it need not."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from bot.records import replicas
from bot.records.database import open_database, url_from
from bot.records.replicas import NameLock
from bot.records.schema import migrate
from bot.replicas import Heartbeat, HeartbeatRhythm
from tests.plugins.postgres import (
    migrated_postgres_url,
    migrated_postgresql,
    postgres_server,
    postgres_url,
)

__all__ = ["migrated_postgres_url", "migrated_postgresql", "postgres_server", "postgres_url"]

QUICK = HeartbeatRhythm(beat_every=timedelta(seconds=0.2), give_up_after=timedelta(seconds=0.5))
LATER = timedelta(hours=1)
GOES_ON = "the heartbeat could not be renewed; nobody else is there, so it goes on"


class Process:
    """Stands for one bot on the database."""

    def __init__(self, records: AsyncEngine, name: str, rhythm: HeartbeatRhythm = QUICK) -> None:
        self.taken_over: list[str] = []
        self.gave_up = asyncio.Event()
        self.ahead = timedelta()
        loop = asyncio.get_running_loop()
        self.heartbeat = Heartbeat(
            records,
            name,
            clock=lambda: datetime.now(UTC) + self.ahead,
            take_over=self._take_over,
            give_up=lambda: loop.call_soon_threadsafe(self.gave_up.set),
            rhythm=rhythm,
        )

    async def beats(self, number: int) -> None:
        """Wait until it has renewed its heartbeat so often."""
        for _ in range(number):
            last = self.heartbeat._renewed
            await until(lambda last=last: self.heartbeat._renewed != last)

    async def _take_over(self, sibling: str) -> int:
        self.taken_over.append(sibling)
        return 1


@asynccontextmanager
async def alive(process: Process) -> AsyncIterator[None]:
    await process.heartbeat.begin()
    beating = asyncio.create_task(process.heartbeat.run())
    try:
        yield
    finally:
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)


@contextmanager
def nobody_else_writes(database: Path) -> Iterator[None]:
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - some of it happens in a thread
            await asyncio.sleep(0.01)


@pytest.fixture
async def records(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    await migrate(url_from(tmp_path))
    engine = open_database(url_from(tmp_path))
    yield engine
    await engine.dispose()


async def test_a_lone_bot_on_sqlite_goes_on_when_its_heartbeat_cannot_be_renewed(
    records: AsyncEngine, tmp_path: Path
) -> None:
    lone = Process(records, "lone")
    async with alive(lone):
        with capture_logs() as logs, nobody_else_writes(tmp_path / "playbooks.db"):
            await until(lambda: GOES_ON in [each["event"] for each in logs])
    assert not lone.gave_up.is_set()


async def test_a_second_bot_on_sqlite_gives_up_in_time_since_the_first_may_take_over(
    records: AsyncEngine, tmp_path: Path
) -> None:
    first, second = Process(records, "first"), Process(records, "second")
    async with alive(first), alive(second):
        with nobody_else_writes(tmp_path / "playbooks.db"):
            async with asyncio.timeout(30):
                await second.gave_up.wait()
        assert not first.gave_up.is_set()


@pytest.mark.parametrize("wrong_by", [timedelta(minutes=1), timedelta(minutes=-1)])
async def test_a_machine_whose_clock_is_wrong_takes_nothing_over_and_loses_nothing(
    migrated_postgres_url: str, wrong_by: timedelta
) -> None:
    engine = open_database(migrated_postgres_url)
    # A busy machine may keep a process waiting for longer than half a second.
    unhurried = HeartbeatRhythm(QUICK.beat_every, give_up_after=timedelta(seconds=20))
    right, wrong = (Process(engine, each, unhurried) for each in ("right", "wrong"))
    async with alive(right), alive(wrong):
        wrong.ahead = wrong_by
        await asyncio.sleep(1.0)
        assert (await wrong.heartbeat.living() or {}).keys() == {"right", "wrong"}
    await engine.dispose()
    assert [right.taken_over, wrong.taken_over] == [[], []]
    assert not right.gave_up.is_set()
    assert not wrong.gave_up.is_set()


@pytest.mark.parametrize("by", ["45 seconds", "-45 seconds", "-2 hours"])
async def test_a_database_whose_clock_is_set_has_nobody_taken_over_who_lives(
    postgres_url: str, by: str
) -> None:
    set_by = "CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS "
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute(f"{set_by} $$ SELECT pg_catalog.clock_timestamp() $$".encode())
    path = {"options": "-csearch_path=public,pg_catalog"}
    url = sa.make_url(postgres_url).update_query_dict(path).render_as_string(hide_password=False)
    await migrate(url)
    engine = open_database(url)
    names = ("one", "other", "dead")
    one, other, dead = (Process(engine, each, HeartbeatRhythm()).heartbeat for each in names)
    for each in (one, other, dead):
        await each.begin()
    set_by = set_by.replace("CREATE", "CREATE OR REPLACE")
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute(f"{set_by} $$ SELECT pg_catalog.clock_timestamp() + '{by}' $$".encode())
    for each in (one, other):
        assert await each._renew() == []
        assert (await each.living() or {}).keys() >= {"one", "other"}
    await dead._name.release()  # as the server does where a process died
    one._sure_at = 0.0  # each that lives had time to beat
    assert await one._renew() == ["dead"]
    for each in (one, other):
        await each._name.release()
    await engine.dispose()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_a_clock_that_was_set_back_keeps_no_dead_bot_alive(
    tmp_path: Path, request: pytest.FixtureRequest, kind: str
) -> None:
    url = url_from(tmp_path) if kind == "sqlite" else request.getfixturevalue("postgres_url")
    await migrate(url)
    records = open_database(url)
    now = datetime.now(UTC)
    lives = NameLock(records, "lives")
    assert await lives.take()
    async with records.begin() as conn:
        for name in ("dead", "lives"):
            await replicas.join(conn, name, now + timedelta(hours=1))
        await replicas.join(conn, "us", now)
        assert (await replicas.living(conn, now)).keys() == {"lives", "us"}
        assert await replicas.eldest(conn, now) == "us"
        assert await replicas.take_dead(conn, "us", now) == ["dead"]
        # Whoever claimed it before the clock was set back has died as well.
        await replicas.join(conn, "dead", now + timedelta(hours=1))
        await replicas.take_dead(conn, "other", now + timedelta(hours=2))
        assert await replicas.take_dead(conn, "third", now) == ["dead"]
    await lives.release()
    await records.dispose()


async def test_nobody_takes_over_from_a_bot_on_sqlite_that_hangs_but_lives(
    records: AsyncEngine,
) -> None:
    hanging, other = Process(records, "hanging"), Process(records, "other")
    await hanging.heartbeat.begin()  # and never beats again
    other.ahead = LATER
    async with alive(other):
        await other.beats(3)
        assert other.taken_over == []
        lock = hanging.heartbeat._lock
        assert lock is not None
        lock.release()  # as the operating system does when a process dies
        await until(lambda: other.taken_over == ["hanging"])
