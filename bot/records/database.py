"""Opens and migrates the database, SQLite by default, PostgreSQL for several replicas.

Migrations only expand: they add what the release before does not look at
(`docs/develop/changing-a-playbook.md`). So a database whose revision this
release has never heard of is one that a newer release has expanded, and this one can use it.
Releases until 2026-11-29 kept the revision in alembic's own table and refuse one that they do not
know; that table stays as they left it, and they go on running.

A transaction that reads and then writes must not be overtaken in between. On SQLite every
transaction therefore takes the write lock when it begins; on PostgreSQL functions lock the rows
they are about to change.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, cast

import aiosqlite
import sqlalchemy as sa
import structlog
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.sqlite import aiosqlite as driver
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.util import await_only

from bot.records.private_files import keep_private

log = structlog.get_logger(__name__)
VERSION_TABLE = "schema_version"
_FORMER_TABLE = "alembic_version"
_FORMER_HEAD = "0009"
"""The newest revision that releases until 2026-11-29 know."""
_MIGRATIONS = Path(__file__).parent / "migrations"
NEW_SQLITE = _MIGRATIONS / "sqlite.sql"
"""What the migrations make of a new SQLite file, statement by statement; a test writes it."""
REVISIONS = tuple(sorted(each.name[:4] for each in _MIGRATIONS.glob("versions/[0-9]*.py")))
"""Those that this release knows, oldest first; a migration's file begins with its own."""


def insert_into(database: AsyncConnection | AsyncEngine) -> Any:
    """Give the `insert` of the database in use: those of both know `ON CONFLICT`."""
    return sqlite.insert if database.dialect.name == "sqlite" else postgresql.insert


def adopt_former_version(connection: sa.Connection) -> None:
    """Take over the revision that a release until 2026-11-29 has left, once.

    A new database is given the table of those releases too: they find their own schema in it.
    """
    tables = sa.inspect(connection).get_table_names()
    if VERSION_TABLE in tables:
        return
    row = "(version_num VARCHAR(32) NOT NULL PRIMARY KEY)"
    if _FORMER_TABLE in tables:
        connection.execute(sa.text(f"CREATE TABLE {VERSION_TABLE} {row}"))
        left = f"SELECT version_num FROM {_FORMER_TABLE}"  # noqa: S608 - our own names
        connection.execute(sa.text(f"INSERT INTO {VERSION_TABLE} {left}"))
    else:
        connection.execute(sa.text(f"CREATE TABLE {_FORMER_TABLE} {row}"))
        connection.execute(
            sa.text(f"INSERT INTO {_FORMER_TABLE} VALUES (:head)"),  # noqa: S608
            {"head": _FORMER_HEAD},
        )


class ForeignDatabase(ValueError):
    """The database is another product's."""


def refuse_foreign(connection: sa.Connection) -> None:
    """See that the tables there are ours, before anything is written among them.

    Raises:
        ForeignDatabase: alembic's table has a revision of others, or a table has a name of ours.
    """
    tables = sa.inspect(connection).get_table_names()
    if VERSION_TABLE in tables:
        return
    if _FORMER_TABLE in tables:
        found = connection.execute(sa.text(f"SELECT version_num FROM {_FORMER_TABLE}")).scalars()  # noqa: S608
        is_foreign = not set(found) <= set(REVISIONS)
    else:
        is_foreign = "runs" in tables
    if is_foreign:
        raise ForeignDatabase("another product's tables are in it. Give the bot an empty one.")


def is_newest(connection: sa.Connection) -> bool:
    """Tell whether there is nothing to migrate: also where a newer release has expanded it."""
    if VERSION_TABLE not in sa.inspect(connection).get_table_names():
        return False
    found = connection.execute(sa.text(f"SELECT version_num FROM {VERSION_TABLE}"))  # noqa: S608
    revisions = list(found.scalars())
    if newer := [revision for revision in revisions if revision not in REVISIONS]:
        log.warning("the database was expanded by a newer release; this one uses it", schema=newer)
    return bool(newer) or revisions == [REVISIONS[-1]]


def pending(connection: sa.Connection) -> str | None:
    """The revision that a database is at, where this release would migrate it; else None."""
    refuse_foreign(connection)
    tables = sa.inspect(connection).get_table_names()
    table = VERSION_TABLE if VERSION_TABLE in tables else _FORMER_TABLE
    if table not in tables or is_newest(connection):
        return None
    found = connection.execute(sa.text(f"SELECT version_num FROM {table}")).scalar()  # noqa: S608
    return None if found == REVISIONS[-1] else str(found)


