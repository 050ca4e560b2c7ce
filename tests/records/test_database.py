"""The database keeps its promises on both engines."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
import sys
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bot.engine.storage import ENGINE_FILE, use_write_ahead_log
from bot.records.database import insert_into, open_database, reading, url_from
from bot.records.schema import VERSION_TABLE, UnfitDatabase, migrate
from bot.records.sqlite import InsertAtOnce, Turns
from bot.records.tables import metadata
from bot.records.tables.columns import from_rfc3339, in_utc, rfc3339
from bot.records.tables.intake import inbox
from bot.records.tables.safety import replicas
from tests.plugins.postgres import fresh_database
from tests.records.examples import NOON

MIGRATE = """
import asyncio, sys
from bot.records.schema import migrate
asyncio.run(migrate(sys.argv[1]))
"""


async def test_the_migrations_make_exactly_the_tables_the_code_uses(conn: AsyncConnection) -> None:
    def differences(sync: sa.Connection) -> list[object]:
        # Left for releases until 2026-11-29, which look there for the revision.
        former = {
            "include_name": lambda name, kind, _: (kind, name) != ("table", "alembic_version")
        }
        context = MigrationContext.configure(sync, opts={"version_table": VERSION_TABLE, **former})
        return list(compare_metadata(context, metadata))

    assert await conn.run_sync(differences) == []


async def test_migrating_twice_changes_nothing(url: str, engine: AsyncEngine) -> None:
    async with engine.begin() as conn:
        await conn.execute(sa.insert(replicas).values(id="a", started_at=NOON, beat_at=NOON))
    await migrate(url)
    async with reading(engine).connect() as conn:
        assert (await conn.execute(sa.select(replicas.c.id))).scalars().all() == ["a"]


async def test_a_start_that_finds_nothing_to_migrate_waits_for_no_writer(
    url: str, engine: AsyncEngine
) -> None:
    async with engine.begin() as conn:
        await conn.execute(sa.insert(replicas).values(id="a", started_at=NOON, beat_at=NOON))
        async with asyncio.timeout(5):
            await migrate(url)


async def test_processes_that_start_together_migrate_once(empty_url: str) -> None:
    started = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", MIGRATE, empty_url, stderr=asyncio.subprocess.PIPE
        )
        for _ in range(3)
    ]
    ended = [await process.communicate() for process in started]
    assert [process.returncode for process in started] == [0, 0, 0], ended


async def test_a_moment_comes_back_in_utc_and_sorts_by_time(conn: AsyncConnection) -> None:
    berlin = timezone(timedelta(hours=1))
    for key, at in (("b", NOON), ("a", NOON.astimezone(berlin) - timedelta(microseconds=1))):
        await conn.execute(sa.insert(inbox).values(key=key, payload={}, received_at=at))
    rows = (await conn.execute(sa.select(inbox).order_by(inbox.c.received_at))).all()
    assert [row.key for row in rows] == ["a", "b"]
    assert rows[1].received_at == NOON
    assert rows[1].received_at.tzinfo is UTC


async def test_a_moment_without_a_time_zone_is_refused(conn: AsyncConnection) -> None:
    with pytest.raises(sa.exc.StatementError, match="time zone"):
        await conn.execute(
            sa.insert(inbox).values(key="a", payload={}, received_at=NOON.replace(tzinfo=None))
        )


async def test_any_unicode_of_a_payload_comes_back_as_it_was(conn: AsyncConnection) -> None:
    payload = {"body": "nul \x00, half \ud800, paragraph \u2029, face 🙂"}
    await conn.execute(sa.insert(inbox).values(key="a", payload=payload, received_at=NOON))
    assert (await conn.execute(sa.select(inbox.c.payload))).scalar_one() == payload


async def test_reading_waits_for_no_writer(engine: AsyncEngine) -> None:
    async with engine.begin() as writer:
        await writer.execute(sa.insert(replicas).values(id="a", started_at=NOON, beat_at=NOON))
        async with reading(engine).connect() as reader:
            assert (await reader.execute(sa.select(replicas))).all() == []


async def test_a_connection_that_only_read_may_write_afterwards(engine: AsyncEngine) -> None:
    for number in range(3):
        async with reading(engine).connect() as conn:
            await conn.execute(sa.select(replicas))
        async with engine.begin() as conn:
            row = {"id": str(number), "started_at": NOON, "beat_at": NOON}
            await conn.execute(sa.insert(replicas).values(row))


async def test_a_reading_transaction_writes_nothing_on_postgresql(postgres_url: str) -> None:
    await migrate(postgres_url)
    engine = open_database(postgres_url)
    async with reading(engine).connect() as conn:
        with pytest.raises(sa.exc.DBAPIError, match="read-only"):
            await conn.execute(sa.insert(replicas).values(id="a", started_at=NOON, beat_at=NOON))
    await engine.dispose()


async def test_a_sqlite_transaction_holds_the_write_lock_from_what_it_reads_on(
    tmp_path: Path,
) -> None:
    url = url_from(tmp_path)
    await migrate(url)
    engine = open_database(url)
    async with engine.begin() as conn:
        await conn.execute(sa.select(replicas))
        other = sqlite3.connect(tmp_path / "playbooks.db", timeout=0)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        other.close()
    await engine.dispose()


async def test_a_transaction_costs_a_trip_for_each_statement_and_one_for_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await migrate(url := url_from(tmp_path))
    engine = open_database(url)
    trips = 0
    async with reading(engine).connect() as conn:
        await conn.execute(sa.select(replicas))
        # The pool has this one alone; other databases of this process have theirs.
        driver: Any = (await conn.get_raw_connection()).driver_connection
    execute = driver._execute

    async def counted(*args: Any, **named: Any) -> Any:
        nonlocal trips
        trips += 1
        return await execute(*args, **named)

    monkeypatch.setattr(driver, "_execute", counted)
    async with reading(engine).connect() as conn:
        await conn.execute(sa.select(replicas))
    assert trips == 2
    async with engine.begin() as conn:
        await conn.execute(sa.select(replicas))
        await conn.execute(sa.insert(replicas).values(id="a", started_at=NOON, beat_at=NOON))
    assert trips == 5
    async with engine.begin():
        pass
    assert trips == 5
    await engine.dispose()


@pytest.mark.parametrize("ends", ["raises", "is cancelled"])
async def test_what_broke_off_is_rolled_back_and_holds_no_lock(
    ends: str, engine: AsyncEngine
) -> None:
    begun = asyncio.Event()

    async def broken_off() -> None:
        async with engine.begin() as conn:
            await conn.execute(sa.insert(replicas).values(id="a", started_at=NOON, beat_at=NOON))
            begun.set()
            if ends == "raises":
                raise ValueError("broke off")
            while True:
                await conn.execute(sa.select(replicas))

    task = asyncio.create_task(broken_off())
    await begun.wait()
    await asyncio.sleep(0.01)
    task.cancel()
    with suppress(ValueError, asyncio.CancelledError):
        await task
    async with engine.begin() as conn:
        assert (await conn.execute(sa.select(replicas))).all() == []
        await conn.execute(sa.insert(replicas).values(id="b", started_at=NOON, beat_at=NOON))


async def test_whoever_waits_to_write_has_its_turn_in_the_order_of_coming(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Other databases of this process have turns, too.
    acquire, came = Turns.acquire, set[asyncio.Task[None] | None]()

    async def acquired(turns: Turns, *, ahead: bool) -> None:
        came.add(asyncio.current_task())
        await acquire(turns, ahead=ahead)

    monkeypatch.setattr(Turns, "acquire", acquired)
    url = url_from(tmp_path)
    await migrate(url)
    engine = open_database(url)
    written = []

    async def write(number: int) -> None:
        row = {"id": str(number), "started_at": NOON, "beat_at": NOON}
        async with engine.begin() as conn:
            await conn.execute(sa.insert(replicas).values(row))
            written.append(number)
            if number % 3 == 1:  # Also where the one before it failed.
                raise ValueError(number)

    async with engine.begin():
        waiting = list[asyncio.Task[None]]()
        for number in range(12):
            waiting.append(asyncio.create_task(write(number)))
            # A connection is a thread, which takes its time on a busy machine.
            while waiting[-1] not in came:  # noqa: ASYNC110  seen from outside
                await asyncio.sleep(0.005)
        waiting[5].cancel()
    async with asyncio.timeout(20):
        await asyncio.gather(*waiting, return_exceptions=True)
    assert written == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11]
    await engine.dispose()


async def test_sqlite_keeps_what_it_committed_through_a_power_cut(tmp_path: Path) -> None:
    engine = open_database(url_from(tmp_path))
    async with engine.connect() as conn:
        journal = (await conn.exec_driver_sql("PRAGMA journal_mode")).scalar_one()
        synchronous = (await conn.exec_driver_sql("PRAGMA synchronous")).scalar_one()
        foreign_keys = (await conn.exec_driver_sql("PRAGMA foreign_keys")).scalar_one()
    await engine.dispose()
    assert (journal, synchronous, foreign_keys) == ("wal", 2, 1)


async def test_other_databases_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="mysql is not supported"):
        open_database("mysql://localhost/x")


async def test_a_broken_migration_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "playbooks.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE steps (x)")
    with pytest.raises(OperationalError, match="already exists"):
        await migrate(url_from(tmp_path))
    with sqlite3.connect(path) as other:
        names = other.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    assert names == [("steps",)]


@given(st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 - hypothesis wants it naive
def test_a_moment_is_read_as_it_was_written(moment: datetime) -> None:
    assert from_rfc3339(rfc3339(moment)) == moment
    assert rfc3339(moment.astimezone(timezone(timedelta(hours=5, minutes=30)))) == rfc3339(moment)


def test_a_naive_moment_is_no_moment() -> None:
    with pytest.raises(ValueError, match="time zone"):
        in_utc(datetime(2026, 3, 1, 12))  # noqa: DTZ001 - the point of the test


async def test_a_new_data_folder_is_made(tmp_path: Path) -> None:
    await migrate(url_from(tmp_path / "deep" / "er"))
    assert stat.S_ISREG((tmp_path / "deep" / "er" / "playbooks.db").stat().st_mode)


async def test_a_task_cancelled_in_the_middle_of_a_statement_leaves_no_lock_behind(
    url: str, engine: AsyncEngine
) -> None:
    async def change() -> None:
        async with engine.begin() as conn:
            row = sa.insert(replicas).values(id=str(count), started_at=NOON, beat_at=NOON)
            await conn.execute(row.returning(replicas.c.id))
            await conn.execute(sa.select(replicas.c.id))

    # The tracebacks keep what the tasks held, as a log or a debugger would.
    cancelled, other = [], open_database(url)
    for count in range(60):
        task = asyncio.create_task(change())
        await asyncio.sleep(0.0002 * (count % 20))
        task.cancel()
        try:
            await task
        except asyncio.CancelledError as error:
            cancelled.append(error)
        async with asyncio.timeout(20), other.begin() as conn:
            await conn.execute(sa.delete(replicas))
    await other.dispose()
    assert cancelled


async def test_a_database_that_a_newer_release_expanded_is_used_as_it_is(tmp_path: Path) -> None:
    url = url_from(tmp_path)
    await migrate(url)
    with closing(sqlite3.connect(tmp_path / "playbooks.db")) as database, database:
        database.execute("UPDATE schema_version SET version_num = '9999'")
    await migrate(url)
    with closing(sqlite3.connect(tmp_path / "playbooks.db")) as database:
        assert database.execute("SELECT version_num FROM schema_version").fetchall() == [("9999",)]


async def test_a_release_of_before_finds_its_own_revision_in_a_new_database(
    tmp_path: Path,
) -> None:
    await migrate(url_from(tmp_path))
    with closing(sqlite3.connect(tmp_path / "playbooks.db")) as database:
        assert database.execute("SELECT version_num FROM alembic_version").fetchall() == [("0009",)]


async def test_the_revision_that_a_release_of_before_left_is_taken_over_once(
    tmp_path: Path,
) -> None:
    url = url_from(tmp_path)
    await migrate(url)
    newest = "SELECT version_num FROM schema_version"
    with closing(sqlite3.connect(tmp_path / "playbooks.db")) as database, database:
        [(head,)] = database.execute(newest).fetchall()
        # As such a release leaves it: everything is there, and only its own table says so.
        database.execute("DROP TABLE schema_version")
        database.execute("UPDATE alembic_version SET version_num = ?", (head,))
    await migrate(url)
    with closing(sqlite3.connect(tmp_path / "playbooks.db")) as database:
        assert database.execute(newest).fetchall() == [(head,)]


async def test_writes_that_somebody_waits_for_go_before_every_second_other() -> None:
    turns, order = Turns(), list[str]()
    await turns.acquire(ahead=False)

    async def write(name: str) -> None:
        await turns.acquire(ahead=name.startswith("ahead"))
        order.append(name)
        await asyncio.sleep(0)
        turns.release()

    names = ["one", "two", "three", "ahead of one", "ahead of two", "ahead of three"]
    tasks = {}
    for name in names:
        tasks[name] = asyncio.create_task(write(name))
        await asyncio.sleep(0)
    tasks["two"].cancel()
    tasks["ahead of two"].cancel()
    await asyncio.sleep(0)
    turns.release()
    await asyncio.gather(*tasks.values(), return_exceptions=True)
    assert order == ["ahead of one", "one", "ahead of three", "three"]
    async with asyncio.timeout(1):
        await turns.acquire(ahead=False)


async def test_a_turn_that_is_given_to_somebody_who_gave_up_goes_on_to_the_next() -> None:
    turns = Turns()
    await turns.acquire(ahead=False)
    given_up = asyncio.create_task(turns.acquire(ahead=False))
    patient = asyncio.create_task(turns.acquire(ahead=False))
    await asyncio.sleep(0)
    turns.release()
    given_up.cancel()
    async with asyncio.timeout(1):
        await patient


@pytest.mark.parametrize("name", ["50%41", "a?mode=ro", "a #b", "dätä +1"])
def test_a_folder_may_be_called_anything(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    asyncio.run(migrate(url_from(folder)))
    use_write_ahead_log(folder / ENGINE_FILE)
    assert [each.name for each in tmp_path.iterdir()] == [name]
    with closing(sqlite3.connect(folder / "playbooks.db")) as file:
        assert file.execute("SELECT count(*) FROM runs").fetchall() == [(0,)]
    with closing(sqlite3.connect(folder / ENGINE_FILE)) as file:
        assert file.execute("PRAGMA journal_mode").fetchall() == [("wal",)]


@pytest.mark.parametrize(
    "theirs",
    [
        "CREATE TABLE alembic_version (version_num TEXT); "
        "INSERT INTO alembic_version VALUES ('ae1027a6acf')",
        "CREATE TABLE runs (id INTEGER)",
    ],
)
def test_a_database_of_another_product_is_left_alone(theirs: str, tmp_path: Path) -> None:
    path = tmp_path / "playbooks.db"
    with closing(sqlite3.connect(path)) as file:
        file.executescript(theirs)
        before = file.execute("SELECT name FROM sqlite_master").fetchall()
        with pytest.raises(UnfitDatabase, match="Give the bot an empty one"):
            asyncio.run(migrate(url_from(tmp_path)))
        assert file.execute("SELECT name FROM sqlite_master").fetchall() == before


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
async def test_a_database_that_does_not_keep_every_character_is_refused(
    postgres_server: str, encoding: str
) -> None:
    options = f"ENCODING '{encoding}' LOCALE 'C'"
    with (
        fresh_database(postgres_server, "template0", options) as url,
        pytest.raises(UnfitDatabase, match=f"its encoding is {encoding}, .* ENCODING 'UTF8'"),
    ):
        await migrate(url)


async def test_what_the_server_is_set_to_changes_nothing_that_is_kept(
    url: str, request: pytest.FixtureRequest
) -> None:
    if not url.startswith("sqlite"):
        with psycopg.connect(request.getfixturevalue("postgres_server"), autocommit=True) as admin:
            for setting in ("DateStyle = 'German'", "client_encoding = 'LATIN1'"):
                admin.execute(f"ALTER DATABASE {sa.make_url(url).database} SET {setting}")
    engine = open_database(url)
    row = {"id": "a ναί 🎉", "started_at": NOON, "beat_at": NOON}
    async with engine.begin() as conn:
        await conn.execute(sa.insert(replicas).values(row))
        found = await conn.execute(sa.select(replicas.c.id, replicas.c.beat_at))
        assert found.one() == (row["id"], NOON)
    await engine.dispose()


async def test_rows_written_at_once_are_all_there_or_none(tmp_path: Path) -> None:
    await migrate(url := url_from(tmp_path))
    engine = open_database(url)
    insert = insert_into(engine)(replicas).on_conflict_do_nothing().returning(replicas.c.id)
    at_once = InsertAtOnce(insert, replicas, "id", "started_at", "beat_at")

    async def write(*names: str | None) -> list[str]:
        async with engine.begin() as conn:
            rows = [{"id": name, "started_at": NOON, "beat_at": NOON} for name in names]
            return await at_once.into(conn, rows)

    assert await write("a", "b") == ["a", "b"]
    assert await write("b", "c") == ["c"]
    with pytest.raises(sa.exc.DBAPIError, match="NOT NULL"):
        await write("d", None)
    async with engine.begin() as conn:
        found = (await conn.scalars(sa.select(replicas.c.id).order_by(replicas.c.id))).all()
        moment = await conn.scalar(sa.select(replicas.c.beat_at).where(replicas.c.id == "c"))
    assert (found, moment) == (["a", "b", "c"], NOON)
    await engine.dispose()
