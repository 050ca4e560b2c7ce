"""Opens the database, SQLite by default, PostgreSQL for several replicas.

A transaction that reads and then writes must not be overtaken in between. On SQLite every
transaction therefore takes the write lock when it begins; on PostgreSQL functions lock the rows
they are about to change.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiosqlite
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from bot.records.sqlite import OneTripDriver, set_up_sqlite, take_turns

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
_UNICODE = {"client_encoding": "utf8"}
"""Whatever the server, the database or the user have as their default: SQL_ASCII gives bytes."""
_CONNECTIONS_KEPT, _CONNECTIONS = 8, 96
"""Of an SQLite file: a thread and some 100 KiB each, opened as they are needed."""


def insert_into(database: AsyncConnection | AsyncEngine) -> Any:
    """Give the `insert` of the database in use: those of both know `ON CONFLICT`."""
    return sqlite.insert if database.dialect.name == "sqlite" else postgresql.insert


def url_from(data_dir: Path) -> str:
    """Name the SQLite database used when `DATABASE_URL` is not set."""
    return sqlite_url(data_dir / "playbooks.db")


def sqlite_url(file: Path) -> str:
    """The address of an SQLite file, whose name may hold what means something in an address.

    Raises:
        ValueError: the name holds bytes that are no UTF-8 text, which no address can hold.
    """
    where = str(file.resolve())
    if not where.isascii():
        try:
            where.encode()
        except UnicodeEncodeError:
            raise ValueError("its path is not UTF-8 text") from None
    return sa.URL.create("sqlite", database=where).render_as_string()


def open_database(url: str) -> AsyncEngine:
    """Make the engine every record function works on; connects only when first used.

    On SQLite a transaction begins with `BEGIN IMMEDIATE`, and a commit that returned survives a
    power cut (WAL with `synchronous=FULL`): a delivery we answered is never asked for again.

    Args:
        url: `sqlite:///path`, `postgresql://…` or `postgres://…`, with or without a driver name.

    Raises:
        ValueError: another kind of database.
    """
    address = with_driver(url, asynchronous=True)
    # A server may have gone away meanwhile. A file does not, and the ping would be a quarter of
    # what a short transaction costs.
    if address.get_backend_name() != "sqlite":
        return create_async_engine(address, pool_pre_ping=True)
    # Whoever waits for their turn to write has a connection already, and readers need one too.
    engine = create_async_engine(
        address,
        module=OneTripDriver(aiosqlite, sqlite3),
        pool_size=_CONNECTIONS_KEPT,
        max_overflow=_CONNECTIONS - _CONNECTIONS_KEPT,
        # The one that wrote last still knows the pages it wrote; the others would read them again.
        pool_use_lifo=True,
    )
    take_turns(engine.sync_engine)
    set_up_sqlite(engine.sync_engine)
    return engine


def open_existing(url: str) -> AsyncEngine:
    """Make an engine that never creates or changes the database, to check one that is there.

    Raises:
        ValueError: another kind of database, or no such file.
    """
    parsed = with_driver(url, asynchronous=True)
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


def with_driver(url: str, *, asynchronous: bool) -> sa.URL:
    """Name the driver in an address that says only which kind of database it is.

    Raises:
        ValueError: another kind of database, or no address.
    """
    if url.startswith("postgres://"):
        url = url.replace("postgres://", "postgresql://", 1)
    try:
        parsed = sa.make_url(url)
        if parsed.get_backend_name() == "postgresql" and url.partition("?")[0].count("@") > 1:
            raise ValueError("what follows the first one may be half of a password")
    except (ValueError, sa.exc.ArgumentError):
        # Whoever goes on repeats what could not be read, which may be half of a password.
        hint = "in user and password `@` is written %40, `:` %3A and `/` %2F"
        raise ValueError(f"the database's address cannot be read; {hint}") from None
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        return parsed.set(drivername="sqlite+aiosqlite" if asynchronous else "sqlite")
    if backend == "postgresql":
        # The driver reads no other, and has no parameter for it: libpq takes what stands here.
        os.environ["PGDATESTYLE"] = "ISO"
        query = _NOTICE_SILENCE | dict(parsed.query) | _UNICODE
        return parsed.set(drivername="postgresql+psycopg", query=query)
    raise ValueError(f"{backend} is not supported: use a sqlite:/// or postgresql:// address")
