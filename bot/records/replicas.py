"""The replicas that are alive, and the lock under which one takes over from another.

Any number of processes may open a SQLite file, yet most often there is one. It cannot know that by
looking: another may start while it hangs. So on SQLite the right to take over is a lock on a file
beside the database. The operating system gives it to one living process at a time and takes it
back when that one dies, however it dies. Whoever holds it is taken over by nobody and need not end
itself when the machine is too busy for its heartbeat; whoever does not must, as on PostgreSQL.

Every function works inside the caller's transaction and never commits. Numbers:
docs/decisions/0015.
"""

from __future__ import annotations

import fcntl
import hashlib
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bot.records.database import insert_into
from bot.records.tables.safety import replicas


class TakeoverLock:
    """The right to take over, held until `release` or the end of this process."""

    def __init__(self, path: Path) -> None:
        """Prepare; nothing is opened before `take`."""
        self._path = path
        self._file: IO[bytes] | None = None

    @property
    def held(self) -> bool:
        """Whether this process has it."""
        return self._file is not None

    def take(self) -> bool:
        """Take it if nobody else has it; never waits. Tells whether this process has it now.

        Raises:
            OSError: the folder knows no locks, as some on a network do not.
        """
        if self._file is None:
            self._path.touch(mode=0o600)
            file = self._path.open("ab")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                file.close()
                if not isinstance(error, BlockingIOError):
                    raise
            else:
                self._file = file
        return self.held

    def release(self) -> None:
        """Leave it to others."""
        if self._file is not None:
            self._file.close()
            self._file = None


class NameLock:
    """A replica's name, held by one living process at a time, however it dies.

    On SQLite that is a lock on a file beside the database, which the operating system gives back;
    on PostgreSQL one of a session of ours, which the server does: at once where a process of this
    host died, and after some 20 s of silence where its machine did (`database._NOTICE_SILENCE`).
    """

    def __init__(self, records: AsyncEngine, replica: str) -> None:
        """Prepare; nothing is opened before `take`."""
        digest = hashlib.sha256(replica.encode()).digest()
        self._number = int.from_bytes(digest[:8], "big", signed=True)
        self._records = records
        path = _beside(records, f"replica-{digest.hex()[:12]}")
        self._file = None if path is None else TakeoverLock(path)
        self._session: AsyncConnection | None = None

    async def take(self) -> bool:
        """Take it unless another process has it; never waits. Whether this process has it now."""
        if self._records.dialect.name == "sqlite":
            return self._file is None or self._file.take()
        if self._session is not None and not self._session.closed:
            with suppress(sa.exc.DBAPIError):
                await self._session.execute(sa.text("SELECT 1"))
                return True
            await self.release()
        session = await self._records.connect()
        await session.execution_options(isolation_level="AUTOCOMMIT")
        taken = sa.select(sa.func.pg_try_advisory_lock(self._number))
        if (await session.execute(taken)).scalar_one():
            self._session = session
            return True
        await session.close()
        return False

    async def is_free(self, conn: AsyncConnection) -> bool:
        """Whether no process has it; False where that is not known.

        Args:
            conn: the caller's transaction; on PostgreSQL nobody can take it before that ends.
        """
        if conn.dialect.name != "sqlite":
            taken = sa.select(sa.func.pg_try_advisory_xact_lock(self._number))
            return bool((await conn.execute(taken)).scalar_one())
        if self._file is None or not self._file.take():
            return False
        self._file.release()
        return True

    async def release(self) -> None:
        """Leave it to others."""
        if self._file is not None:
            self._file.release()
        session, self._session = self._session, None
        if session is not None:
            # A lock of a session goes with the session: the pool must not keep that.
            await session.invalidate()
            await session.close()


def _beside(records: AsyncEngine, name: str) -> Path | None:
    file = records.url.database
    if records.dialect.name != "sqlite" or not file or file == ":memory:":
        return None
    return Path(f"{file}-{name}")


def takeover_lock(records: AsyncEngine) -> TakeoverLock | None:
    """The lock beside a SQLite database; None elsewhere: siblings may live on other machines."""
    path = _beside(records, "takeover")
    return None if path is None else TakeoverLock(path)


BEAT_EVERY = timedelta(seconds=5)
GIVE_UP_AFTER = timedelta(seconds=15)
"""A replica that could not renew its heartbeat for this long stops: others may soon take over."""
DEAD_AFTER = timedelta(seconds=40)
"""Silence after which a sibling's Runs are taken over; well beyond `GIVE_UP_AFTER`."""


async def time_there(conn: AsyncConnection, ours: datetime) -> datetime:
    """The time that all replicas go by: their machines' clocks may be minutes apart.

    Args:
        conn: the caller's transaction.
        ours: the time here, which is everybody's where the database is a file of this machine.
    """
    if conn.dialect.name == "sqlite":
        return ours
    found: datetime = (await conn.execute(sa.select(sa.func.clock_timestamp()))).scalar_one()
    return found