_BUSY_TIMEOUT_MS = 30_000
_INCREMENTAL = 2  # https://www.sqlite.org/pragma.html#pragma_auto_vacuum
_NOTICE_SILENCE: dict[str, str | tuple[str, ...]] = {
    "connect_timeout": "10",
    "keepalives_idle": "15",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",
}
"""A server whose machine is gone says nothing: without these, libpq waits a quarter of an hour.

https://www.postgresql.org/docs/current/libpq-connect.html; what `DATABASE_URL` says goes first.
"""
_CONNECTIONS_KEPT, _CONNECTIONS = 8, 96
"""Of an SQLite file: a thread and some 100 KiB each, opened as they are needed."""
_MIGRATION_LOCK = 0x696E6369_64656E74  # "incident": any number all replicas agree on
_one_migration_at_a_time = threading.Lock()  # alembic keeps its context in module globals


def url_from(data_dir: Path) -> str:
    """Name the SQLite database used when `DATABASE_URL` is not set."""
    return sqlite_url(data_dir / "playbooks.db")


def sqlite_url(file: Path) -> str:
    """The address of an SQLite file, whose name may hold what means something in an address."""
    return sa.URL.create("sqlite", database=str(file.resolve())).render_as_string()


def open_database(url: str) -> AsyncEngine:
    """Make the engine every record function works on; connects only when first used.

    On SQLite a transaction begins with `BEGIN IMMEDIATE`, and a commit that returned survives a
    power cut (WAL with `synchronous=FULL`): a delivery we answered is never asked for again.

    Args:
        url: `sqlite:///path`, `postgresql://…` or `postgres://…`, with or without a driver name.

    Raises:
        ValueError: another kind of database.
    """
    with_driver = _with_driver(url, asynchronous=True)
    # A server may have gone away meanwhile. A file does not, and the ping would be a quarter of
    # what a short transaction costs.
    if with_driver.get_backend_name() != "sqlite":
        return create_async_engine(with_driver, pool_pre_ping=True)
    # Whoever waits for their turn to write has a connection already, and readers need one too.
    engine = create_async_engine(
        with_driver,
        module=_OneTripDriver(aiosqlite, sqlite3),
        pool_size=_CONNECTIONS_KEPT,
        max_overflow=_CONNECTIONS - _CONNECTIONS_KEPT,
    )
    _take_turns(engine.sync_engine)
    _set_up_sqlite(engine.sync_engine)
    return engine


def open_existing(url: str) -> AsyncEngine:
    """Make an engine that never creates or changes the database, to check one that is there.

    Raises:
        ValueError: another kind of database, or no such file.
    """
    parsed = _with_driver(url, asynchronous=True)
    if parsed.get_backend_name() != "sqlite":
        return create_async_engine(parsed)
    path = Path(parsed.database or "")
    if not path.is_file():
        raise ValueError(f"there is no database at {path}")
    read_only = parsed.set(database=path.resolve().as_uri(), query={"mode": "ro", "uri": "true"})
    return create_async_engine(read_only)


def reading(engine: AsyncEngine) -> AsyncEngine:
    """Give the same engine for transactions that only read: they wait for no writer."""
    return engine.execution_options(sqlite_begin="DEFERRED", postgresql_readonly=True)


def ahead(engine: AsyncEngine) -> AsyncEngine:
    """Give the same engine for writes that somebody waits for: they go before every second other.

    On PostgreSQL nobody waits for a turn.
    """
    return engine.execution_options(is_ahead=True)


def once_committed(conn: AsyncConnection, tell: Callable[[], None]) -> None:
    """Call `tell` as the caller's transaction commits, and never where it is rolled back.

    It must be quick, and must not fail.
    """
    waiting = [tell]

    def committed(_: sa.Connection) -> None:
        while waiting:
            waiting.pop()()

    def rolled_back(_: sa.Connection) -> None:
        waiting.clear()

    sa.event.listen(conn.sync_connection, "commit", committed)
    sa.event.listen(conn.sync_connection, "rollback", rolled_back)


PAGES_AT_ONCE = 500


async def give_space_back(database: AsyncEngine) -> int:
    """Give up to `PAGES_AT_ONCE` unused pages of an SQLite file back to the disk; how many.

    PostgreSQL does that by itself (autovacuum), and an SQLite file of a release before
    2026-12-01 keeps them for later until somebody says `VACUUM`.
    """
    if database.dialect.name != "sqlite":
        return 0
    async with reading(database).connect() as conn:
        if (await conn.exec_driver_sql("PRAGMA auto_vacuum")).scalar() != _INCREMENTAL:
            return 0
        if not (free := int((await conn.exec_driver_sql("PRAGMA freelist_count")).scalar() or 0)):
            return 0
    async with database.begin() as conn:
        driver: Any = (await conn.get_raw_connection()).driver_connection
        # It frees one page each time that it is stepped on, and only a script steps to the end.
        await driver.executescript(f"PRAGMA incremental_vacuum({PAGES_AT_ONCE})")
    return min(free, PAGES_AT_ONCE)


