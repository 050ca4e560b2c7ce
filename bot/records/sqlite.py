"""SQLite as the records use it: writers take turns, and a statement is one trip between threads.

A transaction that reads and then writes must not be overtaken in between: every one takes the
write lock when it begins, unless it only reads.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import aiosqlite as driver
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.util import await_only

_BUSY_TIMEOUT_MS = 30_000


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
    """One whose transaction may have a turn, which ends with it: see `take_turns`.

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
        self._turn: Turns | None = None
        self.begin: str | None = None
        self.is_clean = False

    def wait_for(self, turn: Turns, *, ahead: bool) -> None:
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


class OneTripDriver(driver.AsyncAdapt_aiosqlite_dbapi):
    """SQLAlchemy's for aiosqlite, with fewer trips between threads."""

    def connect(self, *args: Any, **kwargs: Any) -> _AdaptedConnection:
        """As the one it extends."""
        return _AdaptedConnection(self, super().connect(*args, **kwargs)._connection)


class InsertAtOnce:
    """Writes rows in one trip, with the beginning and the end of their transaction.

    Where many wait for their rows to be on disk, SQLAlchemy's way to them is most of what the
    write costs.
    """

    def __init__(self, statement: sa.Insert, rows: sa.Table, *names: str) -> None:
        """Prepare.

        Args:
            statement: inserts one row, and returns one column of it; nothing where it is there.
            rows: the table.
            names: the columns that each row has.
        """
        dialect = driver.dialect()
        compiled = statement.compile(dialect=dialect, column_keys=list(names))
        self._sql, self._order = str(compiled), tuple(compiled.positiontup or names)
        self._written = {
            name: rows.c[name].type.dialect_impl(dialect).bind_processor(dialect) for name in names
        }

    async def into(self, conn: AsyncConnection, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Write them and commit; gives what was returned of those that were not there.

        Args:
            conn: a transaction in which nothing has been said; its end has nothing left to do.
            rows: by the names of their columns.

        Raises:
            sqlalchemy.exc.DBAPIError: none is stored.
        """
        ways = [(name, self._written[name]) for name in self._order]
        given = [[write(row[name]) if write else row[name] for name, write in ways] for row in rows]
        raw = await conn.get_raw_connection()
        adapted: Any = raw.dbapi_connection
        begin, adapted.begin, adapted.is_clean = adapted.begin, None, False

        def trip() -> list[Any]:
            with closing(adapted.driver_connection._conn.cursor()) as cursor:
                cursor.execute(begin)
                new = [got for each in given for got in cursor.execute(self._sql, each).fetchall()]
                cursor.execute("COMMIT")
                return new

        try:
            new = await adapted.driver_connection._execute(trip)
        except sqlite3.Error as error:
            raise sa.exc.DBAPIError(self._sql, None, error) from error
        adapted.is_clean = True
        return [row[0] for row in new]


class Turns:
    """A lock, had in the order in which one came; of those ahead, one goes before every other."""

    def __init__(self) -> None:
        """Nobody has it."""
        self._is_taken = self._is_ahead = False
        self._ahead: deque[asyncio.Future[None]] = deque()
        self._others: deque[asyncio.Future[None]] = deque()

    async def acquire(self, *, ahead: bool) -> None:
        """Wait for one's turn; whoever is cancelled meanwhile has none."""
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
        """Give it to whoever is next."""
        for is_ahead in (not self._is_ahead, self._is_ahead):
            waiting = self._ahead if is_ahead else self._others
            while waiting:
                turn = waiting.popleft()
                if not turn.done():
                    self._is_ahead = is_ahead
                    turn.set_result(None)
                    return
        self._is_taken = False


def take_turns(engine: sa.Engine) -> None:
    """Have this process's transactions that may write begin in the order in which they came.

    SQLite has no queue: whoever waits looks again, at last every 100 ms, and whoever has just come
    looks more often. Among many, one could wait for as long as there are others.
    https://www.sqlite.org/c3ref/busy_timeout.html
    """
    turn = Turns()

    @sa.event.listens_for(engine, "begin")
    def began(connection: sa.Connection) -> None:
        options = connection.get_execution_options()
        if options.get("sqlite_begin") is None:
            adapted: Any = connection.connection.dbapi_connection
            adapted.wait_for(turn, ahead=options.get("is_ahead", False))


def set_up_sqlite(engine: sa.Engine) -> None:
    """Have its connections keep what they committed, wait for each other, and begin at once."""

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