async def join(
    conn: AsyncConnection,
    replica: str,
    now: datetime,
    code: str | None = None,
    app: str | None = None,
) -> None:
    """Begin a life of this replica; a claim on its former life ends.

    Args:
        conn: the caller's transaction.
        replica: its name.
        now: the time.
        code: what it can replay.
        app: the App that it speaks for.
    """
    insert = insert_into(conn)
    await conn.execute(
        insert(replicas)
        .values(id=replica, started_at=now, beat_at=now, code=code, app=app)
        .on_conflict_do_update(
            index_elements=[replicas.c.id],
            set_={
                "started_at": now,
                "beat_at": now,
                "code": code,
                "app": app,
                "taken_over_by": None,
                "taken_over_at": None,
            },
        )
    )


async def beat(conn: AsyncConnection, replica: str, now: datetime) -> bool:
    """Say that a replica is alive; False where a sibling has taken over from it meanwhile."""
    alive = (
        sa.update(replicas)
        .where(replicas.c.id == replica, replicas.c.taken_over_by.is_(None))
        .values(beat_at=now)
    )
    return (await conn.execute(alive)).rowcount == 1


async def leave(
    conn: AsyncConnection, replica: str, now: datetime, dead_after: timedelta = DEAD_AFTER
) -> None:
    """End a life in good order: siblings need not wait for its Runs, and it may come back."""
    gone = (
        sa.update(replicas)
        .where(replicas.c.id == replica, replicas.c.taken_over_by.is_(None))
        .values(beat_at=now - dead_after)
    )
    await conn.execute(gone)


async def living(
    conn: AsyncConnection, now: datetime, dead_after: timedelta = DEAD_AFTER
) -> dict[str, str | None]:
    """Read which replicas are not silent, and what each can replay.

    Args:
        conn: the caller's transaction.
        now: the time.
        dead_after: how long a replica may be silent and still count.

    Returns:
        By the replica's name, what it can replay; None where it did not say.
    """
    alive = sa.select(replicas.c.id, replicas.c.code).where(*await _alive(conn, now, dead_after))
    return {row.id: row.code for row in await conn.execute(alive)}


async def of_another_app(
    conn: AsyncConnection, app: str, now: datetime, dead_after: timedelta = DEAD_AFTER
) -> str | None:
    """Name a replica that is not silent and speaks for another App; None: there is none.

    Args:
        conn: the caller's transaction.
        app: ours.
        now: the time.
        dead_after: how long a replica may be silent and still count.
    """
    alive = await _alive(conn, now, dead_after)
    query = sa.select(replicas.c.id).where(*alive, replicas.c.app != app).limit(1)
    return (await conn.execute(query)).scalar_one_or_none()


async def _alive(
    conn: AsyncConnection, now: datetime, dead_after: timedelta
) -> list[sa.ColumnElement[bool]]:
    return [
        replicas.c.beat_at > now - dead_after,
        replicas.c.id.not_in(await _gone_ahead(conn, now, dead_after)),
    ]


async def _gone_ahead(conn: AsyncConnection, now: datetime, dead_after: timedelta) -> list[str]:
    """The dead whose last word lies ahead: the clock that all go by was set back since.

    They would count for alive until the clock is there again.
    """
    query = sa.select(replicas.c.id).where(replicas.c.beat_at > now + dead_after)
    ahead = (await conn.execute(query)).scalars().all()
    return [each for each in ahead if await NameLock(conn.engine, each).is_free(conn)]


async def eldest(
    conn: AsyncConnection, now: datetime, dead_after: timedelta = DEAD_AFTER
) -> str | None:
    """Read which of the living replicas began first; None where none beat lately.

    It does what one replica at a time shall do: its heartbeat is the lease.
    """
    query = (
        sa.select(replicas.c.id)
        .where(*await _alive(conn, now, dead_after))
        .order_by(replicas.c.started_at, replicas.c.id)
        .limit(1)
    )
    return (await conn.execute(query)).scalar_one_or_none()


async def take_dead(
    conn: AsyncConnection, replica: str, now: datetime, dead_after: timedelta = DEAD_AFTER
) -> list[str]:
    """Claim the siblings that fell silent; each is claimed by one replica at a time.

    A claim that did not end in `forget` lapses after `dead_after`: whoever made it may have died
    before it recovered anything.
    """
    long_ago = now - dead_after
    silent = sa.or_(
        replicas.c.beat_at <= long_ago,
        replicas.c.id.in_(await _gone_ahead(conn, now, dead_after)),
    )
    unclaimed = sa.or_(
        replicas.c.taken_over_by.is_(None),
        replicas.c.taken_over_at <= long_ago,
        replicas.c.taken_over_at > now + dead_after,
    )
    dead = (
        sa.update(replicas)
        .where(replicas.c.id != replica, silent, unclaimed)
        .values(taken_over_by=replica, taken_over_at=now)
        .returning(replicas.c.id)
    )
    return sorted((await conn.execute(dead)).scalars())


async def forget(conn: AsyncConnection, dead: str, *, taken_over_by: str) -> None:
    """Remove a sibling whose Runs were taken over, unless it has come back or was claimed again."""
    claimed = sa.and_(replicas.c.id == dead, replicas.c.taken_over_by == taken_over_by)
    await conn.execute(sa.delete(replicas).where(claimed))