async def migrate(url: str) -> None:
    """Bring the database to the newest schema; several processes may do so at once.

    Raises:
        ForeignDatabase: it is another product's.
        ValueError: the URL names an unsupported kind of database.
    """
    await asyncio.to_thread(_upgrade, url)


def _upgrade(url: str) -> None:
    sync_url = _with_driver(url, asynchronous=False)
    if sync_url.get_backend_name() == "sqlite" and sync_url.database:
        keep_private(Path(sync_url.database))
    engine = sa.create_engine(sync_url, poolclass=sa.NullPool)
    if engine.dialect.name == "sqlite":
        _set_up_sqlite(engine)
    try:
        with _one_migration_at_a_time, engine.begin() as connection:
            if engine.dialect.name == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
            refuse_foreign(connection)
            if engine.dialect.name == "sqlite" and not sa.inspect(connection).get_table_names():
                _make_at_once(connection)
            adopt_former_version(connection)
            if not is_newest(connection):
                _migrate_by_alembic(connection)
    finally:
        engine.dispose()


def _make_at_once(connection: sa.Connection) -> None:
    # A first start without alembic: that is a third of a second, and 10 MB for as long as it runs.
    statement = ""
    for line in NEW_SQLITE.read_text(encoding="utf-8").splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            connection.exec_driver_sql(statement)
            statement = ""


def _migrate_by_alembic(connection: sa.Connection) -> None:
    # Only here: nearly every start finds nothing to migrate, and needs none of it.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _with_driver(url: str, *, asynchronous: bool) -> sa.URL:
    if url.startswith("postgres://"):
        url = url.replace("postgres://", "postgresql://", 1)
    parsed = sa.make_url(url)
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        return parsed.set(drivername="sqlite+aiosqlite" if asynchronous else "sqlite")
    if backend == "postgresql":
        query = _NOTICE_SILENCE | dict(parsed.query)
        return parsed.set(drivername="postgresql+psycopg", query=query)
    raise ValueError(f"{backend} is not supported: use a sqlite:/// or postgresql:// address")


class _OneTripCursor:
    """What SQLAlchemy takes for aiosqlite's cursor: a statement and its rows are one trip.

    It asks aiosqlite's own four times (make it, execute, fetch, close), and each time two threads
    are woken, which is most of what a short transaction costs.
    """

    def __init__(self, connection: _AdaptedConnection) -> None:
        self._connection = connection
        self._rows: list[Any] = []
        self.description: Any = None
        self.rowcount, self.arraysize = -1, 1
        self.lastrowid: int | None = None

    async def __aenter__(self) -> _OneTripCursor:
        return self

    async def execute(self, operation: str, parameters: Any = ()) -> _OneTripCursor:
        return await self._in_one_trip(lambda cursor: cursor.execute(operation, parameters))

    async def executemany(self, operation: str, parameters: Any) -> _OneTripCursor:
        return await self._in_one_trip(lambda cursor: cursor.executemany(operation, parameters))

    async def fetchall(self) -> list[Any]:
        return self._rows

    async def close(self) -> None:
        """The driver's own was closed at the end of the trip."""

    async def _in_one_trip(self, do: Callable[[sqlite3.Cursor], object]) -> _OneTripCursor:
        adapted, driver_connection = self._connection, self._connection.driver_connection
        begin, adapted.begin, adapted.is_clean = adapted.begin, None, False

        def trip() -> tuple[Any, int, int | None, list[Any]]:
            with closing(driver_connection._conn.cursor()) as cursor:
                if begin is not None:
                    cursor.execute(begin)
                do(cursor)
                rows = cursor.fetchall() if cursor.description else []
                return cursor.description, cursor.rowcount, cursor.lastrowid, rows

        made = await driver_connection._execute(trip)
        self.description, self.rowcount, self.lastrowid, self._rows = made
        return self


class _AdaptedCursor(driver.AsyncAdapt_aiosqlite_cursor):
    __slots__ = ()

    def _make_new_cursor(self, connection: Any) -> Any:
        del connection
        return _OneTripCursor(cast(_AdaptedConnection, self._adapt_connection))


