"""What `/readyz` says: which database is away, or that the disk is full."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.records.outages import in_public

log = structlog.get_logger(__name__)

LONGEST_S = 3.0
"""Seconds each part has to answer: whoever asks has little patience."""

_WRITE_LOCK_S = 2.0
_PROBE = b"\0" * 65_536


class Readiness:
    """Tries what the bot cannot work without."""

    def __init__(
        self,
        records: AsyncEngine,
        engine: Callable[[], Awaitable[None]],
        data: Path,
        engine_file: Path | None,
    ) -> None:
        """Prepare; nothing is tried before `parts`.

        Args:
            records: our records.
            engine: returns if the engine's database answers.
            data: the folder that must have room.
            engine_file: the engine's own SQLite file, where it has one.
        """
        self._records = records
        self._engine = engine
        self._data = data
        self._engine_file = engine_file

    async def parts(self) -> Mapping[str, str | None]:
        """Name each part, with None or what is wrong with it, in words for people."""
        database, engine, disk = await asyncio.gather(
            _hindrance(self._database), _hindrance(self._engine_database), _hindrance(self._disk)
        )
        return {"database": database, "engine": engine, "disk": disk}

    async def hindrance(self) -> str | None:
        """What keeps the bot from keeping anything, in words for people; None: nothing does."""
        return next((each for each in (await self.parts()).values() if each is not None), None)

    async def _database(self) -> None:
        async with self._records.connect() as conn:
            await conn.execute(sa.text("SELECT 1"))
        file = self._records.url.database
        if self._records.dialect.name == "sqlite" and file:
            await asyncio.to_thread(_take_write_lock, Path(file))

    async def _engine_database(self) -> None:
        await self._engine()
        if self._engine_file is not None and self._engine_file.exists():
            await asyncio.to_thread(_take_write_lock, self._engine_file)

    async def _disk(self) -> None:
        await asyncio.to_thread(_write, self._data)


async def _hindrance(tried: Callable[[], Awaitable[None]]) -> str | None:
    try:
        async with asyncio.timeout(LONGEST_S):
            await tried()
    except TimeoutError:
        return "it does not answer"
    except Exception as error:
        log.warning("not ready", why=str(error))
        return in_public(error)
    return None


def _take_write_lock(path: Path) -> None:
    # Readers never notice that nobody can write.
    address = f"{path.resolve().as_uri()}?mode=rw"
    with closing(sqlite3.connect(address, uri=True, timeout=_WRITE_LOCK_S)) as connection:
        connection.isolation_level = None
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")


def _write(folder: Path) -> None:
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(_PROBE)
        file.flush()