class _AdaptedConnection(driver.AsyncAdapt_aiosqlite_connection):
    """One whose transaction may have a turn, which ends with it: see `_take_turns`.

    A transaction begins in the same trip as its first statement, and what was ended, or never had a
    statement, is not ended once more: SQLAlchemy rolls back whatever goes back to its pool.

    Attributes:
        begin: what begins the transaction, as long as nothing was said in it.
        is_clean: whether nothing was said since the last transaction ended, or is on its way.
    """

    __slots__ = ("_turn", "begin", "is_clean")
    _cursor_cls = _AdaptedCursor

    def __init__(self, dbapi: Any, connection: Any) -> None:
        super().__init__(dbapi, connection)
        self._turn: _Turns | None = None
        self.begin: str | None = None
        self.is_clean = False

    def wait_for(self, turn: _Turns, *, ahead: bool) -> None:
        await_only(turn.acquire(ahead=ahead))
        self._turn = turn

    def commit(self) -> None:
        self.begin = None
        if not self.is_clean:
            super().commit()
        # One that fails is still under way, until it is rolled back.
        self.is_clean = True
        self._end_turn()

    def rollback(self) -> None:
        self.begin = None
        try:
            if not self.is_clean:
                super().rollback()
                self.is_clean = True
        finally:
            self._end_turn()

    def close(self) -> None:
        try:
            super().close()
        finally:
            self._end_turn()

    def terminate(self) -> None:
        try:
            super().terminate()
        finally:
            self._end_turn()

    def _end_turn(self) -> None:
        if self._turn is not None:
            self._turn.release()
            self._turn = None


class _OneTripDriver(driver.AsyncAdapt_aiosqlite_dbapi):
    def connect(self, *args: Any, **kwargs: Any) -> _AdaptedConnection:
        return _AdaptedConnection(self, super().connect(*args, **kwargs)._connection)


class _Turns:
    """A lock, had in the order in which one came; of those ahead, one goes before every other."""

    def __init__(self) -> None:
        self._is_taken = self._is_ahead = False
        self._ahead: deque[asyncio.Future[None]] = deque()
        self._others: deque[asyncio.Future[None]] = deque()

    async def acquire(self, *, ahead: bool) -> None:
        if not self._is_taken:
            self._is_taken, self._is_ahead = True, ahead
            return
        turn = asyncio.get_running_loop().create_future()
        (self._ahead if ahead else self._others).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release()
            raise

    def release(self) -> None:
        for is_ahead in (not self._is_ahead, self._is_ahead):
            waiting = self._ahead if is_ahead else self._others
            while waiting:
                turn = waiting.popleft()
                if not turn.done():
                    self._is_ahead = is_ahead
                    turn.set_result(None)
                    return
        self._is_taken = False


def _take_turns(engine: sa.Engine) -> None:
    """Have this process's transactions that may write begin in the order in which they came.

    SQLite has no queue: whoever waits looks again, at last every 100 ms, and whoever has just come
    looks more often. Among many, one could wait for as long as there are others.
    https://www.sqlite.org/c3ref/busy_timeout.html
    """
    turn = _Turns()

    @sa.event.listens_for(engine, "begin")
    def began(connection: sa.Connection) -> None:
        options = connection.get_execution_options()
        if options.get("sqlite_begin") is None:
            adapted: Any = connection.connection.dbapi_connection
            adapted.wait_for(turn, ahead=options.get("is_ahead", False))


def _set_up_sqlite(engine: sa.Engine) -> None:
    @sa.event.listens_for(engine, "connect")
    def connected(connection: Any, _record: Any) -> None:
        # The driver's own transactions would begin too late, at the first write.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
        cursor.execute("PRAGMA foreign_keys = ON")
        # In a new file what is forgotten can be given back to the disk. Any other does not heed
        # it, and would wait for whoever writes.
        cursor.execute("PRAGMA page_count")
        if cursor.fetchone() == (0,):
            cursor.execute("PRAGMA auto_vacuum = INCREMENTAL")
        _use_wal(cursor)
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.close()

    @sa.event.listens_for(engine, "invalidate")
    def given_up(connection: Any, _record: Any, _error: BaseException | None) -> None:
        # A task was cancelled in the middle of a statement. Closing the connection would not end
        # its transaction while a cursor is still referred to, by a traceback perhaps: the write
        # lock would stay taken until the garbage collector comes by.
        with suppress(sa.exc.DBAPIError, sqlite3.Error):
            connection.rollback()

    @sa.event.listens_for(engine, "begin")
    def began(connection: sa.Connection) -> None:
        begin = f"BEGIN {connection.get_execution_options().get('sqlite_begin', 'IMMEDIATE')}"
        adapted: Any = connection.connection.dbapi_connection
        if isinstance(adapted, _AdaptedConnection):
            adapted.begin = begin
        else:
            connection.exec_driver_sql(begin)


def _use_wal(cursor: Any) -> None:
    # Changing the journal of a new file does not wait for busy_timeout, so two processes that
    # start together must wait for each other here.
    give_up = time.monotonic() + _BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > give_up:
                raise
            time.sleep(0.02)
        else:
            cursor.fetchall()
            return
